// What is written before the client runs lies where its outbox will find it, and stands in the conversation meanwhile.

import { signal } from "@preact/signals";
import { echo, overlaid } from "../sdk/echo.ts";
import { type Entry, kept, made, type Options, write } from "../sdk/entry.ts";
import { answered, concerns, rootOf } from "../sdk/refers.ts";
import type { Item, Message } from "../sdk/types.ts";
import { type App, app, me } from "./app.ts";

/** What is to be sent and is not in the outbox of this page yet, of earlier pages too. */
const early = signal<readonly Entry[]>([]);

export async function loadEarly(user: string): Promise<void> {
    early.value = (await kept(user)).filter(({ withdrawn }) => !withdrawn);
}

/** Put something at the end of the room's list, whether the client runs or not. From here on it is sent, once. */
export async function post(room: string, type: string, content: Record<string, unknown>, options: Options = {}): Promise<void> {
    if (app.value) return void app.value.outbox.add(room, type, content, options);
    const entry: Entry = { ...made(early.value, room, type, content, options), early: true };
    early.value = [...early.value, entry];
    try {
        await write(me.value.id, entry);
    } catch (error) {
        if (!early.value.includes(entry)) return; // the client runs by now, and has it
        early.value = early.value.filter((each) => each !== entry);
        throw error;
    }
}

/** The client runs: the outbox has taken what lay on the disk. Of what was written here, the tab that sends is told. */
export function handOver({ outbox, following }: App): void {
    const mine = early.value;
    early.value = [];
    for (const { early: unheard, ...entry } of mine) if (following && unheard) outbox.put(entry);
}

/** The end of a conversation as it was kept, with what is on its way: as `Timeline.items` has it once the client runs. */
export function withEarly(room: string, items: readonly Item[]): readonly Item[] {
    const waiting = [...early.value, ...(app.value?.outbox.of(room) ?? [])].filter((entry) => entry.room === room);
    return waiting.reduce<readonly Item[]>((shown, entry) => {
        const of = concerns(entry.content) ?? rootOf(entry.content);
        if (of !== undefined) return shown.map((item) => (item.kind === "message" && item.id === of ? overlaid(item, entry) : item));
        if (entry.type === "m.reaction" || shown.some(({ key }) => key === entry.txn)) return shown;
        const to = entry.quoted ? shown.find((item): item is Message => item.kind === "message" && item.id === answered(entry.content)) : undefined;
        const quote = to && { id: to.id, sender: to.sender.id, name: to.sender.name, text: to.body.type === "text" ? to.body.text.slice(0, 200) : "" };
        return [...shown, { ...echo(entry, me.value), quote }];
    }, items);
}
