// A recovery key while it is typed: base58 in groups of four.  spec: client-server-api#recovery-key

const ALPHABET = /^[1-9A-HJ-NP-Za-km-z]*$/;
const TOTAL = 48;

/** How much of it is there, and the first group that cannot be right. */
export function recoveryProblem(text: string): { count: number; total: number; group: { at: number; text: string } | undefined } {
    const signs = text.replace(/\s/g, "");
    const groups = signs.match(/.{1,4}/gs) ?? [];
    const at = groups.findIndex((group) => !ALPHABET.test(group));
    const bad = groups[at];
    return { count: signs.length, total: TOTAL, group: bad === undefined ? undefined : { at: at + 1, text: bad } };
}
