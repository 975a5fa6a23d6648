// A recovery key while it is typed: base58 in groups of four.  spec: client-server-api#recovery-key
// And the days on which somebody who has none is reminded.

const SIGNS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ALPHABET = new RegExp(`^[${SIGNS}]*$`);
const TOTAL = 48;
const GROUPS = TOTAL / 4;
/** Between these lies the first group of every key, since all keys begin with the same two bytes. */
const LEAST = "EsSz", MOST = "EsUK";
const BYTES = 35;

/** Signs that are taken for each other when one writes them down. */
const ALIKE = ["cC", "kK", "mM", "pP", "sS5", "uUvV", "wW", "xX", "zZ2", "yYgq9", "B8", "G6b", "1ij7", "nhr", "ao", "ec", "ft", "4A"];

export interface RecoveryProblem {
    /** How much of it is there. */
    count: number;
    total: number;
    /** The first group that cannot be right; of a whole key, the only one in which one letter would mend it. */
    group: { at: number; text: string } | undefined;
    /** All of it is there, each group could be right, and yet a letter is not: the bytes do not add up. */
    odd: boolean;
}

export function recoveryProblem(text: string): RecoveryProblem {
    const signs = text.replace(/\s/g, "");
    const groups = signs.match(/.{1,4}/gs) ?? [];
    const at = groups.findIndex((group, nr) => nr >= GROUPS || !ALPHABET.test(group) || (nr === 0 && (group < LEAST.slice(0, group.length) || group > MOST.slice(0, group.length))));
    const bad = groups[at];
    const odd = bad === undefined && signs.length === TOTAL && !adds(valueOf(signs));
    const nr = odd ? suspect(signs) : at;
    return { count: signs.length, total: TOTAL, group: nr < 0 ? undefined : { at: nr + 1, text: groups[nr] ?? "" }, odd };
}

const valueOf = (signs: string): bigint => [...signs].reduce((sum, sign) => sum * 58n + BigInt(SIGNS.indexOf(sign)), 0n);

/** The bytes begin as they have to, and all of them together give nothing. */
function adds(value: bigint): boolean {
    const digits = value.toString(16);
    if (digits.length !== 2 * BYTES || !digits.startsWith("8b01")) return false;
    let sum = 0;
    for (let at = 0; at < digits.length; at += 2) sum ^= parseInt(digits.slice(at, at + 2), 16);
    return sum === 0;
}

/**
 * The only group in which one letter, or two that changed places, would make the key add up; -1 if there are several.
 * One in 256 keys adds up by chance, so what is easily mistaken is tried by itself first.
 */
function suspect(signs: string): number {
    const value = valueOf(signs);
    const weight = (at: number): bigint => 58n ** BigInt(TOTAL - 1 - at);
    const step = (at: number, to: string): bigint => BigInt(SIGNS.indexOf(to) - SIGNS.indexOf(signs[at] ?? "")) * weight(at);
    const mended = (letters: (sign: string) => string, swaps: boolean): Set<number> => {
        const found = new Set<number>();
        for (const [at, sign] of [...signs].entries()) {
            const next = signs[at + 1];
            const good = [...letters(sign)].some((to) => to !== sign && adds(value + step(at, to)));
            const swapped = swaps && next !== undefined && next !== sign && at % 4 < 3 && adds(value + step(at, next) + step(at + 1, sign));
            if (good || swapped) found.add(Math.floor(at / 4));
        }
        return found;
    };
    const likely = mended((sign) => ALIKE.filter((each) => each.includes(sign)).join(""), true);
    const groups = likely.size > 0 ? likely : mended(() => SIGNS, false);
    return groups.size === 1 ? ([...groups][0] ?? -1) : -1;
}

const DAYS = [1, 7, 30];
const DAY_MS = 24 * 3_600_000;

export interface Reminders {
    /** When the account was first seen without a key. */
    since: number;
    /** How many were closed; those that came while nobody looked count with the next. */
    closed: number;
}

export const reached = ({ since }: Reminders, now: number): number => DAYS.filter((day) => now - since >= day * DAY_MS).length;
export const due = (kept: Reminders, now: number): boolean => reached(kept, now) > kept.closed;
