// What a text is found by: its words, folded so that how they were typed does not matter.
//
// Lower case; no accents on Latin and Greek letters (on Cyrillic ones only the stress: й and ї are letters of their own);
// apostrophes of all shapes are dropped and ґ is г. Words are found by their beginnings. Writing that puts no spaces
// between words is cut into pairs of signs instead.

const WORD = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['’ʼ`´′][\p{L}\p{N}][\p{L}\p{N}\p{M}]*)*/gu;
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+/gu;
/** Longer words are found by what comes before this. */
const LONGEST = 40;

/** A text as it is compared. */
export const fold = (text: string): string =>
    text
        .toLowerCase()
        .normalize("NFKD")
        .replace(/([\p{Script=Latin}\p{Script=Greek}])\p{M}+/gu, "$1")
        .replace(/\u0301|['’ʼ`´′]/g, "")
        .normalize("NFC")
        .replace(/ґ/g, "г");

/** The pieces of a text: words, and runs of signs that have no spaces between words. */
function pieces(text: string): { words: string[]; runs: string[] } {
    const words: string[] = [], runs: string[] = [];
    for (const [found] of text.matchAll(WORD)) {
        const word = fold(found);
        const unspaced = word.match(UNSPACED);
        if (!unspaced) {
            words.push(word.slice(0, LONGEST));
            continue;
        }
        runs.push(...unspaced);
        words.push(...word.split(UNSPACED).filter(Boolean).map((each) => each.slice(0, LONGEST)));
    }
    return { words, runs };
}

const pairs = (signs: readonly string[]): string[] => signs.slice(1).map((sign, at) => (signs[at] ?? "") + sign);

/** Everything that a message is found by. */
export function wordsOf(text: string): Set<string> {
    const { words, runs } = pieces(text);
    for (const run of runs) {
        const signs = [...run];
        words.push(...pairs(signs), signs.at(-1) ?? "");
    }
    return new Set(words);
}

/** What a message must have: a word that begins so, for each of these. */
export function wantedOf(term: string): string[] {
    const { words, runs } = pieces(term);
    for (const run of runs) {
        const signs = [...run];
        words.push(...(signs.length > 1 ? pairs(signs) : signs));
    }
    return [...new Set(words)];
}

/** The text in parts, every second of them what was looked for: at beginnings of words, or `anywhere` in them. */
export function marks(text: string, term: string, anywhere: boolean): string[] {
    const { words, runs } = pieces(term);
    const found: [number, number][] = [];
    for (const match of text.matchAll(WORD)) {
        const ends = folds(match[0]);
        const whole = ends.map(([part]) => part).join("");
        for (const wanted of [...words, ...runs]) {
            const at = anywhere || runs.includes(wanted) ? whole.indexOf(wanted) : whole.startsWith(wanted) ? 0 : -1;
            if (at >= 0) found.push([match.index + position(ends, at), match.index + position(ends, at + wanted.length)]);
        }
    }
    return cut(text, found);
}

/** Each sign of a word as it is folded, and where it ends. */
function folds(word: string): [string, number][] {
    let end = 0;
    return [...word].map((sign) => [/\p{M}/u.test(sign) ? "" : fold(sign), (end += sign.length)]);
}

/** Where the sign ends with which the first `length` folded ones are complete. */
function position(ends: readonly [string, number][], length: number): number {
    let seen = 0, end = 0;
    for (const [part, at] of ends) {
        if (seen >= length) break;
        seen += part.length;
        end = at;
    }
    return end;
}

function cut(text: string, found: [number, number][]): string[] {
    const parts: string[] = [];
    let done = 0;
    for (const [from, to] of found.sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
        if (from < done) continue;
        parts.push(text.slice(done, from), text.slice(from, to));
        done = to;
    }
    parts.push(text.slice(done));
    return parts;
}
