// A tab that follows another one (ADR 0017). It is the whole client, with its own rooms and timelines; what comes by the
// socket, the keys, the outbox and the index of encrypted rooms are the leader's. When that is gone, this tab takes them.
//
// It is given what it works with: whatever it imported of the first script would be cut out of that for everybody.

import type { CryptoBackend } from "matrix-js-sdk/lib/common-crypto/CryptoBackend.js";
import type { Status, StreamSync } from "../../../core/ws.mjs";
import type { Crypto } from "../crypto.ts";
import type { DecryptionError, Engine } from "../engine.ts";
import type { Finder, Progress } from "../find/finder.ts";
import type { Outbox } from "../outbox.ts";
import type { Session } from "../session.ts";
import { type Failure, type Part, syncOf, type Word } from "./words.ts";

/** A leader that says nothing for so long cannot be followed. */
const HELLO_MS = 8_000;
/** It starts itself, or loads what it needs to be followed. */
const LOAD_MS = 60_000;
/** A sync with a timeout of 0 asks "is there anything?" */
const GRACE_MS = 500;
const OVER_MS = 10_000;

export interface Tools {
    session: Session;
    build: string;
    Engine: { start(session: Session, stream: StreamSync): Promise<Engine> };
    Stream: new () => StreamSync;
    Refusal: typeof DecryptionError;
    machine: (engine: Engine) => Promise<Crypto>;
    finder: (engine: Engine) => Promise<Finder>;
    /** Whether the reader has this room before him. */
    looks: (room: string) => boolean;
}

export interface Following {
    engine: Engine;
    /** Null if the server knows no encryption. */
    machine: Crypto | null;
    use: (outbox: Outbox) => void;
    finder: () => Promise<Finder>;
    signOut: () => Promise<void>;
    /** The leader is gone, and this tab has its lock: go on from here. */
    rise: (lead: () => Promise<unknown>) => Promise<void>;
}

interface Request {
    since: string;
    again: () => void;
    resolve: (response: Response) => void;
}

/** `/sync` as the leader hears it; everything else is fetched. */
class Feed implements StreamSync {
    stats = { sockets: 0, updates: 0, polls: 0 };
    onstatus: ((status: Status) => void) | undefined;
    status: Status = "connecting";
    real: StreamSync | undefined;
    #came = new Map<string, object>();
    #request: Request | undefined;

    fetch: typeof fetch = (resource, options = {}) => {
        if (this.real) return this.real.fetch(resource, options);
        const sync = syncOf(resource);
        if (!sync?.since) return fetch(resource, options);
        const { since, timeout } = sync;
        return new Promise((resolve, reject) => {
            const quiet = setTimeout(() => end(Response.json({ next_batch: since })), Math.max(timeout, GRACE_MS));
            const end = (response: Response | Promise<Response>): void => {
                clearTimeout(quiet);
                if (this.#request === request) this.#request = undefined;
                resolve(response);
            };
            const request = { since, resolve: end, again: () => end(this.fetch(resource, options)) };
            options.signal?.addEventListener("abort", () => {
                end(Response.error());
                reject(options.signal?.reason as Error);
            });
            this.#request = request;
            this.#serve();
        });
    };

    /** False if what came does not go on from where this tab is. */
    take(since: string, body: object): boolean {
        this.#came.set(since, body);
        this.#serve();
        return this.#request === undefined || this.#came.size === 0;
    }

    #serve(): void {
        const request = this.#request;
        const body = request && this.#came.get(request.since);
        if (!body) return;
        this.#came.delete(request.since);
        this.stats.updates++;
        request.resolve(Response.json(body));
    }

    say(status: Status): void {
        this.status = status;
        this.onstatus?.(status);
    }

    /** From here on a socket of its own. */
    rise(real: StreamSync): void {
        this.real = real;
        real.onstatus = (status) => this.say(status);
        this.#came.clear();
        this.#request?.again();
    }

    close(): void {
        this.real?.close();
    }

    dispose(): void {
        this.real?.dispose();
    }
}

type Call = (part: Part, name: string, args: unknown[], tell?: (value: unknown) => void, signal?: AbortSignal) => Promise<unknown>;

/** An object of the leader, until there is a real one here. */
function remote<T extends object>(part: Part, call: Call, real: () => T | undefined, always: Partial<T>, meanwhile: Partial<T> = {}): T {
    return new Proxy({} as T, {
        get: (_, name): unknown => {
            if (typeof name === "symbol" || name === "then") return undefined;
            const key = name as keyof T & string;
            if (key in always) return always[key];
            return (...args: unknown[]): unknown => {
                const target = real() ?? meanwhile;
                const method = target[key] as ((...args: unknown[]) => unknown) | undefined;
                return method || real() ? method?.apply(target, args) : call(part, key, args);
            };
        },
    });
}

