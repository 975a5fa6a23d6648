// The tab that has the socket, the keys and the outbox, seen from the others (ADR 0017). Loaded when a second tab asks.
//
// Of the SDK only types: its values would be taken out of the first script into one more for everybody.

import type { ClientEvent } from "matrix-js-sdk/lib/client.js";
import type { MatrixEvent, MatrixEventEvent } from "matrix-js-sdk/lib/models/event.js";
import type { Crypto } from "../crypto.ts";
import type { Engine } from "../engine.ts";
import type { Finder, Progress } from "../find/finder.ts";
import type { Outbox } from "../outbox.ts";
import { type Failure, syncOf, type Word } from "./words.ts";

const LOOK_MS = 150;
const STEADY_MS = 20;

export interface Led {
    engine: Engine;
    outbox: Outbox;
    machine: () => Crypto | undefined;
    finder: () => Promise<Finder>;
    signOut: () => Promise<void>;
}

export interface Leading {
    /** Another tab shows this room to somebody. */
    elsewhere: (room: string) => Promise<boolean>;
    /** The session ends: nobody holds the stores open any more, and at the end all go. */
    over: (word: "over" | "gone") => void;
    hear: (word: Word) => void;
}

export function failure(error: unknown): Failure {
    const { name, message } = error as Error;
    const more = Object.fromEntries(Object.entries(error as object).filter(([, value]) => typeof value !== "function" && (typeof value !== "object" || value === null || Object.getPrototypeOf(value) === Object.prototype)));
    return { name, message, more };
}

class Lead implements Leading {
    /** What came and is not yet all taken in: only then is it the followers'. */
    #held: { since: string; next: string; body: object } | undefined;
    #looks = new Map<string, () => void>();
    #stops = new Map<string, AbortController>();
    #telling: ReturnType<typeof setTimeout> | undefined;
    #finder: Promise<Finder> | undefined;

    constructor(
        readonly channel: BroadcastChannel,
        readonly led: Led,
        readonly build: string,
    ) {
        const { engine, outbox } = led;
        engine.tap = (resource, response) => this.#tap(resource, response);
        engine.client.on("sync" as ClientEvent.Sync, (_, __, data) => {
            const held = this.#held;
            if (!held || data?.nextSyncToken !== held.next) return;
            this.#held = undefined;
            this.say({ op: "sync", since: held.since, body: held.body });
        });
        engine.client.on("Event.decrypted" as MatrixEventEvent.Decrypted, (event) => {
            if (!event.isDecryptionFailure()) this.say({ op: "opened", room: event.getRoomId() ?? "", id: event.getId() ?? "" });
        });
        engine.on("status", (status) => this.say({ op: "status", status }));
        outbox.on("change", () => (this.#telling ??= setTimeout(() => this.#entries(), 50)));
        const machine = led.machine();
        for (const name of ["change", "check", "restore"] as const) machine?.on(name, (value) => this.say({ op: "told", part: "machine", name, value }));
    }

    say(word: Word): void {
        this.channel.postMessage(word);
    }

    #entries(): void {
        this.#telling = undefined;
        this.say({ op: "entries", entries: this.led.outbox.all.map((entry) => ({ ...entry, local: undefined })) });
    }

    /** Keep what the socket brought, but for what is for this device alone. */
    async #tap(resource: RequestInfo | URL, response: Response): Promise<Response> {
        const since = response.ok ? syncOf(resource)?.since : undefined;
        if (!since) return response;
        const body = (await response.clone().json()) as { next_batch: string };
        for (const name of ["to_device", "device_lists", "device_one_time_keys_count", "device_unused_fallback_key_types"]) Reflect.deleteProperty(body, name);
        if (body.next_batch !== since) this.#held = { since, next: body.next_batch, body };
        return response;
    }

    hear(word: Word): void {
        if (word.op === "hello") void this.#welcome(word.from, word.build);
        else if (word.op === "call") void this.#call(word);
        else if (word.op === "stop") this.#stops.get(`${word.from} ${word.id}`)?.abort();
        else if (word.op === "here") this.#looks.get(word.id)?.();
    }

    /** Everything on disk, at a place from which the follower hears what comes. */
    async #welcome(to: string, build: string): Promise<void> {
        if (build !== this.build) return this.say({ op: "other", to });
        const { client, ready } = this.led.engine;
        if (!ready) await new Promise<void>((done) => this.led.engine.on("ready", () => done()));
        for (;;) {
            const kept = await client.store.getSavedSyncToken();
            const taken = client.getSyncStateData()?.nextSyncToken;
            if (!kept || !taken || kept === taken) break;
            await new Promise((go) => setTimeout(go, STEADY_MS));
        }
        await client.store.save(true);
        this.say({ op: "welcome", to, status: this.led.engine.stream.status, crypto: this.led.machine() !== undefined });
        this.#entries();
    }

    async #call({ from: to, id, part, name, args }: Extract<Word, { op: "call" }>): Promise<void> {
        try {
            const value = await this.#run(part, name, args, `${to} ${id}`);
            this.say({ op: "done", to, id, value });
        } catch (error) {
            this.say({ op: "done", to, id, error: failure(error) });
        }
    }

    async #run(part: Extract<Word, { op: "call" }>["part"], name: string, args: unknown[], call: string): Promise<unknown> {
        const { engine, outbox } = this.led;
        if (part === "decrypt") return this.#decrypt(args[0] as object);
        if (part === "app") return this.led.signOut();
        if (part === "finder") return this.#find(name, args, call);
        const target = (part === "outbox" ? outbox : part === "machine" ? this.led.machine() : engine.client.getCrypto()) as Record<string, ((...args: unknown[]) => unknown) | undefined> | undefined;
        const value: unknown = await target?.[name]?.(...args);
        return part === "outbox" ? undefined : value;
    }

    #decrypt(raw: object): Promise<unknown> {
        const { client } = this.led.engine;
        const event: MatrixEvent = client.getEventMapper({ decrypt: false })(raw);
        return (client.getCrypto() as unknown as { decryptEvent(event: MatrixEvent): Promise<unknown> }).decryptEvent(event);
    }

    async #find(name: string, args: unknown[], call: string): Promise<unknown> {
        this.#finder ??= this.led.finder().then((finder) => {
            finder.addEventListener("change", () => this.say({ op: "told", part: "finder", name: "change", value: undefined }));
            return finder;
        });
        const finder = await this.#finder;
        const rooms = (name === "find" ? args[1] : args[0]) as readonly string[];
        const state = (): object => ({ counted: finder.counted(rooms), canGo: finder.canGo(rooms) });
        if (name === "read") return finder.read(args[0] as Parameters<Finder["read"]>[0]);
        if (name === "find") return { found: await finder.find(args[0] as string, rooms), ...state() };
        if (name !== "further") return state();
        const control = new AbortController();
        this.#stops.set(call, control);
        const [to = "", id] = call.split(" ");
        const tell = (value: Progress): void => this.say({ op: "going", to, id: Number(id), value: { ...value } });
        await finder.further(rooms, control.signal, tell).finally(() => this.#stops.delete(call));
        return state();
    }

    elsewhere = (room: string): Promise<boolean> =>
        new Promise((done) => {
            const id = crypto.randomUUID();
            const end = (seen: boolean): void => {
                this.#looks.delete(id);
                done(seen);
            };
            this.#looks.set(id, () => end(true));
            setTimeout(() => end(false), LOOK_MS);
            this.say({ op: "look", room, id });
        });

    over = (word: "over" | "gone"): void => this.say({ op: word });
}

export const lead = (channel: BroadcastChannel, led: Led, build: string): Leading => new Lead(channel, led, build);
