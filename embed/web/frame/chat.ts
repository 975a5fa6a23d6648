// The conversation: what was said, what is being sent, who types, what was read. No view; it tells when it has changed.

import { StreamSync, type Status } from "../core/ws.mjs";
import * as api from "./api.ts";
import { given } from "./given.ts";
import { fold, plain, type Item, type RoomEvent } from "./timeline.ts";
import { Outbox, type Entry } from "./outbox.ts";
import { sealing } from "./files.ts";
import type { Device, DeviceUpdate } from "./crypto.ts";
import type * as Parcels from "./parcels.ts";
import { time, day, locale, t } from "./i18n/t.ts";

/** Where the composer keeps what is not sent yet. */
export const DRAFT = `draft:${given.site}`;
/** The site's own account, which reads nothing that is encrypted. */
const BOT = `@support-${given.site}:`;
const PAGE = 50;
const TYPING_MS = 20_000;
const MOST_PAGES = 100;
const FILTER = JSON.stringify({
    presence: { types: [] },
    account_data: { types: [] },
    room: { timeline: { limit: PAGE }, account_data: { types: [] }, ephemeral: { types: ["m.typing", "m.receipt"] } },
});

interface Update extends DeviceUpdate {
    next_batch: string;
    rooms?: {
        join?: Record<string, Joined>;
        leave?: Record<string, unknown>;
    };
}
interface Joined {
    timeline?: { events: RoomEvent[]; limited?: boolean; prev_batch?: string };
    state?: { events: RoomEvent[] };
    ephemeral?: { events: { type: string; content: Record<string, unknown> }[] };
}

const isMessage = ({ type, content }: RoomEvent): boolean =>
    (type === "m.room.message" || type === "m.room.encrypted") && content["m.relates_to"]?.rel_type !== "m.replace";

export type Phase = "loading" | "form" | "chat" | "blocked" | "gone" | "elsewhere";

export class Chat {
    phase: Phase = "loading";
    status: Status = "closed";
    events: RoomEvent[] = [];
    names = new Map<string, string>();
    typing: string[] = [];
    readTo: string | null = null;
    resolved = false;
    /** Since when: what was rated before that was another end. */
    resolvedAt = 0;
    older: "more" | "loading" | "none" = "more";
    /** What somebody else said last while we listened: it is read aloud. */
    news: RoomEvent | null = null;
    unread = 0;
    lastRead = "";
    failure = "";
    /** This browser had to become another device: it cannot read what was said before. */
    lostKeys = false;
    /** It is another browser of the visitor's that has the conversation, not another tab. */
    apart = false;
    /** This browser keeps nothing for us. */
    memory = false;
    #secret = "";
    readonly outbox: Outbox;
    /** Files have a queue of their own: a large one does not hold up what is written after it. */
    readonly parcels: Outbox;

    #listeners = new Set<() => void>();
    #stream = new StreamSync({ onstatus: (status) => this.#say(status) });
    #since: string | null = null;
    #before: string | null = null;
    #room = "";
    /** Rooms of earlier cases, newest first; those of them that are not read yet; the one that is. */
    #earlier: string[] = [];
    #rooms: string[] = [];
    #reading = "";
    #running = 0;
    /** Who may read an encrypted room: who is in it, and staff that may come. The device that encrypts. */
    #members = new Set<string>();
    #device: Promise<Device> | null = null;
    #typed = 0;
    #scheduled = false;
    onreturn: () => Promise<api.Session> = () => api.resume();
    onleave: () => void = () => undefined;
    onmessage: (item: RoomEvent, fresh: boolean) => void = () => undefined;

