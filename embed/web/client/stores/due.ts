const DAY_MS = 24 * 3_600_000;

/** What to do about another build that has been there since `since`, offered last at `offered`. */
export function due(since: number | undefined, offered: number, hidden: boolean, idle: boolean, now = Date.now()): "take" | "offer" | undefined {
    if (since === undefined) return undefined;
    if (hidden) return idle ? "take" : undefined;
    return now - Math.max(since, offered) >= DAY_MS ? "offer" : undefined;
}