class Told {
    #listeners = new Set<{ name: string; listener: (value: never) => void }>();
    on(name: string, listener: (value: never) => void): () => void {
        const entry = { name, listener };
        this.#listeners.add(entry);
        return () => this.#listeners.delete(entry);
    }
    tell(name: string, value: unknown): void {
        for (const entry of this.#listeners) if (entry.name === name) entry.listener(value as never);
    }
}

/** The index of encrypted rooms in the leader; what it says of rooms at once is what it said last. */
class FarFinder extends EventTarget {
    #counted: ReturnType<Finder["counted"]> = { count: 0, since: undefined };
    #goes = false;
    constructor(
        readonly call: Call,
        readonly real: () => Finder | undefined,
    ) {
        super();
    }
    #keep(state: unknown): void {
        const { counted, canGo } = state as { counted: ReturnType<Finder["counted"]>; canGo: boolean };
        [this.#counted, this.#goes] = [counted, canGo];
    }
    async find(term: string, rooms: readonly string[]): Promise<unknown> {
        if (this.real()) return this.real()?.find(term, rooms);
        const state = (await this.call("finder", "find", [term, rooms])) as { found: unknown };
        this.#keep(state);
        return state.found;
    }
    read = (found: Parameters<Finder["read"]>[0]): unknown => this.real()?.read(found) ?? this.call("finder", "read", [found]);
    counted = (rooms: readonly string[]): ReturnType<Finder["counted"]> => this.real()?.counted(rooms) ?? this.#counted;
    canGo = (rooms: readonly string[]): boolean => this.real()?.canGo(rooms) ?? this.#goes;
    async further(rooms: readonly string[], signal: AbortSignal, tell: (progress: Progress) => void): Promise<void> {
        const real = this.real();
        if (real) return real.further(rooms, signal, tell);
        this.#keep(await this.call("finder", "further", [rooms], (value) => tell(value as Progress), signal));
    }
}

class Follower implements Following {
    readonly id = crypto.randomUUID();
    readonly feed = new Feed();
    engine!: Engine;
    machine: Crypto | null = null;
    #told = new Told();
    #count = 0;
    #calls = new Map<number, { word: Word; done: (value: unknown) => void; fail: (error: Error) => void; tell: ((value: unknown) => void) | undefined }>();
    #outbox: Outbox | undefined;
    #real: Crypto | undefined;
    #far: FarFinder | undefined;
    #realFinder: Finder | undefined;
    #risen = false;
    #greeted = Promise.withResolvers<{ crypto: boolean } | undefined>();
    #patience: ReturnType<typeof setTimeout> | undefined;

    constructor(
        readonly channel: BroadcastChannel,
        readonly tools: Tools,
    ) {}

    say(word: Word): void {
        this.channel.postMessage(word);
    }

    /** False if the other tab cannot be followed: it is of another build, or says nothing. */
    async begin(): Promise<boolean> {
        this.channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
        this.#wait(HELLO_MS);
        this.say({ op: "hello", from: this.id, build: this.tools.build });
        const welcome = await this.#greeted.promise;
        clearTimeout(this.#patience);
        if (!welcome) return false;
        this.engine = await this.tools.Engine.start(this.tools.session, this.feed);
        const { client } = this.engine;
        if (!(await client.store.getSavedSyncToken())) return false;
        client.store.save = () => Promise.resolve(); // the disk is the leader's
        if (welcome.crypto) this.#far_keys();
        return true;
    }

    #wait(time: number): void {
        clearTimeout(this.#patience);
        this.#patience = setTimeout(() => this.#greeted.resolve(undefined), time);
    }

    /** Keys are asked for there. */
    #far_keys(): void {
        const { client } = this.engine;
        const inner = client as unknown as { cryptoBackend: CryptoBackend | undefined };
        const backend: CryptoBackend = remote<CryptoBackend>("backend", this.call, () => (inner.cryptoBackend === backend ? undefined : inner.cryptoBackend), {}, {
            processSyncChanges: () => Promise.resolve([]),
            onSyncCompleted: () => undefined,
            onCryptoEvent: () => Promise.resolve(),
            markAllTrackedUsersAsDirty: () => Promise.resolve(),
            stop: () => undefined,
            decryptEvent: async (event) => {
                try {
                    return (await this.call("decrypt", "", [event.event])) as Awaited<ReturnType<CryptoBackend["decryptEvent"]>>;
                } catch (error) {
                    const { code, name, message } = error as DecryptionError;
                    throw name === "DecryptionError" ? new this.tools.Refusal(code, message) : error;
                }
            },
        });
        inner.cryptoBackend = backend;
        this.machine = remote<Crypto>("machine", this.call, () => this.#real, { on: ((name: string, listener: never) => this.#told.on(name, listener)) });
        this.#told.on("change", () => {
            for (const room of client.getRooms()) for (const event of room.getLiveTimeline().getEvents()) this.#open(event);
        });
    }

