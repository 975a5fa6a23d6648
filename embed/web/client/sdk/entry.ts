// What waits to be sent, as it lies on the disk. It takes no SDK to put something there.

import * as kv from "../../core/kv.ts";

export interface Upload {
    blob: Blob;
    name: string;
    /** 0 to 1 */
    progress: number;
}

export interface Entry {
    txn: string;
    room: string;
    thread: string | undefined;
    type: string;
    content: Record<string, unknown>;
    at: number;
    state: "waiting" | "uploading" | "sending" | "sent" | "failed";
    tries: number;
    error: string | undefined;
    eventId: string | undefined;
    upload: Upload | undefined;
    /** The content answers a message, which is shown above it. */
    quoted: boolean;
    /** The user has been asked about it and wants it sent, late as it is. */
    sure?: boolean | undefined;
    /** It may have arrived: a try has had no answer that says otherwise. */
    maybe?: boolean | undefined;
    /** It was taken back when it may have been on its way. Should it arrive, it is removed. */
    withdrawn?: boolean | undefined;
    /** It was written before the client ran: the tab that sends may not know of it. */
    early?: boolean | undefined;
    /** An object URL of the file, of this page. */
    local?: string | undefined;
}

export const REDACTION = "m.room.redaction";

/** A reaction or a removal: it stands at another message. */
export const isMark = ({ type }: Entry): boolean => type === "m.reaction" || type === REDACTION;

export interface Options {
    thread?: string | undefined;
    quoted?: boolean;
    upload?: Upload | undefined;
}

let count = 0;

/** Something to be sent after `others`. */
export function made(others: readonly Entry[], room: string, type: string, content: Record<string, unknown>, options: Options = {}): Entry {
    // No two of one moment, and none before the last one, should the clock be set back: that is their order on the disk.
    const last = Math.max(0, ...others.map(({ at }) => at));
    return {
        txn: `w${Date.now().toString(36)}.${(count++).toString(36)}.${crypto.randomUUID().slice(0, 8)}`,
        room, type, content,
        thread: options.thread,
        at: Math.max(Date.now(), last + 1),
        state: "waiting",
        tries: 0,
        error: undefined,
        eventId: undefined,
        upload: options.upload,
        quoted: options.quoted ?? false,
    };
}

const key = (owner: string, entry: Entry): string => `${owner} ${entry.txn}`;

/** What a user has on the disk, the oldest first. */
export async function kept(owner: string): Promise<Entry[]> {
    const all = await kv.all<Entry & { owner?: string }>("outbox");
    return all.map(([, entry]) => entry).filter((entry) => entry.owner === owner).sort((a, b) => a.at - b.at);
}

export const write = (owner: string, entry: Entry): Promise<void> => kv.put("outbox", key(owner, entry), { ...entry, local: undefined, owner });

export const forget = (owner: string, entry: Entry): Promise<void> => kv.remove("outbox", key(owner, entry));
