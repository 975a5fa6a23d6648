import type { JSX } from "preact";
import { given } from "../given.ts";
import { locale, t } from "../i18n/t.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** The hours of a week in the visitor's own zone. */
export function Hours(): JSX.Element {
    const { tz, weekly } = given.hours ?? { tz: "UTC", weekly: {} };
    const shift = offset(tz);
    const shown = (text: string): string => {
        const [hour, minute] = text.split(":").map(Number);
        return new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit", timeZone: "UTC" }).format(((hour ?? 0) * 60 + (minute ?? 0) + shift) * 60_000);
    };
    const name = (index: number): string => new Intl.DateTimeFormat(locale, { weekday: "long", timeZone: "UTC" }).format((index + 4) * 86_400_000);
    const today = (new Date().getDay() + 6) % 7;
    return (
        <div class="hours">
            <p>{t("hours")}</p>
            <dl>
                {DAYS.flatMap((key, index) => [
                    <dt class={index === today ? "now" : ""} key={key}>
                        {name(index)}
                    </dt>,
                    <dd class={index === today ? "now" : ""} key={`${key}-`}>
                        {(weekly[key] ?? []).map(([from, to]) => `${shown(from)}–${shown(to)}`).join(", ") || t("shut")}
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
