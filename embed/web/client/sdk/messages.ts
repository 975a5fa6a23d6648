// Events of the SDK as items of the timeline.

import type { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import type { Room } from "matrix-js-sdk/lib/models/room.js";
import type { Engine } from "./engine.ts";
import { personOf } from "./rooms.ts";
import { clean, unquoted } from "./text.ts";
import type { Body, EncryptedFile, Happening, Item, Media, Message, Person, Quote, Reaction, ThreadSummary } from "./types.ts";

type Content = Record<string, unknown>;

const LONGEST = 65_536;
const SHOWN = new Set(["m.room.message", "m.room.encrypted", "m.sticker"]);
/** Somebody asks somebody to confirm each other. */
const ASKED = "m.key.verification.request";
const text = (value: unknown): string => (typeof value === "string" ? value.slice(0, LONGEST) : "");
const number = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0);
const record = (value: unknown): Content => (typeof value === "object" && value !== null ? (value as Content) : {});

/** Whether the event stands for a message: in the list, in counts, in order. */
export function countsAsMessage(event: MatrixEvent): boolean {
    if (!SHOWN.has(event.getType()) || event.isState() || event.isRedacted()) return false;
    return !event.isRelation("m.replace") && !event.isRelation("m.annotation");
}

/** The content after the last edit. */
function current(event: MatrixEvent): Content {
    const edit = event.replacingEvent();
    const fresh = edit && !edit.isRedacted() && edit.getSender() === event.getSender() ? (edit.getContent()["m.new_content"] as unknown) : undefined;
    return record(fresh ?? event.getContent());
}

/** One line that says what the event says. */
export function bodyText(event: MatrixEvent): string {
    if (event.isRedacted()) return "";
    if (event.isDecryptionFailure() || event.getType() === "m.room.encrypted") return "🔒";
    const content = current(event);
    if (content["msgtype"] === ASKED) return "";
    const body = clean(unquoted(text(content["body"])).replace(/\|\|[^|]+\|\|/g, "████"), 200);
    return body;
}

const ICONS: Record<string, string> = {
    [ASKED]: "shield-question",
    "m.image": "image", "m.video": "play", "m.audio": "volume-2", "m.file": "file", "m.location": "globe",
};
export const bodyIcon = (event: MatrixEvent): string | undefined => ICONS[text(current(event)["msgtype"])];

function media(content: Content): Media {
    const info = record(content["info"]);
    const audio = record(content["org.matrix.msc1767.audio"]);
    const wave = audio["waveform"];
    const file = (value: unknown): EncryptedFile | undefined =>
        typeof record(value)["url"] === "string" ? (value as EncryptedFile) : undefined;
    return {
        url: typeof content["url"] === "string" ? content["url"] : undefined,
        file: file(content["file"]),
        name: clean(content["filename"] ?? content["body"], 200) || "file",
        type: clean(info["mimetype"], 100) || "application/octet-stream",
        size: number(info["size"]),
        width: Math.min(number(info["w"]), 20_000),
        height: Math.min(number(info["h"]), 20_000),
        seconds: (number(info["duration"]) || number(audio["duration"])) / 1000,
        blurhash: [info["xyz.amorgan.blurhash"], info["blurhash"]].find((value): value is string => typeof value === "string"),
        thumbnail: typeof info["thumbnail_url"] === "string" ? info["thumbnail_url"] : undefined,
        thumbnailFile: file(info["thumbnail_file"]),
        wave: Array.isArray(wave) ? wave.slice(0, 256).map((value) => Math.min(1, number(value) / 1024)) : undefined,
    };
}

function html(content: Content): string | undefined {
    return content["format"] === "org.matrix.custom.html" && typeof content["formatted_body"] === "string"
        ? text(content["formatted_body"])
        : undefined;
}

const tried = new WeakMap<MatrixEvent, number>();

export function bodyOf(event: MatrixEvent): Body {
    if (event.isRedacted()) return { type: "gone" };
    if (event.isDecryptionFailure() || event.isBeingDecrypted() || event.getType() === "m.room.encrypted") {
        if (!tried.has(event)) tried.set(event, Date.now());
        return { type: "locked", reason: event.decryptionFailureReason ?? "", since: event.localTimestamp, tried: tried.get(event) ?? 0 };
    }
    return contentBody(event.getType(), current(event));
}

