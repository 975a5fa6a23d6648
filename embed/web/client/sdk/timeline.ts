// A window over the history of one room or thread, as items; what is still on its way stands at the end.

import { EventType } from "matrix-js-sdk/lib/@types/event.js";
import { EventTimeline } from "matrix-js-sdk/lib/models/event-timeline.js";
import type { EventTimelineSet } from "matrix-js-sdk/lib/models/event-timeline-set.js";
import type { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import type { Room } from "matrix-js-sdk/lib/models/room.js";
import { ThreadEvent } from "matrix-js-sdk/lib/models/thread.js";
import { Method } from "matrix-js-sdk/lib/http-api/method.js";
import { TimelineWindow } from "matrix-js-sdk/lib/timeline-window.js";
import type { Engine } from "./engine.ts";
import { echo, overlaid } from "./echo.ts";
import type { Entry } from "./entry.ts";
import { contentBody, itemOf, messageOf } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { answered, concerns, ROOT_REFUSED, rootOf } from "./refers.ts";
import { personOf, pinned } from "./rooms.ts";
import type { Body, Item, Message, Quote } from "./types.ts";

const WINDOW = 200;
const PAGE = 50;
/** Pages that are fetched one after the other if nothing in them is shown. */
const EMPTY_PAGES = 6;

export class Timeline {
    #window: TimelineWindow | undefined;
    #set: EventTimelineSet | undefined;
    /** What was the newest part of the history when the window last reached it. */
    #live: EventTimeline | undefined;
    #kept = new Map<string, { text: string; item: Item }>();
    #busy = false;
    /** Events that came while the window did not follow. */
    fresh = 0;

    constructor(
        readonly engine: Engine,
        readonly outbox: Outbox,
        readonly roomId: string,
        readonly thread: string | undefined,
    ) {}

    /** It is a thread whose root has no id yet: all of it is in the outbox. */
    get #rootless(): boolean {
        return this.thread !== undefined && !this.thread.startsWith("$");
    }

    get #room(): Room | null {
        return this.engine.room(this.roomId);
    }

    /** Show the live end, or the surroundings of an event. Throws if the event cannot be had. */
    async open(eventId?: string): Promise<void> {
        const room = this.#room;
        if (!room || this.#rootless) return;
        const set = this.thread ? await threadSet(this.engine, room, this.thread) : room.getUnfilteredTimelineSet();
        const window = new TimelineWindow(this.engine.client, set, { windowLimit: WINDOW });
        await window.load(eventId, PAGE);
        this.#window = window;
        this.#set = set;
        this.#live = undefined;
        this.#reach();
        this.fresh = 0;
        if (!eventId) await this.#fill();
    }

    /** A first page may hold nothing that is shown. */
    async #fill(): Promise<void> {
        for (let page = 0; page < EMPTY_PAGES && this.items().length < 15 && this.canGo("b"); page++) {
            await this.#window?.paginate("b" as never, PAGE).catch(() => false);
        }
    }

    canGo(direction: "b" | "f"): boolean {
        return this.#window?.canPaginate(direction as never) ?? false;
    }

    /** Move the window on by a page. False if there was nothing more, or it did not work. */
    async more(direction: "b" | "f"): Promise<boolean> {
        const window = this.#window;
        if (!window || this.#busy || !this.canGo(direction)) return false;
        this.#busy = true;
        try {
            const before = this.items();
            let came = false;
            for (let page = 0; page < EMPTY_PAGES && this.canGo(direction); page++) {
                if (!(await window.paginate(direction as never, PAGE))) break;
                came = true;
                const after = this.items();
                if (direction === "b" ? after[0]?.key !== before[0]?.key : after.at(-1)?.key !== before.at(-1)?.key) break;
            }
            return came;
        } catch {
            return false;
        } finally {
            this.#busy = false;
        }
    }

    /** Take in what came live, if the reader is at the end. */
    follow(atBottom: boolean): void {
        const window = this.#window;
        if (!window) return;
        if (!atBottom) return;
        while (window.extend("f" as never, PAGE)) {
            // until the live end
        }
        this.#reach();
        this.fresh = 0;
    }

    get #end(): EventTimeline | undefined {
        return this.#window?.getTimelineIndex(EventTimeline.FORWARDS)?.timeline;
    }

    #reach(): void {
        if (this.#end === this.#set?.getLiveTimeline()) this.#live = this.#end;
    }

    /** Whether what came last lies behind a gap, past what was the live end until then and is the window's. */
    get cutOff(): boolean {
        const live = this.#set?.getLiveTimeline();
        return this.#live !== undefined && this.#live === this.#end && this.#live !== live && (live?.getEvents().length ?? 0) > 0;
    }

    get atEnd(): boolean {
        return !this.canGo("f");
    }

    /** The newest event in the window. */
    get lastEvent(): MatrixEvent | undefined {
        return this.#window?.getEvents().at(-1);
    }

    events(): MatrixEvent[] {
        return this.#window?.getEvents() ?? [];
    }

    has(event: string): boolean {
        return this.events().some((each) => each.getId() === event);
    }

    items(): Item[] {
        const room = this.#room;
        if (!room || !this.#window) return this.#pending([], room);
        const pins = new Set(pinned(room));
        const ignored = new Set(this.engine.client.getIgnoredUsers());
        const items: Item[] = [];
        const kept = new Map<string, { text: string; item: Item }>();
        for (const event of this.#window.getEvents()) {
            if (ignored.has(event.getSender() ?? "")) continue;
            const inThread = event.threadRootId !== undefined && !event.isThreadRoot;
            if (!this.thread && inThread) continue;
            const made = itemOf(this.engine, room, event, pins);
            if (!made) continue;
            if (this.thread && made.kind !== "message") continue;
            items.push(this.#same(made, kept));
        }
        this.#kept = kept;
        return this.#pending(items, room);
    }

    /** The item of before, if it says the same: then its row is not drawn again. */
    #same(item: Item, kept: Map<string, { text: string; item: Item }>): Item {
        const text = JSON.stringify(item);
        const before = this.#kept.get(item.key);
        const entry = before?.text === text ? before : { text, item };
        kept.set(item.key, entry);
        return entry.item;
    }

    #pending(items: Item[], room: Room | null): Item[] {
        const waiting = this.outbox.of(this.roomId);
        if (waiting.length === 0) return items;
        const keys = new Set(items.map((item) => item.key));
        let shown = items;
        for (const entry of waiting) {
            // What has no id yet is named by its transaction, which is its key.
            const of = concerns(entry.content) ?? (this.thread ? undefined : rootOf(entry.content));
            const root = this.#rootless && entry.txn === this.thread;
            if (of !== undefined) {
                shown = shown.map((item) => (item.kind === "message" && (item.id === of || item.key === of) ? overlaid(item, entry) : item));
            } else if (entry.type !== "m.reaction" && (entry.thread === this.thread || root || this.#wasRoot(entry.thread)) && !keys.has(entry.txn) && this.atEnd) {
                shown = [...shown, this.#echo(entry, room)];
            }
        }
        return shown;
    }

    /** The thread's root has just been given this id. */
    #wasRoot(id: string | undefined): boolean {
        return this.#rootless && id !== undefined && this.outbox.idOf(this.thread ?? "") === id;
    }

    /** What is answered, where it is known here. */
    #quote(entry: Entry, room: Room | null): Quote | undefined {
        const to = entry.quoted ? answered(entry.content) : undefined;
        const target = to === undefined ? null : room?.findEventById(to);
        const waiting = this.outbox.of(this.roomId).find(({ txn }) => txn === to);
        const found = target && room ? messageOf(this.engine, room, target, new Set()) : waiting && this.#echo(waiting, room);
        return found && { id: found.id || found.key, sender: found.sender.id, name: found.sender.name, text: found.body.type === "text" ? found.body.text.slice(0, 200) : "" };
    }

    /** What is sent, shown from this machine until the room has it. */
    #local(entry: Entry): Body {
        const body = contentBody(entry.type, entry.content);
        if (!entry.upload || !("media" in body) || (body.type !== "image" && body.type !== "video")) return body;
        entry.local ??= URL.createObjectURL(entry.upload.blob);
        return { ...body, media: { ...body.media, local: entry.local } };
    }

    #echo(entry: Entry, room: Room | null): Message {
        const error = this.outbox.stuck(entry) ? ROOT_REFUSED : entry.error;
        return { ...echo(entry, personOf(room, this.engine.userId)), body: this.#local(entry), quote: this.#quote(entry, room), error };
    }
}

