// The running client: matrix-js-sdk on our stream. What it knows, the other modules of this folder turn into plain data.

import { ClientEvent, MatrixClient } from "matrix-js-sdk/lib/client.js";
import { type Room, RoomEvent } from "matrix-js-sdk/lib/models/room.js";
import { RoomMemberEvent } from "matrix-js-sdk/lib/models/room-member.js";
import { RoomStateEvent } from "matrix-js-sdk/lib/models/room-state.js";
import { IndexedDBStore } from "matrix-js-sdk/lib/store/indexeddb.js";
import { MemoryStore } from "matrix-js-sdk/lib/store/memory.js";
import { SyncState } from "matrix-js-sdk/lib/sync.js";
import { type Status, StreamSync } from "../../core/ws.mjs";
import { Emitter } from "./emitter.ts";
import { forget, type Session, Tokens } from "./session.ts";

export { DecryptionError } from "matrix-js-sdk/lib/common-crypto/CryptoBackend.js";
export { StreamSync };

const INITIAL_EVENTS = 20;

export interface EngineEvents {
    /** Rows of these rooms may look different. */
    rooms: ReadonlySet<string>;
    /** Something in the timeline of this room changed: events, receipts, reactions, decryption. */
    timeline: string;
    typing: string;
    /** What came in this room meanwhile was more than the server tells at once: some of it was left out. */
    gap: string;
    members: string;
    status: Status;
    ready: undefined;
    /** The server has answered, so what the store lacked is there and what is not there is gone. */
    answered: undefined;
    account: string;
    ended: boolean;
    /** A live event, for sounds and announcements. */
    live: { roomId: string; eventId: string };
}

export class Engine extends Emitter<EngineEvents> {
    readonly client: MatrixClient;
    readonly tokens: Tokens;
    readonly stream: StreamSync;
    /** Other tabs follow this one: what was answered passes through here first. */
    tap: ((resource: RequestInfo | URL, response: Response) => Promise<Response>) | undefined;
    ready = false;
    /** The server has answered: what is not there now is gone. */
    answered = false;
    /** The key to the account's secrets, from when it is typed or made until the page goes. */
    secretKey: Uint8Array<ArrayBuffer> | undefined;
    #dirty = new Set<string>();
    #scheduled = false;

    private constructor(
        readonly session: Session,
        store: IndexedDBStore | MemoryStore,
        stream: StreamSync | undefined,
    ) {
        super();
        this.tokens = new Tokens(session, stream !== undefined);
        this.tokens.onended = (soft) => this.emit("ended", soft);
        this.stream = stream ?? new StreamSync({ fetch: (...request) => fetch(...request) });
        this.stream.onstatus = (status) => this.emit("status", status);
        this.client = new MatrixClient({
            baseUrl: location.origin,
            userId: session.userId,
            deviceId: session.deviceId,
            accessToken: session.access,
            fetchFn: this.tokens.wrap(async (resource, options) => {
                const response = await this.stream.fetch(resource, options);
                return this.tap ? this.tap(resource, response) : response;
            }),
            store,
            timelineSupport: true,
            useAuthorizationHeader: true,
            verificationMethods: ["m.sas.v1"],
            cryptoCallbacks: {
                getSecretStorageKey: ({ keys }) => {
                    const [id] = Object.keys(keys);
                    return Promise.resolve(id && this.secretKey ? [id, this.secretKey] : null);
                },
                cacheSecretStorageKey: (_, __, key) => void (this.secretKey = key),
            },
        });
        this.#listen();
    }

    /** Open the stores. A tab that follows another has its `stream` from there. */
    static async start(session: Session, stream?: StreamSync): Promise<Engine> {
        return new Engine(session, await openStore(session), stream);
    }

    /** Begin to sync; crypto, if any, has been set up before. */
    async run(): Promise<void> {
        await this.client.startClient({
            initialSyncLimit: INITIAL_EVENTS,
            lazyLoadMembers: true,
            threadSupport: true,
            includeArchivedRooms: false,
        });
    }

    get userId(): string {
        return this.session.userId;
    }

    room(id: string): Room | null {
        return this.client.getRoom(id);
    }

    /** Stop everything that runs; nothing is deleted. */
    async stop(): Promise<void> {
        this.client.stopClient();
        this.stream.dispose();
        await this.client.store.save(true).catch(() => undefined);
        await this.client.store.destroy().catch(() => undefined);
    }

