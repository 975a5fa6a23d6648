// The one place that decides what of a room waits for the user (webclient.md 5.3).

import type { Badge, Kind, Membership } from "./types.ts";

export interface Counts {
    membership: Membership;
    kind: Kind;
    /** What the server counts. */
    notifications: number;
    highlights: number;
    muted: boolean;
    /** Something new that does not count. */
    unread: boolean;
    markedUnread: boolean;
    /** Own receipt is at or past the last thing that counts, or that thing is one's own. */
    read: boolean;
    /** Another room took its place. */
    upgraded: boolean;
}

export const NO_BADGE: Badge = { count: 0, mention: false, dot: false };

export function badge(of: Counts): Badge {
    if (of.membership !== "join" || of.upgraded || of.kind === "space") return NO_BADGE;
    if (of.read && of.highlights === 0) return of.markedUnread ? { ...NO_BADGE, dot: true } : NO_BADGE;
    if (of.muted) {
        return { count: of.highlights, mention: of.highlights > 0, dot: of.unread || of.markedUnread };
    }
    const count = Math.max(of.notifications, of.highlights);
    return { count, mention: of.highlights > 0 || (of.kind === "dm" && count > 0), dot: count === 0 && (of.unread || of.markedUnread) };
}