async function threadSet(engine: Engine, room: Room, rootId: string): Promise<EventTimelineSet> {
    let root = room.findEventById(rootId);
    if (!root) {
        await engine.client.getEventTimeline(room.getUnfilteredTimelineSet(), rootId).catch(() => undefined);
        root = room.findEventById(rootId);
    }
    const thread = room.getThread(rootId) ?? room.createThread(rootId, root, [], true);
    if (!thread.initialEventsFetched) {
        await new Promise<void>((done) => {
            const finish = (): void => {
                clearTimeout(timer);
                thread.off(ThreadEvent.Update, check);
                done();
            };
            const check = (): void => {
                if (thread.initialEventsFetched) finish();
            };
            const timer = setTimeout(finish, 4_000);
            thread.on(ThreadEvent.Update, check);
            check();
        });
    }
    return thread.timelineSet;
}

/** Messages by their ids, fetched where need be: pinned ones. */
export async function messagesById(engine: Engine, roomId: string, ids: readonly string[]): Promise<Message[]> {
    const room = engine.room(roomId);
    if (!room) return [];
    const pins = new Set(pinned(room));
    const found = await Promise.all(
        ids.map(async (id) => {
            const known = room.findEventById(id);
            if (known) return known;
            const raw = await engine.client.fetchRoomEvent(roomId, id).catch(() => null);
            if (!raw) return null;
            const event = engine.client.getEventMapper()({ ...raw, room_id: roomId });
            if (event.getType() === (EventType.RoomMessageEncrypted as string)) await event.getDecryptionPromise();
            return event;
        }),
    );
    return found.flatMap((event) => (event ? [messageOf(engine, room, event, pins)] : []));
}

