// How well a name fits what somebody typed: word starts first, and Cyrillic and Latin letters that sound alike are one.

const LATIN: Record<string, string> = {
    а: "a", б: "b", в: "v", г: "h", ґ: "g", д: "d", е: "e", є: "ye", ж: "zh", з: "z", и: "y", і: "i", ї: "yi", й: "y", к: "k", л: "l", м: "m", н: "n",
    о: "o", п: "p", р: "r", с: "s", т: "t", у: "u", ф: "f", х: "kh", ц: "ts", ч: "ch", ш: "sh", щ: "shch", ю: "yu", я: "ya", ь: "", ъ: "", э: "e", ы: "y", ё: "yo",
};

/** Lower case, without accents and apostrophes, in Latin letters. */
export const fold = (text: string): string =>
    [...text.toLowerCase().normalize("NFC")]
        .map((sign) => LATIN[sign] ?? sign.normalize("NFD").replace(/\p{M}/gu, ""))
        .join("")
        .replace(/['’ʼ`]/g, "");

/** 0 if it does not fit. */
export function score(name: string, term: string): number {
    const text = fold(name), wanted = fold(term.trim());
    if (!wanted) return 1;
    if (text === wanted) return 100;
    if (text.startsWith(wanted)) return 80;
    const words = text.split(/[^\p{L}\p{N}]+/u);
    const parts = wanted.split(/\s+/);
    if (parts.every((part) => words.some((word) => word.startsWith(part)))) return 60 - Math.min(20, text.length / 10);
    if (words.map((word) => word[0] ?? "").join("").startsWith(wanted)) return 40;
    return parts.every((part) => text.includes(part)) && wanted.length > 1 ? 20 : 0;
}
