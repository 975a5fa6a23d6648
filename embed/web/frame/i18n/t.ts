// The languages. English is always there; each other one is loaded when it is wanted.

import { given } from "../given.ts";
import en from "./en.ts";

export type Words = typeof en;
export const LANGUAGES: Record<string, string> = { en: "English", uk: "Українська", de: "Deutsch", pl: "Polski", ar: "العربية" };
const loaders: Record<string, () => Promise<{ default: Words }>> = {
    uk: () => import("./uk.ts"),
    de: () => import("./de.ts"),
    pl: () => import("./pl.ts"),
    ar: () => import("./ar.ts"),
};

export let words: Words = en;
export let locale = "en";
let last = "";

/** Use a language; the site's if it is none of ours, English if it does not load. What was wanted last counts, whatever comes last. */
export async function speak(wanted: string): Promise<void> {
    const short = wanted.slice(0, 2).toLowerCase();
    const name = (last = short in LANGUAGES ? short : given.locale);
    const loaded = await loaders[name]?.().catch(() => undefined);
    if (name !== last) return;
    words = loaded?.default ?? en;
    locale = loaded ? name : "en";
    document.documentElement.lang = locale;
    document.documentElement.dir = words.dir;
}

/** A sentence with its slots filled. */
export function t(key: keyof Words, slots: Record<string, string | number> = {}): string {
    return words[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in slots ? String(slots[name]) : whole));
}

export const time = (ms: number): string => new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(ms);

/** Today, yesterday, or the date. */
export function day(ms: number): string {
    const date = new Date(ms).toDateString();
    if (date === new Date().toDateString()) return t("today");
    if (date === new Date(Date.now() - 86_400_000).toDateString()) return t("yesterday");
    return new Intl.DateTimeFormat(locale, { day: "numeric", month: "long" }).format(ms);
}

/** When something will be: the time if it is soon, else with the day, which is named by its date where a weekday could be another. */
export function moment(ms: number): string {
    const hours = (ms - Date.now()) / 3_600_000;
    const on = hours < 12 ? {} : hours < 144 ? ({ weekday: "long" } as const) : ({ day: "numeric", month: "long" } as const);
    return new Intl.DateTimeFormat(locale, { ...on, hour: "2-digit", minute: "2-digit" }).format(ms);
}

/** A stretch of time. */
export function span(ms: number): string {
    const minutes = ms / 60_000;
    const [value, unit] = minutes < 1.5 ? [Math.ceil(ms / 1000), "second"] : minutes < 90 ? [Math.ceil(minutes), "minute"] : [Math.ceil(minutes / 60), "hour"];
    return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(value);
}