    #open(event: { isDecryptionFailure(): boolean; attemptDecryption(crypto: CryptoBackend, options: object): Promise<void> } | undefined): void {
        if (event?.isDecryptionFailure()) void event.attemptDecryption(this.engine.client.getCrypto() as CryptoBackend, { isRetry: true }).catch(() => undefined);
    }

    call: Call = (part, name, args, tell, signal) =>
        new Promise((done, fail) => {
            const id = this.#count++;
            const word: Word = { op: "call", from: this.id, id, part, name, args };
            this.#calls.set(id, { word, done, fail, tell });
            signal?.addEventListener("abort", () => this.say({ op: "stop", from: this.id, id }));
            this.say(word);
        });

    #hear(word: Word): void {
        if ("to" in word && word.to !== this.id) return;
        switch (word.op) {
            case "soon":
                return this.#wait(LOAD_MS);
            case "other":
                return this.#greeted.resolve(undefined);
            case "welcome":
                this.feed.say(word.status);
                return this.#greeted.resolve(word);
            case "sync":
                // A tab that took the lead behind or before this one: from the start, then.
                if (!this.feed.take(word.since, word.body)) location.reload();
                return;
            case "status":
                return this.feed.say(word.status);
            case "opened":
                return this.#open(this.engine?.client.getRoom(word.room)?.findEventById(word.id));
            case "told":
                if (word.part === "machine") this.#told.tell(word.name, word.value);
                else this.#far?.dispatchEvent(new Event("change"));
                return;
            case "entries":
                this.#entries = word.entries;
                return this.#outbox?.mirror(word.entries);
            case "look":
                if (this.tools.looks(word.room)) this.say({ op: "here", id: word.id });
                return;
            case "lead":
                this.#outbox?.again();
                for (const { word: asked } of this.#calls.values()) this.say(asked);
                return;
            case "over":
                void this.engine.stop();
                setTimeout(leave, OVER_MS);
                return;
            case "gone":
                return leave();
            default:
                return this.#answer(word);
        }
    }
    #entries: Parameters<Outbox["mirror"]>[0] = [];

    #answer(word: Word): void {
        if (word.op === "going") this.#calls.get(word.id)?.tell?.(word.value);
        if (word.op !== "done") return;
        const call = this.#calls.get(word.id);
        this.#calls.delete(word.id);
        if (word.error) call?.fail(restored(word.error));
        else call?.done(word.value);
    }

    use = (outbox: Outbox): void => {
        this.#outbox = outbox;
        outbox.leader = (name, what) => this.call("outbox", name, [typeof what === "string" ? what : { ...what, local: undefined }]);
        outbox.mirror(this.#entries);
    };

    finder = (): Promise<Finder> => Promise.resolve((this.#far ??= new FarFinder(this.call, () => this.#realFinder)) as unknown as Finder);

    signOut = async (): Promise<void> => void (await this.call("app", "signOut", []));

    rise = async (lead: () => Promise<unknown>): Promise<void> => {
        if (this.#risen) return;
        this.#risen = true;
        const { client } = this.engine;
        Reflect.deleteProperty(client.store, "save");
        try {
            if (this.machine) await this.#keys();
        } catch (error) {
            // Nobody would answer for keys: the page begins anew, as the one that leads, and says what is wrong with them.
            console.error(error);
            return location.reload();
        }
        // Who asked the one that is gone is asked here.
        for (const { word, done, fail } of this.#calls.values()) {
            if (word.op === "call" && word.part === "decrypt") void (client.getCrypto() as CryptoBackend).decryptEvent(client.getEventMapper({ decrypt: false })(word.args[0] as object)).then(done, fail);
            else if (word.op === "call" && word.part !== "outbox") fail(Object.assign(new Error("the other tab was closed"), { errcode: "NETWORK" }));
        }
        this.#calls.clear();
        await lead();
        this.say({ op: "lead" });
        if (this.#outbox) {
            this.#outbox.leader = undefined;
            await this.#outbox.load();
        }
        if (this.#far) this.#realFinder = await this.tools.finder(this.engine).catch(() => undefined);
        this.feed.rise(new this.tools.Stream());
    };

    /** This tab's own machine, with what it is to know of the rooms. */
    async #keys(): Promise<void> {
        const { client } = this.engine;
        (client as unknown as { cryptoBackend: undefined }).cryptoBackend = undefined;
        this.#real = await this.tools.machine(this.engine);
        for (const name of ["change", "check", "restore"] as const) this.#real.on(name, (value) => this.#told.tell(name, value));
        const backend = client.getCrypto() as CryptoBackend & { onCryptoEvent(room: unknown, event: unknown): Promise<void> };
        for (const room of client.getRooms()) {
            const event = room.currentState.getStateEvents("m.room.encryption", "");
            if (event) await backend.onCryptoEvent(room, event);
        }
    }
}

function restored({ name, message, more }: Failure): Error {
    return Object.assign(new Error(message), more, { name });
}

function leave(): void {
    location.replace(`${location.pathname}#/login`);
    location.reload();
}

/** Follow the tab that has the lock; undefined if that cannot be. */
export async function follow(channel: BroadcastChannel, tools: Tools): Promise<Following | undefined> {
    const follower = new Follower(channel, tools);
    return (await follower.begin()) ? follower : undefined;
}