/** The body of a message with this content: of an event, or of what is about to be sent. */
export function contentBody(eventType: string, content: Content): Body {
    const type = text(content["msgtype"]);
    if (eventType === "m.sticker") return { type: "sticker", media: media(content), caption: "", html: undefined };
    if (type === "m.image" || type === "m.video" || type === "m.audio" || type === "m.file") {
        const found = media(content);
        const caption = typeof content["filename"] === "string" && content["filename"] !== content["body"] ? text(content["body"]) : "";
        const kind = type === "m.audio" && content["org.matrix.msc3245.voice"] ? "voice" : type.slice(2);
        return { type: kind as "image", media: found, caption, html: caption ? html(content) : undefined };
    }
    if (type === "m.location") return { type: "place", text: clean(content["body"], 300), uri: text(content["geo_uri"]) };
    const reply = record(record(content["m.relates_to"])["m.in_reply_to"])["event_id"] !== undefined;
    const body = text(content["body"]);
    if (type === "m.text" || type === "m.notice" || type === "m.emote" || body) {
        const style = type === "m.emote" ? "emote" : type === "m.notice" ? "notice" : "text";
        return { type: "text", text: reply ? unquoted(body) : body, html: html(content), style };
    }
    return { type: "other", text: clean(eventType, 100) };
}

function reactions(engine: Engine, room: Room, event: MatrixEvent): Reaction[] {
    const set = event.threadRootId && !event.isThreadRoot ? room.getThread(event.threadRootId)?.timelineSet : room.getUnfilteredTimelineSet();
    const relations = (set ?? room.getUnfilteredTimelineSet()).relations.getChildEventsForEvent(event.getId() ?? "", "m.annotation", "m.reaction");
    const sorted = relations?.getSortedAnnotationsByKey() ?? [];
    return sorted.slice(0, 24).flatMap(([key, events]) => {
        const alive = [...events].filter((each) => !each.isRedacted() && !each.status);
        if (alive.length === 0 || typeof key !== "string") return [];
        const senders = new Map(alive.map((each) => [each.getSender() ?? "", each]));
        return [{
            key: clean(key, 40),
            count: senders.size,
            mine: senders.get(engine.userId)?.getId(),
            who: [...senders.keys()].slice(0, 20).map((id) => personOf(room, id).name),
        }];
    });
}

function quote(room: Room, event: MatrixEvent): Quote | undefined {
    const id = event.replyEventId;
    if (!id || event.getRelation()?.is_falling_back === true) return undefined;
    const target = room.findEventById(id);
    if (!target) return { id, sender: "", name: "", text: "" };
    const sender = target.getSender() ?? "";
    return { id, sender, name: personOf(room, sender).name, text: bodyText(target) };
}

function thread(engine: Engine, room: Room, event: MatrixEvent): ThreadSummary | undefined {
    const found = room.getThread(event.getId() ?? "");
    const bundled = event.getServerAggregatedRelation<{ count: number; latest_event?: { origin_server_ts?: number } }>("m.thread");
    const count = found?.length || bundled?.count || 0;
    if (count === 0) return undefined;
    const senders = [...new Set((found?.events ?? []).map((each) => each.getSender() ?? ""))].filter((id) => id && id !== event.getSender());
    const unread = found !== null && found.replyToEvent?.getSender() !== engine.userId &&
        (room.getThreadUnreadNotificationCount(found.id) > 0);
    return {
        count,
        last: found?.replyToEvent?.getTs() ?? bundled?.latest_event?.origin_server_ts ?? 0,
        faces: senders.slice(-3).map((id) => personOf(room, id)),
        unread,
    };
}

function readersOf(engine: Engine, room: Room, event: MatrixEvent, source: { getReceiptsForEvent(event: MatrixEvent): { userId: string }[] }): Person[] {
    return source
        .getReceiptsForEvent(event)
        .filter(({ userId }) => userId !== engine.userId && userId !== event.getSender())
        .slice(0, 50)
        .map(({ userId }) => personOf(room, userId));
}

