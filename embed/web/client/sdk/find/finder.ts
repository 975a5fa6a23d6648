// Feeds the index with what is decrypted here, and reads a room's history back for it when somebody asks for that.

// Of the SDK only types: its values would be taken out of the first script into one more for everybody.
import type { Method } from "matrix-js-sdk/lib/http-api/method.js";
import type { MatrixEvent, MatrixEventEvent } from "matrix-js-sdk/lib/models/event.js";
import type { Room, RoomEvent } from "matrix-js-sdk/lib/models/room.js";
import type { SyncState } from "matrix-js-sdk/lib/sync.js";
import type { Engine } from "../engine.ts";
import { type Disk, memoryDisk, openDisk } from "./disk.ts";
import { type Doc, type Found, Index, type Said } from "./index.ts";
import { patient } from "./patient.ts";

const PAGE = 100;
/** Pages that are read back when somebody asks, before they are asked again. */
const MOST_PAGES = 50;
/** Events that are taken in at once, and for how long they gather. */
const BATCH = 64;
const REST_MS = 300;
const REPLACE = "m.replace";
/** What old clients put before a reply. */
const QUOTED = /^(?:> .*\n|>\n)+\n?/;

export interface Progress {
    /** Messages that were read. */
    read: number;
    /** Those of them for which this device has no key. */
    locked: number;
}

/** Tells of `change` when there may be more or less to be found. */
export class Finder extends EventTarget {
    readonly engine: Engine;
    #index: Index;
    #waiting = new Set<MatrixEvent>();
    #timer: ReturnType<typeof setTimeout> | undefined;
    #working: Promise<void> | undefined;
    #stopped = false;

    private constructor(engine: Engine, index: Index) {
        super();
        this.engine = engine;
        this.#index = index;
    }

    /** Open the index under the device's key, go over what is held, and follow what comes. */
    static async open(engine: Engine, key: CryptoKey): Promise<Finder> {
        const disk: Disk = await openDisk().catch(memoryDisk);
        const finder = new Finder(engine, await Index.open(disk, key, `${engine.userId} ${engine.session.deviceId}`));
        finder.#listen();
        await finder.#lookOver();
        return finder;
    }

    // --- what comes ---

