// The open conversation: a window of its timeline, the read line, what is being answered or changed.

import { signal, type Signal } from "@preact/signals";
import { MAIN } from "../sdk/commands.ts";
import { rights, roomSettings, members, type RoomSettings } from "../sdk/rooms.ts";
import { Timeline } from "../sdk/timeline.ts";
import type { Item, Member, Message, Rights } from "../sdk/types.ts";
import { settings } from "./settings.ts";
import { app, rooms, the } from "./app.ts";
import { wayIn } from "./way.ts";

const KEPT = 5;
const RECEIPT_MS = 1_000;
const MEET_MS = 1_000;
const MOST_TO_MEET = 2_000;
/** So many pages are looked through for the first message that is unread: what follows the last read one may be one's own. */
const UNREAD_PAGES = 3;

export class RoomView {
    readonly timeline: Timeline;
    readonly items: Signal<readonly Item[]> = signal([]);
    readonly state: Signal<"loading" | "ready" | "gone"> = signal("loading");
    readonly atStart = signal(false);
    readonly atEnd = signal(true);
    readonly fresh = signal(0);
    /** The item before which "New messages" stands. */
    readonly line: Signal<string | undefined> = signal(undefined);
    /** The item to look at after opening. */
    readonly target: Signal<string | undefined> = signal(undefined);
    /** Kept while one is elsewhere: how far from the end one was. */
    place: { key: string; offset: number } | undefined;
    atBottom = true;
    /** When one went elsewhere; 0 while one is here. */
    #left = 0;
    /** Scroll to the live end; whoever shows the view knows how. */
    toEnd: () => Promise<void> = () => Promise.resolve();
    /** Items at which a page of history began, drawn as the first of a group. They stay so. */
    readonly apart = new Set<string>();
    #scheduled = false;
    #stops: (() => void)[] = [];
    #meeting: ReturnType<typeof setTimeout> | undefined;
    #receiptTimer: ReturnType<typeof setTimeout> | undefined;
    #receipt: string | undefined;
    #sent: string | undefined;
    /** What to open as soon as the room is there. */
    #awaited: (() => void) | undefined;

