// Sentences by key, in the user's language. en.ts is the type: a key that uk.ts lacks does not compile.

import { signal } from "@preact/signals";
import { entry } from "./en.entry.ts";
import type { en } from "./en.ts";

export type Text = string | { readonly one: string; readonly few?: string; readonly many?: string; readonly other: string };
export type Key = keyof typeof en;
export type Texts = { readonly [K in Key]: Text };
/** What another language says in the place of these texts. */
export type Same<T> = { readonly [K in keyof T]: Text };
export type Language = "en" | "uk";
export const LANGUAGES: Record<Language, string> = { en: "English", uk: "Українська" };

const loaded: Record<Language, Partial<Texts>> = { en: entry, uk: {} };

/** More of English: it comes with the client, after the sign-in page, and with the pages that say it. */
export const learn = (texts: Partial<Texts>): void => void (loaded.en = { ...loaded.en, ...texts });
export const language = signal<Language>("en");

const LANGUAGE = "hromada.language";

export type Slots = Readonly<Record<string, string | number>>;

/** Tests of the layout dress texts up: longer, and with accents. What is said in none of our languages is seen then. */
let dress = (text: string): string => text;

/** The sentence `key` with its slots filled in; `n` chooses the plural. */
export function t(key: Key, slots: Slots = {}): string {
    return fill(loaded[language.value][key] ?? loaded.en[key] ?? key, slots, language.value);
}

/** As `t`, for keys that data names. */
export const tt = (key: string, slots: Slots = {}): string => (key in loaded.en ? t(key as Key, slots) : key);

export function fill(text: Text, slots: Slots, of: string): string {
    const chosen = typeof text === "string" ? text : plural(text, Number(slots["n"] ?? 0), of);
    return dress(chosen).replace(/\{(\w+)\}/g, (whole, name: string) => {
        const value = slots[name];
        return value === undefined ? whole : typeof value === "number" ? value.toLocaleString(of) : value;
    });
}

function plural(text: Exclude<Text, string>, n: number, of: string): string {
    const form = new Intl.PluralRules(of).select(n) as keyof typeof text;
    return text[form] ?? text.other;
}

/** Load and use a language. */
export async function speak(wanted: Language): Promise<void> {
    if (wanted === "uk") loaded.uk = (await import("./uk.ts")).uk;
    if (localStorageSafe(LANGUAGE) === "xx") dress = (await import("./xx.ts")).dressed;
    language.value = wanted;
    document.documentElement.lang = wanted;
}

export const preferred = (): Language => {
    const kept = localStorageSafe(LANGUAGE);
    if (kept === "en" || kept === "uk") return kept;
    return navigator.languages.some((each) => /^uk\b/i.test(each)) ? "uk" : "en";
};

export function localStorageSafe(key: string): string | null {
    try {
        return localStorage.getItem(key);
    } catch {
        return null;
    }
}

export function keepLocal(key: string, value: string): void {
    try {
        localStorage.setItem(key, value);
    } catch {
        // denied: it holds for this page
    }
}