const FILES_PAGE = 100;
const MOST_PAGES = 5;

/** Messages with files, the newest first. In encrypted rooms the newest messages are opened to look for them. */
export async function filesOf(engine: Engine, roomId: string, from: string | undefined): Promise<{ found: Message[]; next: string | undefined }> {
    const room = engine.room(roomId);
    if (!room) return { found: [], next: undefined };
    const filter = room.hasEncryptionStateEvent() ? { types: [EventType.RoomMessageEncrypted, EventType.RoomMessage] } : { types: [EventType.RoomMessage], contains_url: true };
    const found: Message[] = [];
    let next = from;
    for (let page = 0; page < MOST_PAGES && found.length < 20; page++) {
        const query = { dir: "b", limit: FILES_PAGE, filter: JSON.stringify(filter), ...(next && { from: next }) };
        const { chunk, end } = await engine.client.http.authedRequest<{ chunk: object[]; end?: string }>(Method.Get, `/rooms/${encodeURIComponent(roomId)}/messages`, query);
        const events = chunk.map((raw) => engine.client.getEventMapper()(raw));
        for (const event of events) await event.getDecryptionPromise();
        for (const event of events) {
            const message = messageOf(engine, room, event, new Set());
            if ("media" in message.body && message.body.type !== "sticker") found.push(message);
        }
        next = end;
        if (!end) break;
    }
    return { found, next };
}
