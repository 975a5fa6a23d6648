// Items as they stand on the page: by day, in groups of one sender, what happened in a row folded into one line.

import type { Happening, Item, Message } from "../sdk/types.ts";

export type Row =
    | { kind: "message"; key: string; message: Message; first: boolean; next: boolean }
    | { kind: "happened"; key: string; items: readonly Happening[] }
    | { kind: "line"; key: string };
export interface Day {
    key: string;
    time: number;
    rows: Row[];
}

const TOGETHER_MS = 5 * 60_000;
const dayOf = (time: number): string => new Date(time).toDateString();

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
        const joined = before?.sender.id === item.sender.id && item.time - before.time < TOGETHER_MS && item.time >= before.time;
        const last = day.rows.at(-1);
        if (joined && last?.kind === "message") last.next = true;
        day.rows.push({ kind: "message", key: item.key, message: item, first: !joined, next: false });
        before = item;
    }
    return days;
}
