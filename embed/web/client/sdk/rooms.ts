// Rooms of the SDK as rows of the list, and what the open room's header, panel and rights need.

import { EventType } from "matrix-js-sdk/lib/@types/event.js";
import type { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import { EventTimeline } from "matrix-js-sdk/lib/models/event-timeline.js";
import { NotificationCountType, type Room } from "matrix-js-sdk/lib/models/room.js";
import type { RoomState } from "matrix-js-sdk/lib/models/room-state.js";
import { badge } from "./badge.ts";
import type { Engine } from "./engine.ts";
import { bodyIcon, bodyText, countsAsMessage } from "./messages.ts";
import { clean, localpart } from "./text.ts";
import type { Kind, Member, Membership, Person, Preview, Rights, RoomRow } from "./types.ts";

const state = (room: Room): RoomState | undefined => room.getLiveTimeline().getState(EventTimeline.FORWARDS);

function content<T = Record<string, unknown>>(room: Room, type: string, key = ""): Partial<T> {
    return (state(room)?.getStateEvents(type, key)?.getContent() ?? {});
}

/** user id → rooms, turned around: who a direct room is with. */
export function directs(engine: Engine): Map<string, string> {
    const found = new Map<string, string>();
    const direct = engine.client.getAccountData("m.direct" as never)?.getContent();
    for (const [user, rooms] of Object.entries(direct ?? {})) {
        if (Array.isArray(rooms)) for (const id of rooms) if (typeof id === "string") found.set(id, user);
    }
    return found;
}

export function personOf(room: Room | null, userId: string): Person {
    const member = room?.getMember(userId);
    return {
        id: userId,
        name: nameOf(member?.rawDisplayName, userId),
        avatar: member?.getMxcAvatarUrl() ?? undefined,
    };
}

/** Who has no name is called by the first part of the id. */
const nameOf = (name: string | undefined, userId: string): string => (name && name !== userId && clean(name, 80)) || localpart(userId);

function lastMessage(room: Room): MatrixEvent | undefined {
    const events = room.getLiveTimeline().getEvents();
    for (let at = events.length - 1; at >= 0; at--) {
        const event = events[at];
        if (event && countsAsMessage(event)) return event;
    }
    return undefined;
}

function preview(room: Room, engine: Engine, event: MatrixEvent | undefined, kind: Kind): Preview | undefined {
    if (!event) return undefined;
    const mine = event.getSender() === engine.userId;
    const sender = mine || kind === "dm" ? "" : personOf(room, event.getSender() ?? "").name.split(" ")[0] ?? "";
    const read = mine && kind === "dm" && room.getReceiptsForEvent(event).some(({ userId }) => userId !== engine.userId);
    return { text: bodyText(event), sender, mine, icon: bodyIcon(event), read };
}

/** Actions that tell nobody. */
export const silent = (actions: readonly unknown[]): boolean => actions.every((action) => action === "dont_notify");

/** Push rules: is the room silenced? */
function muted(engine: Engine, roomId: string): boolean {
    const rules = engine.client.pushRules?.global;
    return (
        rules?.override?.some((rule) => {
            const [condition, ...others] = (rule.conditions ?? []) as { kind: string; key?: string; pattern?: string }[];
            const here = others.length === 0 && condition?.key === "room_id" && condition.pattern === roomId;
            return here && rule.enabled && !rule.default && silent(rule.actions);
        }) ?? false
    );
}

const NAMED = 3;

/** Who else is in a room that was given neither name nor address; nobody in any other room. */
function companions(room: Room, engine: Engine): Person[] {
    if (content<{ name: string }>(room, "m.room.name").name || room.getCanonicalAlias()) return [];
    const others = (state(room)?.getMembers() ?? []).filter(({ userId, membership }) => userId !== engine.userId && (membership === "join" || membership === "invite"));
    return others.slice(0, NAMED).map(({ userId }) => personOf(room, userId));
}

/** A direct chat is called by its person, a room without a name by those in it, unless it was given a name. */
function roomName(room: Room, person: string | undefined, others: readonly Person[]): string {
    const given = clean(content<{ name: string }>(room, "m.room.name").name, 120);
    if (person && !given) return personOf(room, person).name;
    if (others.length > 1) {
        const more = room.getInvitedAndJoinedMemberCount() - 1 - others.length;
        return others.map(({ name }) => name.split(" ")[0]).join(", ") + (more > 0 ? ` +${more}` : "");
    }
    return clean(room.name, 120) || localpart(room.roomId);
}

export function roomRow(engine: Engine, room: Room, direct: Map<string, string>): RoomRow {
    const membership = room.getMyMembership() as Membership;
    const me = room.getMember(engine.userId);
    const invited = membership === "invite";
    const isDirectInvite = invited && me?.events.member?.getContent()["is_direct"] === true;
    const inviterId = invited ? me?.events.member?.getSender() : undefined;
    const person = direct.get(room.roomId) ?? (isDirectInvite ? inviterId : undefined);
    const kind: Kind = room.isSpaceRoom() ? "space" : person ? "dm" : "room";
    const last = lastMessage(room);
    const successor = content<{ replacement_room: string }>(room, "m.room.tombstone").replacement_room;
    const quiet = muted(engine, room.roomId);
    const events = room.getLiveTimeline().getEvents();
    const newest = events.at(-1);
    const mine = last?.getSender() === engine.userId;
    const read = !last || mine || (last.getId() !== undefined && room.hasUserReadEvent(engine.userId, last.getId() ?? ""));
    const markedUnread = room.getAccountData("m.marked_unread")?.getContent()["unread"] === true;
    const avatarMember = person ? room.getMember(person) : undefined;
    const tags = room.tags;
    const others = companions(room, engine);
    // A thread may be known by its count alone.
    const threads = Math.max(room.getThreads().filter((thread) => room.getThreadUnreadNotificationCount(thread.id) > 0).length, Number(room.hasThreadUnreadNotification()));
    return {
        id: room.roomId,
        name: roomName(room, person, others),
        alias: room.getCanonicalAlias() ?? undefined,
        topic: clean(content<{ topic: string }>(room, "m.room.topic").topic, 500),
        avatar: room.getMxcAvatarUrl() ?? avatarMember?.getMxcAvatarUrl() ?? undefined,
        kind,
        membership,
        preview: preview(room, engine, last, kind),
        time: last?.getTs() ?? (invited ? (me?.events.member?.getTs() ?? 0) : newest ? newest.getTs() : 0),
        badge: badge({
            membership,
            kind,
            notifications: room.getUnreadNotificationCount(NotificationCountType.Total),
            highlights: room.getUnreadNotificationCount(NotificationCountType.Highlight),
            muted: quiet,
            unread: !read,
            markedUnread,
            read: (mine || read) && threads === 0,
            upgraded: successor !== undefined && engine.client.getRoom(successor)?.getMyMembership() === "join",
        }),
        favourite: "m.favourite" in tags,
        low: "m.lowpriority" in tags,
        muted: quiet,
        encrypted: Boolean(state(room)?.getStateEvents(EventType.RoomEncryption, "")),
        members: room.getJoinedMemberCount(),
        person,
        typing: (state(room)?.getMembers() ?? [])
            .filter((member) => member.typing && member.userId !== engine.userId)
            .slice(0, 4)
            .map((member) => personOf(room, member.userId)),
        inviter: inviterId ? personOf(room, inviterId) : undefined,
        inviteReason: invited ? clean(me?.events.member?.getContent()["reason"], 300) || undefined : undefined,
        successor,
        children:
            kind === "space"
                ? (state(room)?.getStateEvents("m.space.child") ?? [])
                      .filter((event) => Array.isArray(event.getContent()["via"]))
                      .map((event) => event.getStateKey() ?? "")
                : [],
        faces: person || others.length < 2 ? [] : others.slice(0, 2),
        threads,
        joinRule: String(content<{ join_rule: string }>(room, "m.room.join_rules").join_rule ?? "invite"),
    };
}

export function rights(engine: Engine, room: Room): Rights {
    const now = state(room);
    const me = engine.userId;
    const joined = room.getMyMembership() === "join";
    const may = (type: string): boolean => joined && (now?.maySendStateEvent(type, me) ?? false);
    const levels = content<Record<string, number>>(room, "m.room.power_levels");
    const level = room.getMember(me)?.powerLevel ?? 0;
    const needs = (name: string, usual: number): boolean => joined && level >= (typeof levels[name] === "number" ? levels[name] : usual);
    const notify = (levels["notifications"] as unknown as { room?: number } | undefined)?.room ?? 50;
    return {
        send: joined && (now?.maySendEvent("m.room.message", me) ?? false) && !now?.getStateEvents("m.room.tombstone", ""),
        invite: needs("invite", 0),
        kick: needs("kick", 50),
        ban: needs("ban", 50),
        redact: needs("redact", 50),
        pin: may("m.room.pinned_events"),
        name: may("m.room.name"),
        topic: may("m.room.topic"),
        avatar: may("m.room.avatar"),
        rules: may("m.room.join_rules"),
        history: may("m.room.history_visibility"),
        power: may("m.room.power_levels"),
        alias: may("m.room.canonical_alias"),
        encrypt: may("m.room.encryption"),
        notifyRoom: joined && level >= notify,
        upgrade: may("m.room.tombstone"),
        level,
    };
}

/** Members by level, then by name. */
export function members(room: Room): Member[] {
    const creators = new Set<string>();
    const create = state(room)?.getStateEvents("m.room.create", "");
    const version = Number(create?.getContent()["room_version"] ?? 1);
    if (version >= 12 && create) {
        creators.add(create.getSender() ?? "");
        for (const id of (create.getContent()["additional_creators"] as string[] | undefined) ?? []) creators.add(id);
    }
    const wanted = new Set(["join", "invite", "knock", "ban"]);
    return (state(room)?.getMembers() ?? [])
        .filter((member) => wanted.has(member.membership ?? ""))
        .map((member) => ({
            ...personOf(room, member.userId),
            level: member.powerLevel,
            membership: member.membership as Membership,
            creator: creators.has(member.userId),
        }))
        .sort((a, b) => Number(b.creator) - Number(a.creator) || b.level - a.level || a.name.localeCompare(b.name));
}

export interface RoomSettings {
    name: string;
    topic: string;
    joinRule: string;
    history: string;
    version: string;
    alias: string;
    pinned: string[];
    levels: Record<string, unknown>;
}

export function roomSettings(room: Room): RoomSettings {
    return {
        name: String(content<{ name: string }>(room, "m.room.name").name ?? ""),
        topic: String(content<{ topic: string }>(room, "m.room.topic").topic ?? ""),
        joinRule: String(content<{ join_rule: string }>(room, "m.room.join_rules").join_rule ?? "invite"),
        history: String(content<{ history_visibility: string }>(room, "m.room.history_visibility").history_visibility ?? "shared"),
        version: room.getVersion(),
        alias: room.getCanonicalAlias() ?? "",
        pinned: pinned(room),
        levels: content(room, "m.room.power_levels"),
    };
}

export function pinned(room: Room): string[] {
    const list = content<{ pinned: unknown }>(room, "m.room.pinned_events").pinned;
    return Array.isArray(list) ? list.filter((id): id is string => typeof id === "string").slice(0, 100) : [];
}
