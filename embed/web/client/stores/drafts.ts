// Unsent texts, per room and thread. On this browser's disk only: never synced, never overwritten while one writes.

import { signal } from "@preact/signals";
import * as kv from "../../core/kv.ts";

export interface Mention {
    /** As it stands in the text: `@Ada`. */
    text: string;
    /** A user id, or `@room`. */
    id: string;
}
export interface Draft {
    text: string;
    mentions: Mention[];
    reply: string | undefined;
    edit: string | undefined;
    at: number;
}

const WAIT_MS = 300;
export const drafts = signal<ReadonlyMap<string, Draft>>(new Map());
const timers = new Map<string, ReturnType<typeof setTimeout>>();
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("hromada.drafts") : undefined;

export const draftKey = (room: string, thread?: string): string => (thread ? `${room} ${thread}` : room);
/** Where a message that is being changed stands, beside the draft of what is new. */
export const editKey = (draft: string, event: string): string => `${draft} edit:${event}`;

/** The message that was being changed when one went away. */
export const editOf = (draft: string): string | undefined => [...drafts.value.keys()].find((key) => key.startsWith(editKey(draft, "")))?.slice(editKey(draft, "").length);

export const dropDraft = (key: string): void => keepDraft(key, { text: "", mentions: [], reply: undefined, edit: undefined });

export async function loadDrafts(): Promise<void> {
    drafts.value = new Map(await kv.all<Draft>("drafts"));
    channel?.addEventListener("message", ({ data }: MessageEvent<{ key: string; draft: Draft | undefined }>) => put(data.key, data.draft));
    addEventListener("pagehide", () => {
        for (const key of [...timers.keys()]) write(key);
    });
}

function put(key: string, draft: Draft | undefined): void {
    const next = new Map(drafts.value);
    if (draft) next.set(key, draft);
    else next.delete(key);
    drafts.value = next;
}

function write(key: string): void {
    clearTimeout(timers.get(key));
    timers.delete(key);
    const draft = drafts.value.get(key);
    void (draft ? kv.put("drafts", key, draft) : kv.remove("drafts", key));
    channel?.postMessage({ key, draft });
}

/** Keep what is in the composer; an empty text with nothing attached is no draft. */
export function keepDraft(key: string, draft: Omit<Draft, "at">): void {
    put(key, draft.text.trim() || draft.reply || draft.edit ? { ...draft, at: Date.now() } : undefined);
    clearTimeout(timers.get(key));
    // What was sent is gone at once: a page that is loaded anew must not bring it back.
    if (drafts.value.has(key)) timers.set(key, setTimeout(() => write(key), WAIT_MS));
    else write(key);
}

/** Take what is being sent out of the composer. On the disk it stays until it is in the outbox, and `dropped` is called. */
export function takeDrafts(...keys: string[]): () => void {
    for (const key of keys) {
        const draft = drafts.value.get(key);
        clearTimeout(timers.get(key));
        if (timers.delete(key)) void kv.put("drafts", key, draft);
        put(key, undefined);
    }
    return () => {
        for (const key of keys) if (!drafts.value.has(key)) write(key);
    };
}

/** A room that took another's place takes its draft too, and a thread whose root has been sent. There what is answered stays. */
export function handOn(from: string, to: string, same = false): void {
    const draft = drafts.value.get(from);
    if (!draft || drafts.value.has(to)) return;
    keepDraft(to, same ? draft : { ...draft, reply: undefined, edit: undefined });
    dropDraft(from);
}
