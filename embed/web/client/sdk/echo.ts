// What is on its way, as it stands in a conversation.

import { type Entry, isMark, REDACTION } from "./entry.ts";
import { contentBody } from "./messages.ts";
import { rootOf } from "./refers.ts";
import type { Message, Person } from "./types.ts";

/** A message that the room does not have yet. */
export const echo = (entry: Entry, sender: Person): Message => ({
    kind: "message",
    key: entry.txn,
    id: "",
    sender,
    level: 0,
    mine: true,
    time: entry.at,
    body: contentBody(entry.type, entry.content),
    progress: entry.upload?.progress,
    edited: false,
    quote: undefined,
    reactions: [],
    thread: undefined,
    mentionsMe: false,
    pinned: false,
    plainInEncrypted: false,
    state: entry.state === "sent" ? "sending" : entry.state,
    error: entry.error,
    readers: [],
});

/** A message with what is about to be done to it. */
export function overlaid(item: Message, entry: Entry): Message {
    const { thread } = item;
    if (rootOf(entry.content)) return item.id ? item : { ...item, thread: { count: (thread?.count ?? 0) + 1, last: entry.at, faces: [], unread: false } };
    if (entry.state === "failed" && isMark(entry)) return item;
    const { key } = (entry.content["m.relates_to"] ?? {}) as { key?: string };
    if (entry.type === REDACTION) return { ...item, body: { type: "gone" }, quote: undefined, reactions: [] };
    if (key === undefined) {
        const content = (entry.content["m.new_content"] ?? entry.content) as Record<string, unknown>;
        const body = contentBody("m.room.message", content);
        // What became of a change is said at the message that it is for.
        if (entry.state === "failed") return { ...item, body, state: "failed", error: entry.error, change: entry.txn };
        return { ...item, body, edited: true, ...(item.id && { state: "sending", error: undefined, change: undefined }) };
    }
    const known = item.reactions.find((reaction) => reaction.key === key);
    if (known?.mine) return item;
    const reactions = known
        ? item.reactions.map((each) => (each.key === key ? { ...each, count: each.count + 1, mine: entry.txn } : each))
        : [...item.reactions, { key, count: 1, mine: entry.txn, who: [] }];
    return { ...item, reactions };
}