    #listen(): void {
        const { client } = this.engine;
        client.on("Event.decrypted" as MatrixEventEvent.Decrypted, (event) => this.#take(event));
        client.on("Room.timeline" as RoomEvent.Timeline, (event) => this.#take(event));
        client.on("Room.redaction" as RoomEvent.Redaction, (event) => this.#take(event));
        client.on("Room.myMembership" as RoomEvent.MyMembership, (room, membership) => {
            if (membership === "leave" || membership === "ban") this.#change(this.#index.leave(room.roomId));
        });
        client.on("Room.timelineReset" as RoomEvent.TimelineReset, (room) => {
            // There is a gap before what comes now: reading back begins at the end again.
            if (room && this.#index.rooms.includes(room.roomId)) this.#change(this.#index.setBack(room.roomId, undefined));
        });
        this.engine.on("ended", () => (this.#stopped = true));
    }

    /** What timelines hold already, and whether something is missing between it and what was read before. */
    async #lookOver(): Promise<void> {
        for (const room of this.engine.client.getRooms()) {
            if (!this.#covers(room)) continue;
            const held = room.getLiveTimeline().getEvents();
            const joined = await this.#index.knows(held.flatMap((event) => event.getId() ?? []));
            if (!joined && this.#index.back(room.roomId) !== undefined) await this.#index.setBack(room.roomId, undefined);
            const sets = [room.getUnfilteredTimelineSet(), ...room.getThreads().map(({ timelineSet }) => timelineSet)];
            for (const timeline of sets.flatMap((set) => set.getTimelines())) for (const event of timeline.getEvents()) this.#take(event);
        }
        const forget = (): void => {
            for (const id of this.#index.rooms) if (this.engine.room(id)?.getMyMembership() !== "join") this.#change(this.#index.leave(id));
        };
        if (this.engine.client.getSyncState() === ("SYNCING" as SyncState)) forget();
        else this.engine.on("answered", forget);
        await this.settled();
    }

    #covers = (room: Room | null): room is Room => room !== null && room.getMyMembership() === "join" && room.hasEncryptionStateEvent();

    #take(event: MatrixEvent): void {
        if (this.#stopped || !(event.isEncrypted() || event.isRedaction()) || !this.#covers(this.engine.room(event.getRoomId() ?? ""))) return;
        this.#waiting.add(event);
        this.#timer ??= setTimeout(() => void this.#work(), REST_MS);
    }

    /** Everything that has come is in the index. */
    async settled(): Promise<void> {
        while (this.#waiting.size > 0 || this.#working) await this.#work();
    }

    async #work(): Promise<void> {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#working ??= this.#batch()
            .catch(() => void (this.#stopped = true)) // signed out, or the disk is full: what is there is searched
            .finally(() => {
                this.#working = undefined;
                if (this.#stopped) this.#waiting.clear();
                else if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => void this.#work(), 0);
            });
        await this.#working;
        this.dispatchEvent(new Event("change"));
    }

    async #batch(): Promise<void> {
        const events = [...this.#waiting].slice(0, BATCH);
        for (const event of events) this.#waiting.delete(event);
        const gathered = new Map<string, Said[]>();
        const flush = async (): Promise<void> => {
            for (const [room, said] of gathered) await this.#index.put(room, said);
            gathered.clear();
        };
        for (const event of events) {
            const room = event.getRoomId() ?? "";
            const removed = event.isRedaction() ? target(event) : event.isRedacted() ? event.getId() : undefined;
            if (removed) {
                await flush();
                await this.#remove(room, removed);
                continue;
            }
            const said = await this.#said(event);
            if (said) gathered.set(room, [...(gathered.get(room) ?? []), said]);
        }
        await flush();
    }

    async #remove(room: string, id: string): Promise<void> {
        const of = await this.#index.remove(room, id);
        if (!of) return;
        // An edit was taken back: the message says what it said before.
        const raw = await this.engine.client.fetchRoomEvent(room, of).catch(() => undefined);
        if (!raw) return;
        const event = this.engine.client.getEventMapper()({ ...raw, room_id: room });
        const said = await this.#said(event);
        const edit = event.replacingEvent();
        const now = edit && !edit.isRedacted() ? await this.#said(edit) : undefined;
        if (said) await this.#index.put(room, [now && now.sender === said.sender ? { ...said, text: now.text } : said]);
    }

    /** What an event says, once it is decrypted; undefined if it is no message or cannot be read. */
    async #said(event: MatrixEvent): Promise<Said | undefined> {
        const id = event.getId();
        if (!id?.startsWith("$") || !event.isEncrypted()) return undefined;
        if (event.shouldAttemptDecryption() || event.isBeingDecrypted()) await this.engine.client.decryptEventIfNeeded(event);
        if (event.isDecryptionFailure() || event.getType() !== "m.room.message" || event.isRedacted()) return undefined;
        const content = event.getOriginalContent<Record<string, unknown>>();
        const edited = event.isRelation(REPLACE);
        const text = textOf(edited ? content["m.new_content"] : content);
        if (!text) return undefined;
        const of = edited ? event.relationEventId : undefined;
        return { id, room: event.getRoomId() ?? "", sender: event.getSender() ?? "", time: event.getTs(), text, ...(of && { of }) };
    }

    #change(done: Promise<unknown>): void {
        void done.then(() => this.dispatchEvent(new Event("change")), () => undefined);
    }

    // --- looking ---

    find = (term: string, rooms: readonly string[]): Promise<Found[]> => this.#index.find(term, rooms);
    counted = (rooms: readonly string[]): { count: number; since: number | undefined } => this.#index.counted(rooms);

    /** What was found, without the words of people who are ignored. */
    async read(found: readonly Found[]): Promise<Doc[]> {
        const ignored = new Set(this.engine.client.getIgnoredUsers());
        return (await this.#index.read(found)).filter(({ room, id, sender }) => !ignored.has(sender) && this.engine.room(room)?.findEventById(id)?.isRedacted() !== true);
    }

    // --- reading back ---

    /** Whether there may be older messages than those that were read. */
    canGo = (rooms: readonly string[]): boolean => !this.#index.full && rooms.some((room) => this.#index.back(room) !== null && this.#covers(this.engine.room(room)));

    /** Read older messages of these rooms, a page of each in turn, until it is stopped or has done its share. */
    async further(rooms: readonly string[], signal: AbortSignal, tell: (progress: Progress) => void): Promise<void> {
        const progress = { read: 0, locked: 0 };
        let pages = 0;
        while (pages < MOST_PAGES && this.canGo(rooms)) {
            for (const room of rooms) {
                if (signal.aborted || pages >= MOST_PAGES || !this.canGo([room])) continue;
                const { read, locked } = await this.#page(room, signal);
                pages++;
                tell(Object.assign(progress, { read: progress.read + read, locked: progress.locked + locked }));
            }
            if (signal.aborted) return;
        }
    }

    async #page(roomId: string, signal: AbortSignal): Promise<Progress> {
        const { client } = this.engine;
        const from = this.#index.back(roomId) ?? this.engine.room(roomId)?.getLiveTimeline().getPaginationToken("b" as never);
        const filter = JSON.stringify({ types: ["m.room.encrypted", "m.room.redaction"] });
        const query = { dir: "b", limit: PAGE, filter, ...(from && { from }) };
        const ask = (): Promise<{ chunk: object[]; end?: string }> => client.http.authedRequest("GET" as Method.Get, `/rooms/${encodeURIComponent(roomId)}/messages`, query, undefined, { abortSignal: signal });
        const { chunk, end } = await patient(ask);
        const events = chunk.map((raw) => client.getEventMapper({ decrypt: false })({ ...raw, room_id: roomId }));
        // Removals first, so that what they removed is not taken in.
        for (const event of events.sort((a, b) => Number(b.isRedaction()) - Number(a.isRedaction()))) {
            this.#take(event);
            const edit = event.replacingEvent();
            if (edit) this.#take(edit);
        }
        await this.settled();
        await this.#index.setBack(roomId, end ?? null);
        const messages = events.filter((event) => event.isEncrypted() && !event.isRelation(REPLACE));
        return { read: messages.length, locked: messages.filter((event) => event.isDecryptionFailure()).length };
    }
}

function target(event: MatrixEvent): string | undefined {
    const found = event.event.redacts ?? event.getContent<{ redacts?: unknown }>().redacts;
    return typeof found === "string" ? found : undefined;
}

/** What a message is found by: its words, and the name of its file. */
function textOf(content: unknown): string {
    const { body, filename } = (content ?? {}) as Record<string, unknown>;
    const words = typeof body === "string" ? body.replace(QUOTED, "") : "";
    return typeof filename === "string" && filename !== body ? `${words}\n${filename}`.trim() : words.trim();
}