    constructor(
        readonly roomId: string,
        readonly thread: string | undefined,
    ) {
        const { engine, outbox } = the();
        this.timeline = new Timeline(engine, outbox, roomId, thread);
        const update = (room: string): void => {
            if (room === roomId) this.schedule();
        };
        const come = (rooms: ReadonlySet<string>): void => {
            if (this.#awaited && rooms.has(roomId) && engine.room(roomId)) this.#awaited();
        };
        // What was opened from what is kept on disk learns only now what else is unread.
        const answered = (): void => {
            if (!thread && this.#left === 0 && this.atBottom && this.state.value === "ready" && !this.line.value) void this.#drawLine();
        };
        this.#stops.push(engine.on("timeline", update), outbox.on("change", update), engine.on("rooms", come), engine.on("answered", answered));
    }

    /** There is something to show. */
    get begun(): boolean {
        return this.state.value !== "loading" || this.items.value.length > 0;
    }

    /** Come in: to the event, to the place where one was, to the first unread message, or to the end. */
    async enter(event?: string): Promise<void> {
        const way = wayIn(event, this.items.value.length > 0 && this.state.value === "ready", this.#left);
        const here = this.#left === 0;
        this.#left = 0;
        if (way === "around") return this.open(event);
        if (way === "afresh") return this.open(undefined, this.#unreadFrom());
        if (this.atBottom) this.schedule();
        return here ? undefined : this.#drawLine();
    }

    /** Fix the line. Who is at the end goes to it; where more is unread than is here, that is fetched. */
    async #drawLine(): Promise<void> {
        const mark = this.#unreadFrom();
        // Across a gap the window does not follow by itself here: that would go on to the end.
        if (!this.timeline.cutOff) this.refresh();
        this.line.value = this.#firstAfter(mark);
        if (!this.atBottom || !this.#unread) return;
        this.atBottom = !this.line.value;
        if (this.line.value) this.target.value = this.line.value;
        else await this.open(undefined, mark);
    }

    /** The line is for as long as one stays. */
    leave(): void {
        this.line.value = undefined;
        this.#left = Date.now();
    }

    /** Load the end, the surroundings of an event, or where what follows `mark` begins. */
    async open(event?: string, mark?: string): Promise<void> {
        this.state.value = "loading";
        // The list is shown before the SDK has the rooms that it names.
        this.#awaited = the().engine.room(this.roomId) ? undefined : () => void (event ? this.open(event) : this.enter());
        if (this.#awaited) return;
        try {
            await this.timeline.open(event);
            this.refresh();
            // What came meanwhile may lie behind a gap: then the end is there.
            for (let again = 0; !event && !this.atEnd.value && again < 3; again++) {
                await this.timeline.open();
                this.refresh();
            }
            if (mark) this.line.value = this.#firstAfter(mark);
            if (mark && !this.line.value && this.#unread && !this.timeline.has(mark)) await this.#openAt(mark);
            this.target.value = event ?? (mark && this.line.value);
            this.state.value = "ready";
            if (!this.thread) this.#meet();
        } catch {
            if (event) await this.open();
            else this.state.value = "gone";
        }
    }

    /** What is unread begins before what is in memory: look from the last read event on. */
    async #openAt(mark: string): Promise<void> {
        this.atBottom = false;
        try {
            await this.timeline.open(mark);
            this.refresh();
            for (let page = 0; page < UNREAD_PAGES && !(this.line.value = this.#firstAfter(mark)); page++) {
                if (!(await this.more("f"))) break;
            }
        } catch {
            // it is not for this user to see, or gone
        }
        if (this.line.value) return;
        this.atBottom = true;
        await this.timeline.open();
        this.refresh();
    }

    /** Ask who is here once the room stays open: the SDK tells of the typing of those only whom it knows. */
    #meet(): void {
        clearTimeout(this.#meeting);
        this.#meeting = setTimeout(() => {
            const room = the().engine.room(this.roomId);
            if (room && room.getJoinedMemberCount() <= MOST_TO_MEET) room.loadMembersIfNeeded().catch(() => false);
        }, MEET_MS);
    }

    /** The last event that is read. Another client may have sent a receipt only, and that is later then. */
    #unreadFrom(): string | undefined {
        const { engine } = the();
        const room = engine.room(this.roomId);
        if (this.thread) {
            // The SDK takes a thread for read that is older than the first receipt of any other.
            const thread = room?.getThread(this.thread);
            const events = thread?.events ?? [];
            const receipt = thread?.getReadReceiptForUserId(engine.userId)?.eventId;
            const whole = room?.getLastUnthreadedReceiptFor(engine.userId)?.ts ?? 0;
            const last = Math.max(events.findIndex((event) => event.getId() === receipt), events.findLastIndex((event) => event.getTs() <= whole));
            return events[last]?.getId() ?? this.thread;
        }
        const mark = room?.getAccountData("m.fully_read")?.getContent()["event_id"] as string | undefined;
        const receipt = room?.getEventReadUpTo(engine.userId) ?? undefined;
        return mark && (!receipt || room?.findEventById(mark) || !room?.findEventById(receipt)) ? mark : receipt;
    }

    get #unread(): boolean {
        if (this.thread) return (the().engine.room(this.roomId)?.getThreadUnreadNotificationCount(this.thread) ?? 0) > 0;
        const badge = rooms.value.get(this.roomId)?.badge;
        return badge !== undefined && (badge.count > 0 || badge.dot);
    }

    /** The key of the first item after the event that is not one's own; undefined if all is read or the event is out of sight. */
    #firstAfter(event: string | undefined): string | undefined {
        const events = this.timeline.events();
        const at = events.findIndex((each) => each.getId() === event);
        if (at < 0 || !this.#unread) return undefined;
        const later = new Set(events.slice(at + 1).map((each) => each.getId()));
        return this.items.value.find((item) => item.kind === "message" && !item.mine && later.has(item.id))?.key;
    }

    schedule(): void {
        if (this.#scheduled) return;
        this.#scheduled = true;
        const run = (): void => {
            this.#scheduled = false;
            if (app.value) this.refresh();
        };
        if (document.visibilityState === "hidden") setTimeout(run, 50);
        else requestAnimationFrame(run);
    }

    refresh(): void {
        const before = this.items.value;
        const wasEnd = this.timeline.atEnd;
        this.timeline.follow(this.atBottom);
        // Who waits at the end sees what is new. What lies between comes from above, with the history.
        if (this.atBottom && this.state.value === "ready" && this.timeline.cutOff) void this.open();
        const items = this.timeline.items();
        this.atStart.value = !this.timeline.canGo("b");
        this.atEnd.value = this.timeline.atEnd;
        if (items.length !== before.length || items.some((item, at) => item !== before[at])) this.items.value = items;
        if (this.atBottom) this.fresh.value = 0;
        else if (!wasEnd || !this.timeline.atEnd) this.fresh.value = this.#behind();
    }

    /** How many messages of others are past the window. */
    #behind(): number {
        const live = the().engine.room(this.roomId)?.getLiveTimeline().getEvents() ?? [];
        const last = this.timeline.lastEvent?.getId();
        const at = live.findIndex((event) => event.getId() === last);
        return at < 0 ? 0 : live.slice(at + 1).filter((event) => event.getType() === "m.room.message" || event.getType() === "m.room.encrypted").length;
    }

    /** Whether there came more. False too while a page is on its way already. */
    async more(direction: "b" | "f"): Promise<boolean> {
        const came = await this.timeline.more(direction);
        this.refresh();
        return came;
    }

    /** Everything up to this item has been on screen. */
    seen(item: Item): void {
        const events = this.timeline.events();
        const at = events.findIndex((event) => event.getId() === item.id);
        const known = events.findIndex((event) => event.getId() === (this.#receipt ?? this.#sent));
        if (at < 0 || at <= known) return;
        // What is not shown after it (reactions, edits) counts as seen with it.
        let last = at;
        const shown = new Set(this.items.value.map((each) => each.id));
        while (last + 1 < events.length && !shown.has(events[last + 1]?.getId() ?? "")) last++;
        this.#receipt = events[last]?.getId();
        this.#receiptTimer ??= setTimeout(() => this.#send(), this.#sent ? RECEIPT_MS : 0);
    }

    #send(): void {
        this.#receiptTimer = undefined;
        const event = this.#receipt;
        if (!event || event === this.#sent || !event.startsWith("$")) return;
        const { engine, commands } = the();
        const room = engine.room(this.roomId);
        if (!this.thread && room?.getEventReadUpTo(engine.userId) === event && room.getRoomUnreadNotificationCount() === 0) {
            this.#sent = event;
            return;
        }
        this.#sent = event;
        this.#receipt = undefined;
        // While something waits in a thread, it is not read with what is beside it.
        const thread = this.thread ?? (room?.hasThreadUnreadNotification() ? MAIN : undefined);
        commands.markRead(this.roomId, event, thread, settings.value.receipts).catch(() => (this.#sent = undefined));
        if (room?.getAccountData("m.marked_unread")?.getContent()["unread"] === true) {
            void commands.markUnread(this.roomId, false).catch(() => undefined);
        }
    }

    /** Esc: all is read, the line goes away, and the end is shown. */
    async readAll(): Promise<void> {
        this.line.value = undefined;
        await this.toEnd();
        const last = this.items.value.at(-1);
        if (last) this.seen(last);
    }

    close(): void {
        for (const stop of this.#stops) stop();
        clearTimeout(this.#meeting);
        clearTimeout(this.#receiptTimer);
    }
}

/** What stands for a view where there is none: before the client runs, and before there is a room. */
export const noView = (items: readonly Item[] = []): Pick<RoomView, "items" | "state" | "target" | "line" | "atBottom" | "atEnd" | "open" | "enter" | "leave"> => ({
    items: signal(items), state: signal("loading"), target: signal(undefined), line: signal(undefined), atBottom: true, atEnd: signal(true),
    open: () => Promise.resolve(), enter: () => Promise.resolve(), leave: () => undefined,
});

const views = new Map<string, RoomView>();

/** The view of a room or thread; the last few are kept, with their place. */
export function viewOf(roomId: string, thread?: string): RoomView {
    const key = `${roomId} ${thread ?? ""}`;
    const view = views.get(key) ?? new RoomView(roomId, thread);
    views.delete(key);
    views.set(key, view);
    for (const [old, each] of views) {
        if (views.size <= KEPT) break;
        each.close();
        views.delete(old);
    }
    return view;
}

const KEPT_ITEMS = 30;
interface KeptRoom {
    room: string;
    items: readonly Item[];
    rights?: Rights | undefined;
}
/** The end of the room that was open when the page went: it is shown until the SDK has the room. */
export const keptRoom = signal<KeptRoom | undefined>(undefined);

/** What is to be kept of the open room: sent messages and what happened, as they stand at the end. */
export function endOf(room: string): KeptRoom | undefined {
    const view = views.get(`${room} `);
    if (!view?.atEnd.value) return undefined;
    const items = view.items.value.filter((item) => item.kind !== "message" || item.state === "sent").slice(-KEPT_ITEMS);
    return items.length > 0 ? { room, items, rights: rightsOf(room) } : undefined;
}

export function forgetViews(): void {
    for (const view of views.values()) view.close();
    views.clear();
}

// --- what the composer is doing, by draft key ---

export const replying = signal<Message | undefined>(undefined);
export const editing = signal<Message | undefined>(undefined);

// --- details, made when asked for ---

/** Until the SDK has the room, what they were when the page went; undefined where that is not known. */
export const rightsOf = (roomId: string): Rights | undefined => {
    const engine = app.value?.engine, room = engine?.room(roomId);
    if (engine && room) return rights(engine, room);
    return keptRoom.value?.room === roomId ? keptRoom.value.rights : undefined;
};
export const settingsOf = (roomId: string): RoomSettings | undefined => {
    const room = the().engine.room(roomId);
    return room ? roomSettings(room) : undefined;
};
export async function membersOf(roomId: string): Promise<Member[]> {
    const room = the().engine.room(roomId);
    if (!room) return [];
    await room.loadMembersIfNeeded().catch(() => false);
    return members(room);
}
