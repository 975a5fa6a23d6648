// The conversation: what was said, what is being sent, who types, what was read. No view; it tells when it has changed.

import { StreamSync, type Status } from "../core/ws.mjs";
import * as api from "./api.ts";
import { given } from "./given.ts";
import { fold, type Item, type RoomEvent } from "./timeline.ts";
import { Outbox } from "./outbox.ts";

const PAGE = 50;
const TYPING_MS = 20_000;
const FILTER = JSON.stringify({
    presence: { types: [] },
    account_data: { types: [] },
    room: { timeline: { limit: PAGE }, account_data: { types: [] }, ephemeral: { types: ["m.typing", "m.receipt"] } },
});

interface Update {
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

export type Phase = "loading" | "form" | "chat" | "blocked" | "gone";

export class Chat {
    phase: Phase = "loading";
    status: Status = "closed";
    events: RoomEvent[] = [];
    names = new Map<string, string>();
    typing: string[] = [];
    readTo: string | null = null;
    resolved = false;
    older: "more" | "loading" | "none" = "more";
    unread = 0;
    lastRead = "";
    failure = "";
    readonly outbox: Outbox;

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
    #typed = 0;
    #scheduled = false;
    onmessage: (item: RoomEvent, fresh: boolean) => void = () => undefined;

    constructor() {
        this.outbox = new Outbox(
            (entry) => api.call("PUT", `/rooms/${encodeURIComponent(this.#room)}/send/${entry.type}/${entry.txn}`, entry.content),
            () => this.changed(),
        );
    }

    get room(): string {
        return this.#room;
    }
    get me(): string {
        return api.current()?.user_id ?? "";
    }
    /** What is shown, from the oldest on. */
    get items(): Item[] {
        return fold(this.events, this.me, this.names);
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
        if (status === "streaming") this.outbox.kick();
        this.changed();
    }

    /** Take a session up: show its room and follow it. */
    enter(session: api.Session): void {
        if (session.room_id !== this.#room) {
            this.#stream.close();
            this.#running++;
            this.events = [];
            this.names = new Map();
            this.#since = this.#before = null;
            this.older = "more";
            this.readTo = null;
            this.resolved = false;
            this.unread = 0;
        }
        this.#room = session.room_id ?? "";
        this.#earlier = session.rooms.filter((room) => room !== this.#room);
        this.phase = this.#room ? "chat" : "form";
        this.outbox.ready = Boolean(this.#room);
        this.changed();
        if (this.#room) {
            this.outbox.kick();
            void this.#follow(++this.#running);
        }
    }

    /** Let go of everything: the session has ended. */
    leave(phase: Phase): void {
        this.#running++;
        this.#stream.close();
        this.outbox.clear();
        this.#room = "";
        this.#earlier = this.#rooms = [];
        this.events = [];
        this.unread = 0;
        this.phase = phase;
        this.changed();
    }

    async #follow(run: number): Promise<void> {
        for (let failures = 0; run === this.#running; ) {
            try {
                const query = new URLSearchParams({ timeout: "30000", filter: FILTER, ...(this.#since && { since: this.#since }) });
                const headers = { Authorization: `Bearer ${await api.token()}` };
                const response = await this.#stream.fetch(`/_matrix/client/v3/sync?${query.toString()}`, { headers });
                if (run !== this.#running) return;
                if (response.status === 401) {
                    await api.resume();
                    continue;
                }
                if (!response.ok) throw new Error(`sync ${response.status}`);
                this.#take((await response.json()) as Update);
                failures = 0;
            } catch (error) {
                if (run !== this.#running) return;
                if (error instanceof api.Refused && (error.status === 401 || error.status === 403)) {
                    this.leave(error.reason === "blocked" ? "blocked" : "form");
                    return;
                }
                this.#say("waiting");
                await new Promise((done) => setTimeout(done, Math.min(30_000, 500 * 2 ** failures++) * (0.5 + Math.random() / 2)));
            }
        }
    }

    #take(update: Update): void {
        const first = this.#since === null;
        const joined = update.rooms?.join?.[this.#room];
        if (joined) this.#add(joined, first);
        if (update.rooms?.leave?.[this.#room]) this.phase = "blocked";
        else if (joined && this.phase === "blocked") this.phase = "chat";
        this.#since = update.next_batch;
        this.changed();
    }

    #add(joined: Joined, first: boolean): void {
        for (const event of joined.state?.events ?? []) this.#state(event);
        const fresh = joined.timeline?.events ?? [];
        if (joined.timeline?.limited && !first) {
            // More was said than fits: what we have is older than the gap, and is read again from below.
            this.events = [];
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
            if (event.sender === this.me) this.outbox.echoed(event.unsigned?.transaction_id);
            else if (event.type === "m.room.message") this.#came(event, !first);
        }
        for (const { type, content } of joined.ephemeral?.events ?? []) {
            if (type === "m.typing") this.typing = (content.user_ids as string[]).filter((id) => id !== this.me);
            else if (type === "m.receipt") this.#receipts(content);
        }
    }

    #came(event: RoomEvent, fresh: boolean): void {
        this.typing = this.typing.filter((id) => id !== event.sender);
        if (event.content["m.relates_to"]?.rel_type === "m.replace") return;
        if (fresh) this.unread++;
        this.onmessage(event, fresh);
    }

    #state(event: RoomEvent): void {
        if (event.type === "m.room.member" && typeof event.state_key === "string") {
            const name = event.content.displayname;
            if (typeof name === "string" && name) this.names.set(event.state_key, name);
        } else if (event.type === "chat.hromada.support.ticket") {
            this.resolved = event.content.status === "resolved";
        }
    }

    #receipts(content: Record<string, unknown>): void {
        for (const [eventId, kinds] of Object.entries(content)) {
            const readers = Object.keys((kinds as Record<string, Record<string, unknown>>)["m.read"] ?? {});
            if (readers.some((id) => id !== this.me) && this.#index(eventId) >= this.#index(this.readTo)) this.readTo = eventId;
            if (readers.includes(this.me)) this.lastRead = eventId;
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
            for (const event of [...((page.state as RoomEvent[] | undefined) ?? []), ...events]) {
                if (event.type === "m.room.member" && event.state_key !== undefined && !this.names.has(event.state_key)) this.#state(event);
            }
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

    send(content: Record<string, unknown>, type = "m.room.message"): void {
        this.outbox.add(type, content);
        this.#typed = 0;
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
