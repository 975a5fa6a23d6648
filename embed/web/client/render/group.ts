// Items as they stand on the page: by day, in groups of one sender, what happened in a row folded into one line.

import type { Happening, Item, Message } from "../sdk/types.ts";

export type Row =
    | { kind: "message"; key: string; message: Message; first: boolean; next: boolean }
    | { kind: "happened"; key: string; items: readonly Happening[] }
    /** Messages from before this device, which has no keys to them. */
    | { kind: "sealed"; key: string; items: readonly Message[] }
    | { kind: "line"; key: string };
export interface Day {
    key: string;
    time: number;
    rows: Row[];
}

const TOGETHER_MS = 5 * 60_000;
const dayOf = (time: number): string => new Date(time).toDateString();

const SEALED = new Set(["HISTORICAL_MESSAGE_NO_KEY_BACKUP", "HISTORICAL_MESSAGE_BACKUP_UNCONFIGURED"]);
export const sealed = (item: Item): boolean => item.kind === "message" && item.body.type === "locked" && SEALED.has(item.body.reason);

/** So many closed messages at the beginning are enough: what is older comes only if it is asked for, since no row is added. */
const WALL = 50;
export const walled = (items: readonly Item[]): boolean => items.length > WALL && items.slice(0, WALL).every(sealed);

/** Closed messages are one line, however many days they took: it stands where the last of them does. */
function seal(days: Day[], item: Message): Row {
    const last = days.at(-2);
    const today = days.at(-1)?.rows ?? [];
    const from = today.length > 0 ? today : last?.rows;
    const run = from?.at(-1);
    if (run?.kind !== "sealed") return { kind: "sealed", key: item.key, items: [item] };
    from?.pop();
    if (last?.rows.length === 0) days.splice(-2, 1);
    return { kind: "sealed", key: item.key, items: [...run.items, item] };
}

/**
 * `line` is the key of the first unread item. Items of `apart` begin a group whatever stands before them: where a page of
 * history began, rows were drawn as beginning one, and must not change under the reader when older ones come.
 */
export function group(items: readonly Item[], line: string | undefined, apart?: ReadonlySet<string>): Day[] {
    const days: Day[] = [];
    let before: Message | undefined;
    for (const item of items) {
        const key = dayOf(item.time);
        let day = days.at(-1);
        if (day?.key !== key) {
            // A clock that went wrong must not make the same day twice under one key.
            day = { key: days.some((each) => each.key === key) ? `${key} ${item.key}` : key, time: item.time, rows: [] };
            days.push(day);
            before = undefined;
        }
        if (item.key === line) {
            day.rows.push({ kind: "line", key: "line" });
            before = undefined;
        }
        if (apart?.has(item.key)) before = undefined;
        if (item.kind === "happening") {
            const last = day.rows.at(-1);
            if (last?.kind === "happened" && !apart?.has(item.key)) day.rows[day.rows.length - 1] = { ...last, items: [...last.items, item] };
            else day.rows.push({ kind: "happened", key: item.key, items: [item] });
            before = undefined;
            continue;
        }
        if (sealed(item)) {
            const row = seal(days, item);
            day.rows.push(row);
            before = undefined;
            continue;
        }
        const joined = before?.sender.id === item.sender.id && item.time - before.time < TOGETHER_MS && item.time >= before.time;
        const last = day.rows.at(-1);
        if (joined && last?.kind === "message") last.next = true;
        day.rows.push({ kind: "message", key: item.key, message: item, first: !joined, next: false });
        before = item;
    }
    return days;
}
