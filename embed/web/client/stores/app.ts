// The client that runs, and what all views know of it.

import { batch, computed, signal } from "@preact/signals";
import * as kv from "../../core/kv.ts";
import type { Status } from "../../core/ws.mjs";
import { keepLocal, t, type Key } from "../i18n/t.ts";
import { go, route } from "../routes.ts";
import { Commands, type Found } from "../sdk/commands.ts";
import { Engine } from "../sdk/engine.ts";
import { isMark } from "../sdk/entry.ts";
import { Outbox } from "../sdk/outbox.ts";
import { directs, roomRow } from "../sdk/rooms.ts";
import { cookie } from "../sdk/media.ts";
import { type Session, webConfig } from "../sdk/session.ts";
import type { Following } from "../sdk/tabs/follow.ts";
import type { Leading } from "../sdk/tabs/lead.ts";
import type { Person, RoomRow } from "../sdk/types.ts";
import { others, take } from "./settings.ts";

export interface App {
    engine: Engine;
    outbox: Outbox;
    commands: Commands;
    /** What this tab is to the others, once there are others (ADR 0017). */
    leading?: Leading;
    following?: Following | undefined;
}

export const app = signal<App | undefined>(undefined);
export const rooms = signal<ReadonlyMap<string, RoomRow>>(new Map());
/** By which rule one comes into a room that one is not in: a room that is asked at is open to members of some others. */
export const ruleFor = ({ joinRule, allowed }: Found): string =>
    joinRule !== "knock_restricted" ? joinRule : allowed.some((id) => rooms.value.get(id)?.membership === "join") ? "restricted" : "knock";
/** The first sync has come: what is not in the list is not there. */
export const loaded = signal(false);
export const status = signal<Status>("connecting");
/** Since when the connection is away; undefined while it is there. */
export const awaySince = signal<number | undefined>(undefined);
export const me = signal<Person>({ id: "", name: "", avatar: undefined });
export const admin = signal(false);
/** The largest upload in bytes. */
export const largest = signal<number | undefined>(undefined);

let last: App | undefined;
/** The client that runs. While its session ends it is the one that ran: what is being drawn at that moment asks for it. */
export const the = (): App => {
    last = app.value ?? last;
    if (!last) throw new Error("nobody is signed in");
    return last;
};

/** The client, once it runs. */
export const running = async (): Promise<App> =>
    app.value ?? new Promise((done) => {
        const stop = app.subscribe((now) => {
            if (!now) return;
            stop();
            done(now);
        });
    });

// --- short messages ---

export interface Toast {
    id: number;
    text: string;
    action: { label: string; run: () => void } | undefined;
    /** What the server said, for whoever asks. */
    details: string | undefined;
}
export const toasts = signal<readonly Toast[]>([]);
let count = 0;

export function toast(text: string, action?: Toast["action"], details?: string): void {
    const id = count++;
    toasts.value = [...toasts.value.slice(-2), { id, text, action, details }];
    setTimeout(() => (toasts.value = toasts.value.filter((each) => each.id !== id)), action || details ? 15_000 : 5_000);
}

/** What the screen reader says; the same sentence twice is said twice. */
export const announced = signal({ text: "", urgent: false });
export const announce = (text: string, urgent = false): void => {
    announced.value = { text: announced.value.text === text ? `${text}\u00A0` : text, urgent };
};

/** Why a message stays where it is. */
export const notSent = (error: string | undefined): string => {
    const reasons: Record<string, Key> = { stale: "send.stale", NO_CRYPTO: "send.locked", CHANGED_IDENTITY: "send.changed", ROOTLESS: "send.adrift", M_FORBIDDEN: "send.forbidden", M_TOO_LARGE: "send.large", 413: "send.large" };
    return t(reasons[error ?? ""] ?? "send.refused");
};

/** Run a command; what failed is said, and undefined returned. */
export async function attempt<T>(run: () => Promise<T>, failed: Key = "error.failed"): Promise<T | undefined> {
    try {
        return await run();
    } catch (error) {
        const { errcode, status: code, message } = error as { errcode?: string; status?: number; message: string };
        const away = code === 0 || errcode === "NETWORK";
        const text = t(away ? "error.network" : failed);
        toast(text, undefined, away ? undefined : [errcode, message].filter(Boolean).join(": "));
        announce(text, true);
        return undefined;
    }
}

/** Load the page anew. Without the server there would be none: that is said instead. */
export const loadAgain = (): void => void attempt(async () => {
    await webConfig();
    location.reload();
});

// --- life ---

