// Moments in words, by the browser's own knowledge of languages.

import { language, t } from "../i18n/t.ts";
import { settings } from "../stores/settings.ts";

const formats = new Map<string, Intl.DateTimeFormat>();
function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
    const key = language.value + JSON.stringify(options);
    let made = formats.get(key);
    if (!made) formats.set(key, (made = new Intl.DateTimeFormat(language.value === "en" ? "en-GB" : language.value, options)));
    return made;
}

/** The hour, here or in another zone. */
export const clock = (time: number, timeZone?: string): string => format({ hour: "2-digit", minute: "2-digit", hour12: settings.value.hour12, ...(timeZone && { timeZone }) }).format(time);

const startOfDay = (time: number): number => new Date(time).setHours(0, 0, 0, 0);
const daysAgo = (time: number, now: number): number => Math.round((startOfDay(now) - startOfDay(time)) / 86_400_000);

/** For the list: the hour today, then the day's name, then the date. */
export function short(time: number, now = Date.now()): string {
    if (!time) return "";
    const ago = daysAgo(time, now);
    if (ago <= 0) return clock(time);
    if (ago === 1) return t("date.yesterday");
    if (ago < 7) return format({ weekday: "short" }).format(time);
    return format(ago < 300 ? { day: "numeric", month: "short" } : { day: "numeric", month: "short", year: "numeric" }).format(time);
}

/** For the day's pill. */
export function day(time: number, now = Date.now()): string {
    const ago = daysAgo(time, now);
    if (ago === 0) return t("date.today");
    if (ago === 1) return t("date.yesterday");
    return format(ago < 300 && ago > 0 ? { weekday: "long", day: "numeric", month: "long" } : { day: "numeric", month: "long", year: "numeric" }).format(time);
}

export const full = (time: number): string => format({ dateStyle: "full", timeStyle: "short" }).format(time);

/** The name of a day of the week: 1 is Monday, as 1 January 2024 was. */
export const dayName = (day: number, weekday: "long" | "short" = "long"): string => format({ weekday }).format(new Date(2024, 0, day));
export const monthName = (time: number): string => format({ month: "long", year: "numeric" }).format(time);
export const date = (time: number): string => format({ dateStyle: "full" }).format(time);

/** 40 seconds ago; 2 hours ago */
export function ago(time: number, now = Date.now()): string {
    const units = [["second", 60], ["minute", 60], ["hour", 24], ["day", Infinity]] as const;
    let value = Math.max(0, now - time) / 1000, at = 0;
    for (; value >= (units[at]?.[1] ?? Infinity); at++) value /= units[at]?.[1] ?? 1;
    return new Intl.RelativeTimeFormat(language.value, { style: "short" }).format(-Math.floor(value), units[at]?.[0] ?? "day");
}

/** 0:34 */
export function duration(seconds: number): string {
    const whole = Math.round(seconds);
    const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
    const two = (value: number): string => String(value).padStart(2, "0");
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function size(bytes: number): string {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
    let value = bytes, unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
        value /= 1000;
        unit++;
    }
    return new Intl.NumberFormat(language.value, { style: "unit", unit: units[unit] ?? "byte", maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0 }).format(value);
}

export const list = (names: readonly string[]): string => new Intl.ListFormat(language.value, { type: "conjunction" }).format(names);
