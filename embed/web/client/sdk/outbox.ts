// What is to be sent, in order, until the room has it (webclient.md 5.5).
//
// The SDK's own queue stops behind one failed event and forgets on reload. Here one list per room is kept on disk, one
// entry is in flight, and every try has the same transaction id: the server makes the event exactly once.

import { ClientEvent } from "matrix-js-sdk/lib/client.js";
import { MatrixError } from "matrix-js-sdk/lib/http-api/errors.js";
import { Method } from "matrix-js-sdk/lib/http-api/method.js";
import { Emitter } from "./emitter.ts";
import type { Engine } from "./engine.ts";
import { type Entry, forget, isMark, kept, made, type Options, REDACTION, write } from "./entry.ts";
import { encryptingFailed, UNENCRYPTED, verdict } from "./failure.ts";
import { answered, concerns, outOfThread, rootOf, ROOTLESS, settled, unanswering, unsent } from "./refers.ts";

/** Older ones are asked about before they go. */
const STALE_MS = 24 * 3_600_000;
const STALE = "stale";
/** So long it is remembered that something was taken back. */
const WITHDRAWN_MS = 30 * STALE_MS;
/** So many files go up at a time. */
const UPLOADS = 3;
const ECHO_MS = 3_000; // what the server has taken comes back within this, unless it was left out

export type Encrypt = (roomId: string, type: string, content: Record<string, unknown>) => Promise<{ type: string; content: Record<string, unknown> }>;
/** Uploads the entry's file and puts its address into the content. */
export type SendFile = (entry: Entry, onprogress: () => void, signal: AbortSignal) => Promise<void>;

export class Outbox extends Emitter<{ change: string; failed: Entry }> {
    #entries: Entry[] = [];
    #running = new Set<string>();
    #timers = new Map<string, ReturnType<typeof setTimeout>>();
    #aborts = new Map<string, AbortController>();
    #uploads = new Map<string, Promise<void>>();
    /** Whose upload was begun before its turn: that is done once. */
    #begun = new Set<string>();
    /** The tab that sends, if it is not this one: what is to be done is told to it, and it answers (ADR 0017). */
    leader: ((name: "adopt" | "retry" | "cancel", what: Entry | string) => Promise<unknown>) | undefined;
    /** What it has not answered yet: this tab does it should that one go. */
    #asked = new Map<string, { name: "retry" | "cancel"; entry: Entry | undefined }>();
    /** The ids that messages of this page were given, by their transactions. */
    #ids = new Map<string, string>();
    /** What of it can be removed, and where. */
    #rooms = new Map<string, string>();
    /** What the leader has not told of yet. */
    #unheard = new Set<string>();
    /** Nothing goes out before what was left by an earlier page is there: that is older. */
    #loaded = false;
    #withdrawn = new Map<string, Entry>();
    #missed = new WeakSet<Entry>(); // those whose echo the server may have left out
    encrypt: Encrypt | undefined;
    sendFile: SendFile | undefined;

    readonly engine: Engine;

