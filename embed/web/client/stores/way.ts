// Where one comes into a conversation (webclient.md 5.1).

/** Who comes back within it finds the place where they were. */
export const BACK_MS = 10 * 60_000;

/**
 * `around` an event that is asked for; `stay` where one was if that is here still and was left a short while ago; else
 * `afresh`. `left` is 0 while nobody has left.
 */
export function wayIn(event: string | undefined, kept: boolean, left: number, now = Date.now()): "around" | "stay" | "afresh" {
    if (event) return "around";
    return kept && (left === 0 || now - left < BACK_MS) ? "stay" : "afresh";
}
