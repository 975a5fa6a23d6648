import type { JSX } from "preact";
import { given } from "../given.ts";
import { locale, t } from "../i18n/t.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const DAY = 1_440;

/** The hours of a week in the visitor's own zone, on whose day they begin there. */
export function Hours(): JSX.Element {
    const { tz, weekly } = given.hours ?? { tz: "UTC", weekly: {} };
    const shift = offset(tz);
    const minutes = (text: string): number => {
        const [hour, minute] = text.split(":").map(Number);
        return (hour ?? 0) * 60 + (minute ?? 0) + shift;
    };
    const shown = (at: number): string => new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit", timeZone: "UTC" }).format(at * 60_000);
    const name = (index: number): string => new Intl.DateTimeFormat(locale, { weekday: "long", timeZone: "UTC" }).format((index + 4) * 86_400_000);
    const today = (new Date().getDay() + 6) % 7;
    const spans = DAYS.flatMap((key, index) =>
        (weekly[key] ?? []).map(([from, to]) => {
            const begins = index * DAY + minutes(from);
            return { begins: (begins + 7 * DAY) % (7 * DAY), text: `${shown(minutes(from))}–${shown(minutes(to))}` };
        }),
    ).sort((a, b) => a.begins - b.begins);
    return (
        <div class="hours">
            <p>{t("hours")}</p>
            <dl>
                {DAYS.flatMap((key, index) => [
                    <dt class={index === today ? "now" : ""} key={key}>
                        {name(index)}
                    </dt>,
                    <dd class={index === today ? "now" : ""} key={`${key}-`}>
                        {spans.filter(({ begins }) => Math.floor(begins / DAY) === index).map(({ text }) => text).join(", ") || t("shut")}
                    </dd>,
                ])}
            </dl>
        </div>
    );
}

/** Minutes from the site's zone to the visitor's. */
function offset(tz: string): number {
    const now = new Date();
    const there = new Date(now.toLocaleString("en-US", { timeZone: tz }));
    const here = new Date(now.toLocaleString("en-US"));
    return Math.round((here.getTime() - there.getTime()) / 60_000);
}