export function messageOf(engine: Engine, room: Room, event: MatrixEvent, pins: ReadonlySet<string>): Message {
    const id = event.getId() ?? "";
    const sender = event.getSender() ?? "";
    const transaction = (event.getUnsigned() as { transaction_id?: string }).transaction_id;
    const mentions = record(current(event)["m.mentions"]);
    const named = (mentions["user_ids"] as unknown[] | undefined)?.includes?.(engine.userId) === true || mentions["room"] === true;
    const inThread = event.threadRootId && !event.isThreadRoot ? room.getThread(event.threadRootId) : null;
    return {
        kind: "message",
        key: sender === engine.userId && transaction ? transaction : id,
        id,
        sender: personOf(room, sender),
        level: room.getMember(sender)?.powerLevel ?? 0,
        mine: sender === engine.userId,
        time: event.getTs(),
        body: bodyOf(event),
        edited: event.replacingEvent() !== null && !event.isRedacted(),
        quote: event.isRedacted() ? undefined : quote(room, event),
        reactions: event.isRedacted() ? [] : reactions(engine, room, event),
        thread: event.threadRootId && !event.isThreadRoot ? undefined : thread(engine, room, event),
        ...(mentions["room"] === true && { wakesRoom: true }),
        mentionsMe: named && sender !== engine.userId,
        pinned: pins.has(id),
        plainInEncrypted: room.hasEncryptionStateEvent() && !event.isEncrypted() && !event.isRedacted() && event.getType() === "m.room.message",
        state: "sent",
        error: undefined,
        readers: readersOf(engine, room, event, inThread ?? room),
    };
}

const list = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

function happening(room: Room, event: MatrixEvent, key: string, slots: Record<string, string>, readers: Person[]): Happening {
    const who = personOf(room, event.getSender() ?? "").name;
    return { kind: "happening", key: event.getId() ?? "", id: event.getId() ?? "", time: event.getTs(), text: key, slots: { who, ...slots }, readers };
}

/** What a state event says in one line; undefined for what nobody wants to read. */
function stateItem(engine: Engine, room: Room, event: MatrixEvent): Happening | undefined {
    const now: Content = event.getContent();
    const before: Content = event.getPrevContent();
    const line = (key: string, slots: Record<string, string> = {}): Happening =>
        happening(room, event, key, slots, readersOf(engine, room, event, room));
    switch (event.getType()) {
        case "m.room.member":
            return memberItem(event, now, before, room, line);
        case "m.room.create":
            return line("happened.created");
        case "m.room.name":
            return now["name"] ? line("happened.name", { name: clean(now["name"], 120) }) : line("happened.unnamed");
        case "m.room.topic":
            return line("happened.topic", { topic: clean(now["topic"], 200) });
        case "m.room.avatar":
            return line("happened.avatar");
        case "m.room.encryption":
            return line("happened.encrypted");
        case "m.room.pinned_events":
            return line(list(now["pinned"]) > list(before["pinned"]) ? "happened.pinned" : "happened.unpinned");
        case "m.room.tombstone":
            return line("happened.upgraded");
        case "m.room.join_rules":
            return before["join_rule"] ? line(`happened.rule.${["public", "invite", "knock", "restricted"].includes(text(now["join_rule"])) ? text(now["join_rule"]) : "other"}`) : undefined;
        case "m.room.power_levels":
            return Object.keys(before).length ? line("happened.power") : undefined;
        default:
            return undefined;
    }
}

function memberItem(event: MatrixEvent, now: Content, before: Content, room: Room, line: (key: string, slots?: Record<string, string>) => Happening): Happening | undefined {
    const target = event.getStateKey() ?? "";
    const self = target === event.getSender();
    const whom = clean(now["displayname"] ?? before["displayname"], 80) || personOf(room, target).name;
    const was = text(before["membership"]) || "leave";
    const slots = { whom, who: self ? whom : personOf(room, event.getSender() ?? "").name, reason: clean(now["reason"], 200) };
    switch (now["membership"]) {
        case "join":
            if (was === "join") {
                const named = clean(before["displayname"], 80), name = clean(now["displayname"], 80);
                return named !== name && name ? line("happened.renamed", { who: named || whom, name }) : undefined;
            }
            return line("happened.joined", slots);
        case "invite":
            return line("happened.invited", slots);
        case "knock":
            return line("happened.knocked", slots);
        case "ban":
            return line("happened.banned", slots);
        case "leave":
            if (self) return line(was === "invite" ? "happened.declined" : "happened.left", slots);
            return line(was === "ban" ? "happened.unbanned" : was === "invite" ? "happened.uninvited" : "happened.kicked", slots);
        default:
            return undefined;
    }
}

/** The event as an item; undefined for what is not shown (reactions, edits, redactions, calls, unknown state). */
export function itemOf(engine: Engine, room: Room, event: MatrixEvent, pins: ReadonlySet<string>): Item | undefined {
    if (event.isState()) return stateItem(engine, room, event);
    if (!SHOWN.has(event.getType()) || event.isRelation("m.replace") || event.isRelation("m.annotation")) return undefined;
    if (event.getContent()["msgtype"] === ASKED) return happening(room, event, "happened.check", {}, []);
    return messageOf(engine, room, event, pins);
}