export async function startApp(session: Session, following?: Following): Promise<App> {
    const engine = following?.engine ?? (await Engine.start(session));
    const started: App = { engine, outbox: new Outbox(engine), commands: new Commands(engine), following };
    following?.use(started.outbox);
    batch(() => {
        app.value = started;
        if (me.value.id !== session.userId) me.value = { id: session.userId, name: session.userId.slice(1).split(":")[0] ?? "", avatar: undefined };
    });
    engine.on("rooms", (dirty) => refresh(started, dirty));
    early = true;
    engine.on("ready", () => {
        loaded.value = true;
    });
    engine.on("answered", () => {
        early = false;
        refresh(started, new Set(rooms.value.keys()));
    });
    engine.on("status", (now) => {
        status.value = now;
        if (now === "streaming" || now === "polling") awaySince.value = undefined;
        else awaySince.value ??= Date.now();
    });
    engine.on("members", () => void loadMe());
    shareSettings(started);
    // What the store kept is shown before the first answer of the server.
    refresh(started, new Set(engine.client.getRooms().map((room) => room.roomId)));
    if (rooms.value.size > 0) loaded.value = true;
    void engine.tokens.cookie().then((works) => (cookie.value = works));
    started.outbox.sendFile = async (...entry) => (await import("../sdk/files.ts")).sendEntryFile(engine, ...entry);
    void import("../sdk/upload.ts").then(({ uploadLimit }) => uploadLimit(engine)).then((most) => (largest.value = most));
    started.outbox.on("failed", (entry) => {
        announce(notSent(entry.error), true);
        if (isMark(entry)) toast(notSent(entry.error)); // it stands nowhere
    });
    void loadMe();
    void started.commands.isAdmin().then((is) => (admin.value = is));
    return started;
}

const SETTINGS = "chat.hromada.web";

/** What follows the user comes from their other devices and goes there. */
function shareSettings({ engine, commands }: App): void {
    const kept = (): Record<string, unknown> => engine.client.getAccountData(SETTINGS as never)?.getContent() ?? {};
    // Only what was chosen goes there: what is merely usual here may be chosen otherwise elsewhere.
    let chosen: Record<string, unknown> = {};
    let saving = 0;
    engine.on("account", (type) => {
        // While something is being saved the server has what was chosen before.
        if (type !== SETTINGS || saving > 0) return;
        chosen = {};
        take(kept());
    });
    others.tell = (name, value) => {
        saving++;
        chosen[name] = value;
        void attempt(() => commands.changeAccountData(SETTINGS, (now) => ({ ...now, ...chosen }))).finally(() => saving--);
    };
}

let asked = false;
async function loadMe(): Promise<void> {
    if (asked) return;
    asked = true;
    try {
        me.value = await the().commands.profile(the().engine.userId);
    } catch {
        // the id's first part stands in for the name
    }
    asked = false;
}

/** Until the server has answered, what was kept of the list may be newer than what the SDK kept. */
let early = true;

function refresh({ engine }: App, dirty: ReadonlySet<string>): void {
    const direct = directs(engine);
    const next = new Map(rooms.value);
    let changed = false;
    for (const id of dirty) {
        const room = engine.room(id);
        const membership = room?.getMyMembership();
        if (early && !room && next.has(id)) continue;
        if (!room || (membership !== "join" && membership !== "invite" && membership !== "knock" && !(route.value.page === "room" && route.value.room === id))) {
            changed = next.delete(id) || changed;
            continue;
        }
        const row = roomRow(engine, room, direct);
        const before = next.get(id);
        if (early && before && before.time > row.time) continue;
        if (before && JSON.stringify(before) === JSON.stringify(row)) continue;
        next.set(id, row);
        changed = true;
    }
    if (changed) rooms.value = next;
}

/** End the session here and on the server; nothing stays in this browser. */
export async function signOut(): Promise<void> {
    const { leading, following, engine } = app.value ?? {};
    if (following) return following.signOut();
    leading?.over("over");
    await engine?.logout();
    await kv.wipe();
    leading?.over("gone");
    keepLocal("hromada.settings", JSON.stringify({}));
    location.replace(`${location.pathname}#/login`);
    location.reload();
}

// --- derived ---

export const openRow = computed(() => (route.value.page === "room" ? rooms.value.get(route.value.room) : undefined));

/** The conversation with a person; where there is none yet, the page that begins one. */
export const writeTo = (user: string): void => openRoomById(the().commands.directWith(user) ?? user);

export function openRoomById(id: string, event?: string): void {
    go({ page: "room", room: id, event, via: [], panel: undefined });
}
