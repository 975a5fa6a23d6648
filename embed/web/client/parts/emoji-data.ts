// Emoji by group, with words in the user's language; loaded when first asked for.

import { keepLocal, language, localStorageSafe } from "../i18n/t.ts";
import { fold } from "../stores/score.ts";

export type Sign = readonly [emoji: string, label: string, tags: string, skins?: readonly string[]];
const loaded = new Map<string, readonly (readonly Sign[])[]>();

export async function emojiGroups(): Promise<readonly (readonly Sign[])[]> {
    const of = language.value;
    let groups = loaded.get(of);
    if (!groups) {
        const made = (of === "uk" ? await import("hromada:emoji/uk") : await import("hromada:emoji/en")).default;
        groups = made;
        loaded.set(of, groups);
    }
    return groups;
}

export async function findEmoji(term: string, most: number): Promise<Sign[]> {
    const wanted = fold(term);
    const ranked = (await emojiGroups()).flat().flatMap((sign) => {
        const label = fold(sign[1]), tags = fold(sign[2]).split(" ");
        const value = label.startsWith(wanted) ? 3 : tags.some((tag) => tag.startsWith(wanted)) ? 2 : label.includes(wanted) ? 1 : 0;
        return value ? [{ sign, value }] : [];
    });
    return ranked.sort((a, b) => b.value - a.value).slice(0, most).map(({ sign }) => sign);
}

const KEY = "hromada.emoji";
const USUAL = ["👍", "❤️", "😂", "🙏", "🎉", "🔥", "💙", "🌱"];

export function recentEmoji(): string[] {
    const kept = (localStorageSafe(KEY) ?? "").split(" ").filter(Boolean);
    return [...new Set([...kept, ...USUAL])].slice(0, 16);
}

export const usedEmoji = (sign: string): void => keepLocal(KEY, [sign, ...recentEmoji().filter((each) => each !== sign)].slice(0, 16).join(" "));

/** No tone of skin, and the five there are. */
export const TONES = ["✋", "✋🏻", "✋🏼", "✋🏽", "✋🏾", "✋🏿"] as const;
const TONE = "hromada.tone";
export const keptTone = (): number => Number(localStorageSafe(TONE) ?? 0) % TONES.length || 0;
export const keepTone = (tone: number): void => keepLocal(TONE, String(tone));
/** The sign in the tone of skin that was chosen, if it has one. */
export const toned = ([emoji, , , skins]: Sign, tone: number): string => skins?.[tone - 1] ?? emoji;
