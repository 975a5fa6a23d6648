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

/** The name in parts, every second of them what `score` has found: beginnings of words, initials, or what lies within. */
export function fits(name: string, term: string): string[] {
    const signs = [...name.normalize("NFC")];
    const folded = signs.map(fold), text = folded.join("");
    // For each place in the folded text, as strings count them, the sign it comes from.
    const owner = folded.flatMap((sign, at) => sign.split("").map(() => at));
    const wanted = fold(term.trim());
    const bold = new Set<number>();
    const mark = (from: number, length: number): void => {
        for (let at = owner[from] ?? 0; length > 0 && at <= (owner[from + length - 1] ?? -1); at++) bold.add(at);
    };
    const starts = [...text.matchAll(/[\p{L}\p{N}]+/gu)].map(({ index }) => index);
    const parts = wanted.split(/\s+/).filter(Boolean);
    const words = starts.flatMap((at) => parts.filter((part) => text.startsWith(part, at)).map((part) => [at, part] as const));
    if (text.startsWith(wanted)) mark(0, wanted.length);
    else if (parts.every((part) => words.some(([, each]) => each === part))) for (const [at, part] of words) mark(at, part.length);
    else if (starts.map((at) => text[at]).join("").startsWith(wanted)) for (const at of starts.slice(0, wanted.length)) mark(at, 1);
    else if (wanted.length > 1) for (const part of parts) for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) mark(at, part.length);
    const pieces: string[] = [];
    let piece = "";
    for (const [at, sign] of signs.entries()) {
        // What comes at an odd place is marked.
        if (bold.has(at) !== (pieces.length % 2 === 1)) {
            pieces.push(piece);
            piece = "";
        }
        piece += sign;
    }
    return [...pieces, piece];
}