    constructor() {
        const [post, changed] = [(entry: Entry) => this.#post(entry), () => this.changed()];
        this.outbox = new Outbox("outbox", post, changed);
        this.parcels = new Outbox("parcels", post, changed, (txn) => void this.files().then((files) => files.drop(given.site, txn), () => undefined));
    }

    /** What the site gives its user: their browsers share their keys by it. It goes to no server. */
    set secret(secret: string) {
        this.#secret = secret;
        if (secret) void this.#device?.then((device) => device.share(secret)).catch(() => undefined);
    }
    get room(): string {
        return this.#room;
    }
    /** Whether what is said now is encrypted. */
    get encrypted(): boolean {
        return api.current()?.encrypted.includes(this.#room) ?? false;
    }
    get me(): string {
        return api.current()?.user_id ?? "";
    }
    /** What is shown, from the oldest on. */
    get items(): Item[] {
        return fold(this.events, this.me, this.names, BOT);
    }

    listen(listener: () => void): () => void {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    }
    changed(): void {
        if (this.#scheduled) return;
        this.#scheduled = true;
        queueMicrotask(() => {
            this.#scheduled = false;
            for (const listener of this.#listeners) listener();
        });
    }
    #say(status: Status): void {
        this.status = status;
        if (status === "streaming") this.#kick();
        this.changed();
    }
    #kick(): void {
        this.outbox.kick();
        this.parcels.kick();
    }
    /** Whether there is a room to send to. */
    #ready(ready: boolean): void {
        this.outbox.ready = this.parcels.ready = ready;
    }

    /** What sends files; it has to be here before the connection goes. */
    files(): Promise<typeof Parcels> {
        return import("./parcels.ts");
    }
    #tools(): Parcels.Tools {
        const post = async (address: string, options: RequestInit): Promise<Record<string, unknown>> => (await api.read(await api.authed(address, options))) as Record<string, unknown>;
        return { site: given.site, locale, plain, unnamed: t("file"), post, lost: () => new api.Refused(410, "", "", null, "", ""), sealing };
    }
    /** Send a file, now or when there is a connection. Why it is not taken; nothing if it is. */
    async attach(file: File): Promise<string> {
        const refused = await (await this.files()).take(this.parcels, file, this.#tools());
        this.changed();
        return refused;
    }

    /** Take a session up: show its room and follow it. */
    enter(session: api.Session): void {
        if (session.room_id !== this.#room || this.phase === "elsewhere") {
            this.#stream.close();
            this.#running++;
            this.events = [];
            this.names = new Map();
            this.#members = new Set();
            this.#lock();
            this.#since = this.#before = null;
            this.older = "more";
            this.readTo = null;
            this.lastRead = "";
            this.resolved = false;
            this.unread = 0;
        }
        this.#room = session.room_id ?? "";
        sealing.wanted = session.encrypted.includes(this.#room);
        this.#earlier = session.rooms.filter((room) => room !== this.#room);
        this.phase = this.#room ? "chat" : "form";
        this.#ready(Boolean(this.#room));
        this.changed();
        if (this.#room) {
            this.#kick();
            void this.#follow(++this.#running);
        }
    }

    /** Let go of everything: the session has ended. */
    leave(phase: Phase): void {
        this.#running++;
        this.#stream.close();
        this.outbox.clear();
        this.parcels.clear();
        try {
            localStorage.removeItem(DRAFT); // who comes next is somebody else
        } catch {
            // Then there is none.
        }
        this.onleave();
        this.#lock();
        sealing.wanted = this.lostKeys = this.apart = this.memory = false;
        void indexedDB.databases?.().then((known) => known.forEach(({ name }) => name?.startsWith(`hromada:${given.site}:`) && indexedDB.deleteDatabase(name)), () => undefined);
        this.#room = "";
        this.#earlier = this.#rooms = [];
        this.events = [];
        this.unread = 0;
        this.news = null;
        this.phase = phase;
        this.changed();
    }

    /** Staff has closed the conversation. What this browser has of it stays, since it may be opened again. */
    shut(): void {
        this.#running++;
        this.#stream.close();
        this.#ready(false);
        this.phase = "blocked";
        this.changed();
    }

    /** Another tab, or browser, has gone on: so does this one, if it is asked to. */
    here(): void {
        const session = api.current();
        if (session) this.enter(session);
    }

    /** Let go of the device. */
    #lock(): void {
        void this.#device?.then((device) => device.close(), () => undefined);
        this.#device = sealing.device = null;
    }

    /** The device of this session; made, with new keys, if there is none. */
    #unlock(): Promise<Device> {
        const open = async (): Promise<Device> => {
            const { Apart, Device, KeysLost } = await import("./crypto.ts");
            const lost = (apart = false): void => {
                this.apart = apart;
                this.#running++;
                this.#stream.close();
                this.#device = sealing.device = null;
                this.#ready(false);
                this.phase = "elsewhere";
                this.changed();
            };
            const move = this.apart;
            this.apart = false;
            const take = async (session: api.Session): Promise<Device> => {
                for (let secret = ""; ; ) {
                    try {
                        secret = this.#secret;
                        return await Device.open(api.current() ?? session, lost, move, secret);
                    } catch (error) {
                        if (!(error instanceof Apart)) throw error;
                        if (secret !== this.#secret) continue; // the page has said it meanwhile
                        lost(true);
                        throw error;
                    }
                }
            };
            const device = await take(api.current() ?? (await api.resume())).catch(async (error: unknown) => {
                if (!(error instanceof KeysLost)) throw error;
                const renewed = await api.renew();
                const made = await take(renewed);
                this.lostKeys = !made.restored;
                return made;
            });
            device.onkeys = () => void this.#readAgain(device);
            return (sealing.device = device);
        };
        if (!this.#device) {
            const opening = (this.#device = open());
            opening.catch(() => this.#device === opening && (this.#device = null));
        }
        return this.#device;
    }

    async #readAgain(device: Device): Promise<void> {
        const sealed = this.events.filter((event) => event.type === "m.room.encrypted");
        for (const event of sealed) await device.read(event, event.room_id ?? this.#room);
        if (sealed.some((event) => event.type !== "m.room.encrypted")) this.changed();
    }

    async #post(entry: Entry): Promise<unknown> {
        const { type, txn } = entry;
        if (this.resolved && type === "m.room.message") {
            // What was resolved long ago is not taken up again: the server says where it goes on.
            const session = await this.onreturn();
            if (session.room_id !== this.#room) this.enter(session);
        }
        if (entry.parcel) {
            if (this.encrypted) await this.#unlock();
            entry.content = await (await this.files()).deliver(entry, this.#tools());
            entry.parcel = false;
            if (!this.parcels.entries.includes(entry)) return null; // taken back meanwhile
        }
        const { content } = entry;
        const path = `/rooms/${encodeURIComponent(this.#room)}/send`;
        if (!this.encrypted || type !== "m.room.message") return api.call("PUT", `${path}/${type}/${txn}`, content);
        const device = await this.#unlock();
        const readers = [...(api.current()?.staff ?? []), ...this.#members].filter((id) => !id.startsWith(BOT));
        return api.call("PUT", `${path}/m.room.encrypted/${txn}`, await device.encrypt(this.#room, content, readers));
    }

    async #follow(run: number): Promise<void> {
        for (let failures = 0; run === this.#running; ) {
            try {
                const device = api.current()?.encrypted.length ? await this.#unlock() : null;
                if (run !== this.#running) return;
                const query = new URLSearchParams({ timeout: "30000", filter: FILTER, ...(this.#since && { since: this.#since }) });
                const headers = { Authorization: `Bearer ${await api.token()}` };
                const response = await this.#stream.fetch(`/_matrix/client/v3/sync?${query.toString()}`, { headers });
                if (run !== this.#running) return;
                if (response.status === 401) {
                    await api.resume();
                    continue;
                }
                if (!response.ok) throw new Error(`sync ${response.status}`);
                const update = (await response.json()) as Update;
                if (device) await this.#open(device, update);
                if (run !== this.#running) return;
                this.#take(update);
                failures = 0;
            } catch (error) {
                if (run !== this.#running) return;
                if (api.blocked(error)) return this.shut();
                if (error instanceof api.Refused && (error.status === 401 || error.status === 403)) return this.leave("form");
                this.#say("waiting");
                await new Promise((done) => setTimeout(done, Math.min(30_000, 500 * 2 ** failures++) * (0.5 + Math.random() / 2)));
            }
        }
    }

    /** Give the device what is for it, and read what came for the room. */
    async #open(device: Device, update: Update): Promise<void> {
        await device.take(update);
        const joined = update.rooms?.join?.[this.#room];
        for (const event of joined?.timeline?.events ?? []) await device.read(event, this.#room);
    }

    #take(update: Update): void {
        const first = this.#since === null;
        const joined = update.rooms?.join?.[this.#room];
        if (joined) this.#add(joined, first);
        if (update.rooms?.leave?.[this.#room]) return this.shut();
        this.#since = update.next_batch;
        this.changed();
    }

    #add(joined: Joined, first: boolean): void {
        for (const event of joined.state?.events ?? []) this.#state(event);
        const fresh = joined.timeline?.events ?? [];
        if (joined.timeline?.limited && !first) {
            // More was said than fits: what we have is older than the gap, and is read again from below.
            this.events = [];
            for (const box of [this.outbox, this.parcels]) box.passed();
        }
        if (first || joined.timeline?.limited) {
            this.#rooms = [...this.#earlier];
            this.#reading = this.#room;
            this.#before = joined.timeline?.prev_batch ?? null;
            this.older = "more";
            if (!joined.timeline?.limited) this.#readEarlier();
        }
        const known = new Set(this.events.map((event) => event.event_id));
        for (const event of fresh) {
            if (known.has(event.event_id)) continue;
            this.events.push(event);
            if (event.state_key !== undefined) this.#state(event);
            if (event.sender === this.me) {
                this.#echoed(event);
                if (isMessage(event)) this.onmessage(event, !first);
            } else this.#came(event, !first);
        }
        for (const { type, content } of joined.ephemeral?.events ?? []) {
            if (type === "m.typing") this.typing = (content.user_ids as string[]).filter((id) => id !== this.me);
            else if (type === "m.receipt") this.#receipts(content);
        }
        if (first || joined.timeline?.limited) this.#count();
    }

    #echoed({ unsigned }: RoomEvent): void {
        for (const box of [this.outbox, this.parcels]) box.echoed(unsigned?.transaction_id);
    }

    /** What came after the visitor's own receipt, or after what they said last. */
    #count(): void {
        const seen = this.events.findLastIndex((event) => event.sender === this.me || event.event_id === this.lastRead);
        this.unread = this.events.slice(seen + 1).filter(isMessage).length;
    }

    #came(event: RoomEvent, fresh: boolean): void {
        if (!isMessage(event)) return;
        this.typing = this.typing.filter((id) => id !== event.sender);
        if (fresh) {
            this.unread++;
            this.news = event;
        }
        this.onmessage(event, fresh);
    }

    #state(event: RoomEvent): void {
        if (event.type === "m.room.member" && typeof event.state_key === "string") {
            if (event.content.membership === "join" || event.content.membership === "invite") this.#members.add(event.state_key);
            else this.#members.delete(event.state_key);
            this.#named(event);
        } else if (event.type === "chat.hromada.support.ticket") {
            this.resolved = event.content.status === "resolved";
            this.resolvedAt = Number(event.content.resolved_ts) || 0;
        }
    }

    #named({ state_key: id, content: { displayname: name } }: RoomEvent): void {
        if (id !== undefined && plain(name)) this.names.set(id, plain(name).slice(0, 80));
    }

    #receipts(content: Record<string, unknown>): void {
        for (const [eventId, kinds] of Object.entries(content)) {
            const readers = Object.keys((kinds as Record<string, Record<string, unknown>>)["m.read"] ?? {});
            if (readers.some((id) => id !== this.me) && this.#index(eventId) >= this.#index(this.readTo)) this.readTo = eventId;
            if (readers.includes(this.me) && this.#index(eventId) >= this.#index(this.lastRead)) {
                // Read here, or in another tab.
                this.lastRead = eventId;
                this.#count();
            }
        }
    }
    #index = (eventId: string | null): number => this.events.findIndex((event) => event.event_id === eventId);

    /** Load what was said before; across the rooms of earlier cases, too. */
    async loadOlder(): Promise<void> {
        if (this.older !== "more" || !this.#since) return;
        this.older = "loading";
        this.changed();
        try {
            const query = new URLSearchParams({ dir: "b", limit: `${PAGE}`, ...(this.#before && { from: this.#before }) });
            const page = await api.call("GET", `/rooms/${encodeURIComponent(this.#reading)}/messages?${query.toString()}`);
            const events = (page.chunk as RoomEvent[]).reverse();
            if (api.current()?.encrypted.includes(this.#reading)) {
                const device = await this.#unlock();
                for (const event of events) await device.read(event, this.#reading);
            }
            for (const event of [...((page.state as RoomEvent[] | undefined) ?? []), ...events]) {
                if (event.type === "m.room.member" && event.state_key !== undefined && !this.names.has(event.state_key)) this.#named(event);
            }
            events.forEach((event) => this.#echoed(event));
            const known = new Set(this.events.map((event) => event.event_id));
            this.events = [...events.filter((event) => !known.has(event.event_id)), ...this.events];
            this.#before = (page.end as string | undefined) ?? null;
            this.older = "more";
            if (this.#before === null) this.#readEarlier();
        } catch {
            this.older = "more";
        }
        this.changed();
    }
    /** This room is read to its beginning: go on in the one of the case before. */
    #readEarlier(): void {
        const room = this.#rooms.shift();
        this.#before = null;
        if (room) this.#reading = room;
        else this.older = "none";
    }

    /** What was said, as text: of an encrypted conversation only this browser can make it. */
    async transcript(): Promise<string> {
        for (let pages = 0; this.older === "more" && pages < MOST_PAGES; pages++) await this.loadOlder();
        const rows = this.items.filter((item) => item.kind === "message" && item.body && !item.gone);
        return rows.map(({ event, body }) => `[${day(event.origin_server_ts)} ${time(event.origin_server_ts)}] ${this.nameOf(event.sender)}: ${body}\n`).join("");
    }

    send(content: Record<string, unknown>, type = "m.room.message"): void {
        this.outbox.add(type, content);
        this.type(false);
        this.changed();
    }

    /** Something is being written, or no more. */
    type(active: boolean): void {
        const now = Date.now();
        if (!this.#room || (active ? now - this.#typed < TYPING_MS / 3 : !this.#typed)) return;
        this.#typed = active ? now : 0;
        const body = active ? { typing: true, timeout: TYPING_MS } : { typing: false };
        void api.call("PUT", `/rooms/${encodeURIComponent(this.#room)}/typing/${encodeURIComponent(this.me)}`, body).catch(() => undefined);
    }

    /** The visitor has seen everything. */
    read(): void {
        const last = this.events.findLast((event) => event.sender !== this.me);
        this.unread = 0;
        if (!last || last.event_id === this.lastRead || !this.#room) return;
        this.lastRead = last.event_id;
        void api
            .call("POST", `/rooms/${encodeURIComponent(this.#room)}/receipt/m.read/${encodeURIComponent(last.event_id)}`, {})
            .catch(() => undefined);
    }

    nameOf(userId: string): string {
        return this.names.get(userId) ?? given.name;
    }
}
