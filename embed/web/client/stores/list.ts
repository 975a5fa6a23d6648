// The list: what is shown, in which order, in which section.

import { computed, signal } from "@preact/signals";
import type { RoomRow } from "../sdk/types.ts";
import { rooms } from "./app.ts";
import { drafts } from "./drafts.ts";
import { settings } from "./settings.ts";

export type Filter = "all" | "unread" | "people" | "rooms";
export const filter = signal<Filter>("all");
export const space = signal<string | undefined>(undefined);
/** Rows are not moved under a pointer that is about to press: the order of before, while it is set. */
export const held = signal<readonly string[] | undefined>(undefined);

export const spaces = computed(() =>
    [...rooms.value.values()].filter((row) => row.kind === "space" && row.membership === "join").sort((a, b) => a.name.localeCompare(b.name)),
);

export const invites = computed(() =>
    [...rooms.value.values()].filter((row) => row.membership === "invite").sort((a, b) => b.time - a.time),
);

/** All rooms that are in the space, or in a space in it. */
export function within(id: string, all: ReadonlyMap<string, RoomRow>, seen = new Set<string>()): Set<string> {
    for (const child of all.get(id)?.children ?? []) {
        if (seen.has(child)) continue;
        seen.add(child);
        within(child, all, seen);
    }
    return seen;
}

const joined = computed(() => [...rooms.value.values()].filter((row) => row.kind !== "space" && (row.membership === "join" || row.membership === "knock") && !replaced(row)));

/** An old room is hidden once one is in the room that took its place. */
const replaced = (row: RoomRow): boolean => row.successor !== undefined && rooms.value.get(row.successor)?.membership === "join";

export const shown = computed(() => {
    const inside = space.value ? within(space.value, rooms.value) : undefined;
    const wanted = joined.value.filter((row) => {
        if (inside && !inside.has(row.id)) return false;
        switch (filter.value) {
            case "unread":
                return row.badge.count > 0 || row.badge.dot;
            case "people":
                return row.kind === "dm";
            case "rooms":
                return row.kind === "room";
            default:
                return true;
        }
    });
    const byName = settings.value.order === "name";
    const place = held.value ? new Map(held.value.map((id, at) => [id, at])) : undefined;
    return wanted.sort((a, b) => {
        const before = place ? (place.get(a.id) ?? -1) - (place.get(b.id) ?? -1) : 0;
        return before || (byName ? a.name.localeCompare(b.name) : b.time - a.time);
    });
});

/** To whom something is being written with whom there is no conversation yet, the latest first. */
export const begunWith = computed(() => {
    if (space.value || filter.value === "unread" || filter.value === "rooms") return [];
    const met = new Set([...rooms.value.values()].map((row) => row.person));
    return [...drafts.value].filter(([key]) => key.startsWith("@") && !key.includes(" ") && !met.has(key)).sort(([, a], [, b]) => b.at - a.at).map(([user, { text }]) => ({ user, text }));
});

export interface Section {
    key: "favourites" | "all" | "low";
    rows: RoomRow[];
}
/** So many rows are in view at first; the others are drawn after that frame. */
const FIRST_ROWS = 16;
/** The list has been on the screen. */
export const begun = signal(false);

export const sections = computed<Section[]>(() => {
    const all: Section[] = [
        { key: "favourites", rows: shown.value.filter((row) => row.favourite) },
        { key: "all", rows: shown.value.filter((row) => !row.favourite && !row.low) },
        { key: "low", rows: shown.value.filter((row) => row.low && !row.favourite) },
    ];
    let left = begun.value ? Infinity : FIRST_ROWS;
    return all.filter(({ rows: each }) => each.length > 0).map(({ key, rows: each }) => {
        const part = each.slice(0, left);
        left -= part.length;
        return { key, rows: part };
    });
});

/** The sum over a set of rooms, for a space, the rail and the title. */
export function sum(ids: Iterable<string>): { count: number; mention: boolean; dot: boolean } {
    const total = { count: 0, mention: false, dot: false };
    for (const id of ids) {
        const row = rooms.value.get(id);
        if (!row) continue;
        total.count += row.badge.count;
        total.mention ||= row.badge.mention;
        total.dot ||= row.badge.dot;
    }
    return total;
}

/** Rooms with something that notified, for the title. Invitations count nothing: they stand above the list. */
export const waiting = computed(() => joined.value.filter((row) => row.badge.count > 0).length);

/** What a badge opens: of the rooms that it counts, the one after `from`, the newest first; those with a dot come last. */
export function nextUnread(from: string | undefined, inside?: ReadonlySet<string>): RoomRow | undefined {
    const all = joined.value.filter((row) => !inside || inside.has(row.id)).sort((a, b) => b.time - a.time);
    const counted = all.filter((row) => row.badge.count > 0);
    const rows = counted.length > 0 ? counted : all.filter((row) => row.badge.dot);
    return rows[rows.findIndex((row) => row.id === from) + 1] ?? rows[0];
}

/** The next room in the order on screen, or the next one with something new. */
export function neighbour(from: string | undefined, step: 1 | -1, unread: boolean): RoomRow | undefined {
    const rows = sections.value.flatMap((section) => section.rows);
    const at = rows.findIndex((row) => row.id === from);
    for (let n = 1; n <= rows.length; n++) {
        const row = rows[(at + step * n + rows.length * 2) % rows.length];
        if (row && (!unread || row.badge.count > 0 || row.badge.dot)) return row;
    }
    return undefined;
}