    constructor(engine: Engine) {
        super();
        this.engine = engine;
        engine.client.on(ClientEvent.Event, (event) => {
            const transaction = (event.getUnsigned() as { transaction_id?: string }).transaction_id;
            this.#arrived(transaction, event.getId());
            const asked = this.#asked.get(transaction ?? "")?.entry;
            if (asked) asked.eventId = event.getId();
            const entry = this.#entries.find(({ txn, eventId }) => txn === transaction || (eventId !== undefined && eventId === event.getId()));
            if (!entry) return;
            entry.eventId = event.getId();
            this.#end(entry);
        });
        engine.on("gap", (room) => this.of(room).forEach((entry) => (this.#missed.add(entry), this.#afterGap(entry))));
        engine.on("status", (status) => {
            if (status === "streaming" || status === "polling") this.hurry();
        });
        // What waits for its room goes out when that is there.
        engine.on("rooms", (rooms) => {
            for (const room of rooms) this.#run(room);
        });
        engine.on("answered", () => {
            for (const { room } of this.#entries) this.#run(room);
        });
        addEventListener("online", () => this.hurry());
    }

    /** What was left when the page was closed, or by the tab that sent until now. */
    async load(): Promise<void> {
        this.#loaded = false;
        for (const entry of await kept(this.engine.userId)) {
            delete entry.early;
            if (entry.withdrawn) {
                if (Date.now() - entry.at < WITHDRAWN_MS) this.#withdrawn.set(entry.txn, entry);
                else this.#forget(entry);
                continue;
            }
            // It may have arrived: the same id makes another try harmless.
            if (entry.state === "sent" || entry.state === "sending") Object.assign(entry, { tries: entry.tries + 1, maybe: true });
            if (entry.state !== "failed") entry.state = "waiting";
            const same = this.#entries.find(({ txn }) => txn === entry.txn);
            if (same) Object.assign(same, entry, { local: same.local });
            else this.#entries.push(entry);
        }
        this.#entries = this.#entries.sort((a, b) => a.at - b.at).filter((entry) => this.#settle(entry));
        this.#loaded = true;
        for (const [txn, { name, entry }] of this.#asked) {
            // That tab may have sent it.
            if (entry && !this.#find(txn)) this.#withdraw(entry);
            else this[name](txn);
        }
        this.#asked.clear();
        for (const room of new Set(this.#entries.map((entry) => entry.room))) this.#run(room);
    }

    of(room: string): readonly Entry[] {
        return this.#entries.filter((entry) => entry.room === room);
    }

    get all(): readonly Entry[] {
        return this.#entries;
    }

    /** A file is on its way. */
    get uploading(): boolean {
        return this.#entries.some((entry) => entry.state === "uploading");
    }

    get size(): number {
        return this.#entries.length;
    }

    /** Put something at the end of the room's list. What concerns a message without an id names its transaction, and waits for it. */
    add(room: string, type: string, content: Record<string, unknown>, options: Options = {}): Entry {
        const entry = made(this.#entries, room, type, content, options);
        if (!this.leader && this.#reworded(entry)) return entry;
        this.put(entry);
        return entry;
    }

    /** The same with what was made already. */
    put(entry: Entry): void {
        if (this.leader) {
            this.#unheard.add(entry.txn);
            this.#write(entry);
        }
        this.adopt(entry);
        this.#hand(entry);
    }

    /** From its answer on, what the tab that sends tells of is all there is. */
    #hand(entry: Entry): void {
        void this.leader?.("adopt", entry).then(() => this.#unheard.delete(entry.txn), () => undefined);
    }

    /** Take in what was made here, or in another tab. */
    adopt(entry: Entry): void {
        if (this.#entries.some(({ txn }) => txn === entry.txn)) return;
        if (!this.#settle(entry)) return;
        // What was refused while one still thought it was on its way is removed at once.
        const gone = entry.type === REDACTION && !this.leader ? this.#find(concerns(entry.content) ?? "") : undefined;
        if (gone?.state === "failed") {
            this.#forget(entry);
            return this.#take(gone);
        }
        // Another change takes the place of one that was refused.
        const changed = entry.content["m.new_content"] && concerns(entry.content);
        for (const each of this.#entries) if (changed && each.state === "failed" && isChange(each, changed)) this.#end(each);
        this.#entries.push(entry);
        this.#keep(entry);
        this.#run(entry.room);
    }

    /** What the tab that sends has of all this. */
    mirror(entries: readonly Entry[]): void {
        const before = this.#entries;
        this.#entries = entries.filter(({ txn }) => this.#asked.get(txn)?.name !== "cancel").map((entry) => {
            this.#unheard.delete(entry.txn);
            const same = before.find(({ txn }) => txn === entry.txn);
            if (!same) return entry;
            const upload = entry.upload && same.upload && { ...entry.upload, blob: same.upload.blob };
            return Object.assign(same, entry, { local: same.local, upload });
        });
        this.#entries.push(...before.filter(({ txn }) => this.#unheard.has(txn)));
        for (const room of new Set([...before, ...entries].map((entry) => entry.room))) this.emit("change", room);
    }

    /** What may not have reached the tab that sends. */
    again(): void {
        for (const entry of this.#entries) if (this.#unheard.has(entry.txn)) this.#hand(entry);
    }

    retry(txn: string): void {
        if (this.leader) return this.#ask("retry", txn, undefined);
        const entry = this.#entries.find((each) => each.txn === txn);
        if (!entry) return;
        Object.assign(entry, { state: "waiting", error: undefined, tries: 0, sure: entry.sure || entry.error === STALE });
        this.#keep(entry);
        this.#run(entry.room);
    }

    /** What failed for this reason goes out now, in its order. */
    resume(error: string): void {
        for (const entry of this.#entries.filter((each) => each.error === error)) this.retry(entry.txn);
    }

    /** Take an entry back. What may have gone out is removed once it arrives. */
    cancel(txn: string): Entry | undefined {
        const entry = this.#entries.find((each) => each.txn === txn);
        const [room, id] = [this.#rooms.get(txn), this.#ids.get(txn)];
        if (entry) this.#take(entry);
        else if (room && id && !this.leader) this.add(room, REDACTION, { redacts: id }); // it was seen before this was known
        if (this.leader) this.#ask("cancel", txn, entry);
        return entry;
    }

    #ask(name: "retry" | "cancel", txn: string, entry: Entry | undefined): void {
        const asked = { name, entry };
        this.#asked.set(txn, asked);
        void this.leader?.(name, txn).catch(() => undefined).finally(() => this.#asked.get(txn) === asked && this.#asked.delete(txn));
    }

    #take(entry: Entry): void {
        this.#end(entry);
        if (this.leader || !entry.maybe) return;
        this.#withdraw(entry);
    }

    #withdraw(taken: Entry): void {
        const entry = { ...taken, upload: undefined, withdrawn: true };
        this.#withdrawn.set(entry.txn, entry);
        this.#write(entry);
        this.#arrived(entry.txn, entry.eventId);
    }

    /** What was taken back is in the room all the same. */
    #arrived(txn: string | undefined, id: string | undefined): void {
        const entry = this.#withdrawn.get(txn ?? "");
        if (!entry || !id) return;
        this.#withdrawn.delete(entry.txn);
        this.#forget(entry);
        if (entry.type !== REDACTION) this.add(entry.room, REDACTION, { redacts: id });
    }

    /** The connection is back. */
    hurry(): void {
        for (const [room, timer] of this.#timers) {
            clearTimeout(timer);
            this.#timers.delete(room);
            this.#run(room);
        }
    }

    #find(txn: string): Entry | undefined {
        return this.#entries.find((entry) => entry.txn === txn);
    }

    /** The id of what was sent from this page. */
    idOf(txn: string): string | undefined {
        return this.#ids.get(txn);
    }

    /** It is an answer in a thread whose root was refused. */
    stuck({ content }: Entry): boolean {
        return this.#find(rootOf(content) ?? "")?.state === "failed";
    }

    /** Put ids where they are known by now. False if it goes with what was taken back. */
    #settle(entry: Entry): boolean {
        for (const txn of unsent(entry.content)) {
            const id = this.#ids.get(txn);
            if (id) settle(entry, txn, id);
            else if (this.#find(txn)) continue;
            else if (concerns(entry.content) === txn) return false;
            else if (!this.leader) part(entry, txn); // the tab that sends may know it
        }
        return true;
    }

    /** What it names has no id yet. An answer does not wait for what was refused. */
    #waits({ content }: Entry): boolean {
        return unsent(content).some((txn) => txn === concerns(content) || txn === rootOf(content) || this.#find(txn)?.state !== "failed");
    }

    /** A message that cannot have arrived is changed where it stands. */
    #reworded({ content }: Entry): boolean {
        const words = content["m.new_content"] as Record<string, unknown> | undefined;
        const entry = words && this.#find(concerns(content) ?? "");
        const { state, tries, error, maybe } = entry ?? {};
        if (!entry || maybe || !(state === "failed" ? error !== STALE : state === "waiting" && tries === 0)) return false;
        const relation = entry.content["m.relates_to"];
        const whom = entry.quoted && this.engine.room(entry.room)?.findEventById(answered(entry.content) ?? "")?.getSender();
        const told = words?.["m.mentions"] as { user_ids?: string[] } | undefined;
        if (whom) Object.assign(words ?? {}, { "m.mentions": { ...told, user_ids: [...new Set([...(told?.user_ids ?? []), whom])] } });
        entry.content = { ...words, ...(relation !== undefined && { "m.relates_to": relation }) };
        // Changes that were to follow it are older than this one.
        for (const each of this.#entries) if (isChange(each, entry.txn)) this.#end(each);
        this.retry(entry.txn);
        return true;
    }

    /** The event has an id: what waits for it can go out. Without one it was taken back. */
    #known({ txn, eventId, room, type }: Entry): void {
        if (eventId) this.#ids.set(txn, eventId);
        if (type !== REDACTION) this.#rooms.set(txn, room);
        for (const each of this.#entries.filter(({ content }) => unsent(content).includes(txn))) {
            if (!eventId && concerns(each.content) === txn) {
                this.#end(each);
                continue;
            }
            if (eventId) settle(each, txn, eventId);
            else part(each, txn);
            this.#keep(each);
        }
    }

    #end(entry: Entry): void {
        this.#known(entry);
        this.#aborts.get(entry.txn)?.abort();
        this.#aborts.delete(entry.txn);
        if (entry.local) setTimeout(() => URL.revokeObjectURL(entry.local ?? ""), 60_000);
        this.#entries = this.#entries.filter((each) => each !== entry);
        this.#forget(entry);
        this.emit("change", entry.room);
        this.#run(entry.room);
    }

    /** What came meanwhile was left out, perhaps its echo too: it does not stand at the end for ever. */
    #afterGap(entry: Entry): void {
        if (!this.leader && entry.state === "sent" && this.#missed.has(entry)) setTimeout(() => this.#entries.includes(entry) && this.#end(entry), ECHO_MS);
    }

    #forget(entry: Entry): void {
        void forget(this.engine.userId, entry);
    }

    #write(entry: Entry): void {
        void write(this.engine.userId, entry);
    }

    #keep(entry: Entry): void {
        // What the tab that sends knows is on the disk as it has it: here it may be older.
        if (!this.leader) this.#write(entry);
        this.emit("change", entry.room);
    }

    /** Files go up before it is their turn, some at a time; the messages keep their order. */
    #ahead(): void {
        for (const entry of this.#entries) {
            if (this.#uploads.size >= UPLOADS) return;
            if (!entry.upload || entry.state !== "waiting" || this.#begun.has(entry.txn) || !this.#there(entry.room)) continue;
            this.#begun.add(entry.txn);
            // What fails is tried again, and judged, when it is its turn.
            void this.#upload(entry).catch(() => this.#entries.includes(entry) && entry.state === "uploading" && Object.assign(entry, { state: "waiting" }));
        }
    }

    async #upload(entry: Entry): Promise<void> {
        while (!this.#uploads.has(entry.txn) && this.#uploads.size >= UPLOADS) await Promise.race(this.#uploads.values()).catch(() => undefined);
        const going = this.#uploads.get(entry.txn) ?? this.#begin(entry).finally(() => {
            this.#uploads.delete(entry.txn);
            this.#ahead();
        });
        this.#uploads.set(entry.txn, going);
        return going;
    }

    async #begin(entry: Entry): Promise<void> {
        if (!this.#entries.includes(entry)) return;
        entry.state = "uploading";
        this.#keep(entry);
        const abort = new AbortController();
        this.#aborts.set(entry.txn, abort);
        await this.sendFile?.(entry, () => this.emit("change", entry.room), abort.signal);
        entry.upload = undefined;
        if (this.#entries.includes(entry)) this.#keep(entry);
    }

    /** Before its room is in memory nothing says that it is encrypted: what went out then would go in the clear. */
    #there(room: string): boolean {
        return this.engine.answered || this.engine.room(room) !== null;
    }

    #run(room: string): void {
        if (this.leader || !this.#loaded || !this.#there(room)) return;
        this.#ahead();
        if (this.#running.has(room) || this.#timers.has(room)) return;
        const entry = this.#entries.find((each) => each.room === room && (each.state === "waiting" || each.state === "uploading") && !this.#waits(each));
        if (!entry) return;
        this.#running.add(room);
        void this.#send(entry)
            .then((wait) => {
                this.#running.delete(room);
                if (wait > 0) this.#timers.set(room, setTimeout(() => { this.#timers.delete(room); this.#run(room); }, wait));
                else this.#run(room);
            });
    }

    /** One try. The answer is how long to wait before the next one. */
    async #send(entry: Entry): Promise<number> {
        const { client } = this.engine;
        const before = entry.maybe;
        try {
            if (isStale(entry)) return this.#failed(entry, { errcode: STALE, httpStatus: 400 }, before);
            if (entry.upload) await this.#upload(entry);
            if (!this.#entries.includes(entry)) return 0;
            for (const txn of unsent(entry.content)) part(entry, txn); // it was refused
            entry.state = "sending";
            this.#keep(entry);
            const encrypted = client.getRoom(entry.room)?.hasEncryptionStateEvent() && entry.type !== "m.reaction" && entry.type !== REDACTION;
            const out = encrypted ? await this.#encrypted(entry) : entry;
            if (!this.#entries.includes(entry)) return 0;
            entry.maybe = true;
            const way = entry.type === REDACTION ? ["redact", String(entry.content["redacts"])] : ["send", out.type];
            const path = ["/rooms", ...[entry.room, ...way, entry.txn].map(encodeURIComponent)].join("/");
            const answer = await client.http.authedRequest<{ event_id: string }>(Method.Put, path, undefined, out.content);
            this.#arrived(entry.txn, answer.event_id);
            if (!this.#entries.includes(entry)) return 0; // its echo was faster, or it was taken back
            entry.state = "sent";
            entry.eventId = answer.event_id;
            this.#known(entry);
            if (client.getRoom(entry.room)?.findEventById(answer.event_id)) this.#end(entry);
            else this.#keep(entry);
            this.#afterGap(entry);
            return 0;
        } catch (error) {
            return this.#failed(entry, error, before);
        }
    }

    async #encrypted(entry: Entry): Promise<{ type: string; content: Record<string, unknown> }> {
        if (!this.encrypt) throw new MatrixError({ errcode: UNENCRYPTED, error: "locked" }, 400);
        return this.encrypt(entry.room, entry.type, entry.content).catch((error: unknown) => Promise.reject(encryptingFailed(error) as Error));
    }

    #failed(entry: Entry, error: unknown, before: boolean | undefined): number {
        if (!this.#entries.includes(entry)) return 0;
        entry.tries++;
        const next = verdict(error, entry.tries);
        if (!("failed" in next)) {
            entry.state = "waiting";
            this.#keep(entry);
            return next.wait;
        }
        Object.assign(entry, { state: "failed", error: next.failed, maybe: before });
        // Nobody wants it any more: it was to be removed, or there is a later change of the same message.
        const of = entry.content["m.new_content"] && concerns(entry.content);
        const later = this.#entries.slice(this.#entries.indexOf(entry) + 1);
        const unwanted = later.some((each) => (each.type === REDACTION ? concerns(each.content) === entry.txn : of && isChange(each, of)));
        if (unwanted) this.#take(entry);
        // What is shown nowhere could be neither tried again nor given up.
        else if (isMark(entry)) this.#end(entry);
        else this.#keep(entry);
        if (!unwanted) this.emit("failed", entry);
        return 0; // later entries go on after one that failed
    }
}

const isChange = ({ content }: Entry, of: unknown): boolean => content["m.new_content"] !== undefined && concerns(content) === of;
/** Messages that are old are asked about, and what is done to one is not. */
const isStale = (entry: Entry): boolean => !entry.sure && !isMark(entry) && Date.now() - entry.at > STALE_MS;

function settle(entry: Entry, txn: string, id: string): void {
    entry.content = settled(entry.content, txn, id);
    if (entry.thread === txn) entry.thread = id;
}

/** What it answers was taken back or refused: it goes without that. Of a thread without a root the user is asked. */
function part(entry: Entry, txn: string): void {
    if (rootOf(entry.content) === txn) Object.assign(entry, { content: outOfThread(entry.content), thread: undefined, state: "failed", error: ROOTLESS });
    if (unsent(entry.content).includes(txn)) Object.assign(entry, { content: unanswering(entry.content), quoted: false });
}
