// A recovery key while it is typed: base58 in groups of four.  spec: client-server-api#recovery-key
// And the days on which somebody who has none is reminded.

const SIGNS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ALPHABET = new RegExp(`^[${SIGNS}]*$`);
const TOTAL = 48;
const GROUPS = TOTAL / 4;
/** Between these lies the first group of every key, since all keys begin with the same two bytes. */
const LEAST = "EsSz", MOST = "EsUK";
const BYTES = 35;

export interface RecoveryProblem {
    /** How much of it is there. */
    count: number;
    total: number;
    /** The first group that cannot be right. */
    group: { at: number; text: string } | undefined;
    /** All of it is there, each group could be right, and yet a letter is not: the bytes do not add up. */
    odd: boolean;
}

export function recoveryProblem(text: string): RecoveryProblem {
    const signs = text.replace(/\s/g, "");
    const groups = signs.match(/.{1,4}/gs) ?? [];
    const at = groups.findIndex((group, nr) => nr >= GROUPS || !ALPHABET.test(group) || (nr === 0 && (group < LEAST.slice(0, group.length) || group > MOST.slice(0, group.length))));
    const bad = groups[at];
    const odd = bad === undefined && signs.length === TOTAL && !adds(signs);
    return { count: signs.length, total: TOTAL, group: bad === undefined ? undefined : { at: at + 1, text: bad }, odd };
}

/** The bytes begin as they have to, and all of them together give nothing. */
function adds(signs: string): boolean {
    let number = 0n;
    for (const sign of signs) number = number * 58n + BigInt(SIGNS.indexOf(sign));
    const bytes = Array.from({ length: BYTES }, (_, at) => Number((number >> BigInt(8 * (BYTES - 1 - at))) & 255n));
    return bytes[0] === 0x8b && bytes[1] === 1 && bytes.reduce((sum, byte) => sum ^ byte, 0) === 0;
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