    /** End the session on the server and forget what the SDK kept. */
    async logout(): Promise<void> {
        await this.client.logout(true).catch(() => undefined);
        await forget();
        await this.client.clearStores().catch(() => undefined);
        this.stream.dispose();
    }

    /** Tell of the room at the next frame, once. */
    touch(roomId: string | null | undefined): void {
        if (!roomId) return;
        this.#dirty.add(roomId);
        if (this.#scheduled) return;
        this.#scheduled = true;
        const tell = (): void => {
            this.#scheduled = false;
            const dirty = this.#dirty;
            this.#dirty = new Set();
            this.emit("rooms", dirty);
        };
        // A hidden page has no frames.
        if (document.visibilityState === "hidden") setTimeout(tell, 50);
        else requestAnimationFrame(tell);
    }

    #listen(): void {
        const { client } = this;
        client.on(ClientEvent.Sync, (state) => {
            if (state !== SyncState.Prepared && state !== SyncState.Syncing) return;
            if (!this.ready) {
                this.ready = true;
                for (const room of client.getRooms()) this.touch(room.roomId);
                this.emit("ready", undefined);
            }
            // The SDK is prepared from its store too, and that may be older than the list that is shown.
            if (this.answered || state !== SyncState.Syncing) return;
            this.answered = true;
            this.emit("answered", undefined);
            // What an earlier page sent may have come before the end that is known here.
            for (const room of client.getRooms()) this.emit("gap", room.roomId);
        });
        client.on(ClientEvent.Room, (room) => {
            room.on(RoomEvent.UnreadNotifications, () => this.touch(room.roomId));
            this.touch(room.roomId);
        });
        client.on(ClientEvent.DeleteRoom, (roomId) => this.touch(roomId));
        client.on(ClientEvent.AccountData, (event) => {
            this.emit("account", event.getType());
            if (event.getType() === "m.direct" || event.getType() === "m.push_rules" || event.getType() === "m.ignored_user_list") {
                for (const room of client.getRooms()) this.touch(room.roomId);
            }
        });
        client.on(RoomEvent.Timeline, (event, room, toStart, removed, data) => {
            if (!room) return;
            this.touch(room.roomId);
            this.emit("timeline", room.roomId);
            if (!toStart && !removed && data?.liveEvent && this.ready) {
                this.emit("live", { roomId: room.roomId, eventId: event.getId() ?? "" });
            }
        });
        const both = (room: Room | undefined): void => {
            if (!room) return;
            this.touch(room.roomId);
            this.emit("timeline", room.roomId);
        };
        client.on(RoomEvent.Receipt, (_, room) => both(room));
        client.on(RoomEvent.Redaction, (_, room) => both(room));
        client.on(RoomEvent.TimelineReset, (room) => {
            both(room);
            if (room) this.emit("gap", room.roomId);
        });
        for (const name of [RoomEvent.Name, RoomEvent.Tags, RoomEvent.MyMembership, RoomEvent.AccountData] as const) {
            client.on(name as RoomEvent.Name, (first: unknown, second?: unknown) => {
                const room = [first, second].find((value): value is Room => isRoom(value));
                this.touch(room?.roomId);
            });
        }
        client.on(RoomEvent.AccountData, (_, room) => this.touch(room.roomId));
        client.on(RoomEvent.Tags, (_, room) => this.touch(room.roomId));
        client.on(RoomStateEvent.Events, (event) => {
            this.touch(event.getRoomId());
            if (/^m\.room\.(member|power_levels)$/.test(event.getType())) this.emit("members", event.getRoomId() ?? "");
            this.emit("timeline", event.getRoomId() ?? "");
        });
        client.on(RoomMemberEvent.Typing, (_, member) => {
            this.touch(member.roomId);
            this.emit("typing", member.roomId);
        });
        // Edits and late keys change events that stand in the timeline already.
        client.on("Event.decrypted" as ClientEvent.Event, (event) => {
            this.touch(event.getRoomId());
            this.emit("timeline", event.getRoomId() ?? "");
        });
    }
}

const isRoom = (value: unknown): value is Room => typeof value === "object" && value !== null && "roomId" in value && "tags" in value;

async function openStore(session: Session): Promise<IndexedDBStore | MemoryStore> {
    try {
        const store = new IndexedDBStore({ indexedDB, dbName: `hromada-sync:${session.userId}`, localStorage });
        await store.startup();
        return store;
    } catch {
        return new MemoryStore();
    }
}
