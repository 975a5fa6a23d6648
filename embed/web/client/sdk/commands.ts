// What the user can do, as requests. Each throws ApiError.

import { JoinRule } from "matrix-js-sdk/lib/@types/partials.js";
import { ClientPrefix } from "matrix-js-sdk/lib/http-api/prefix.js";
import { ApiError } from "./api.ts";
import type { Engine } from "./engine.ts";
import { orNothing } from "./failure.ts";
import { type Ask, loudness, type Loudness, setLoudness } from "./loudness.ts";
import { directs } from "./rooms.ts";
import { clean, localpart } from "./text.ts";
import type { Person } from "./types.ts";

type Json = Record<string, unknown>;
const enc = encodeURIComponent;
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export interface NewRoom {
    name: string;
    topic?: string;
    public?: boolean;
    alias?: string;
    encrypted?: boolean;
    space?: boolean;
    parent?: string | undefined;
    invite?: string[];
}

export interface Found {
    id: string;
    name: string;
    topic: string;
    alias: string | undefined;
    avatar: string | undefined;
    members: number;
    space: boolean;
    joinRule: string;
    /** Rooms whose members may join without being let in, as far as the server says. */
    allowed: readonly string[];
}

interface Chunk {
    room_id: string;
    name?: string;
    topic?: string;
    canonical_alias?: string;
    avatar_url?: string;
    num_joined_members?: number;
    room_type?: string;
    join_rule?: string;
    allowed_room_ids?: string[];
}

const foundOf = (room: Chunk): Found => ({
    id: room.room_id,
    name: room.name ?? room.canonical_alias ?? "",
    topic: room.topic ?? "",
    alias: room.canonical_alias,
    avatar: room.avatar_url,
    members: room.num_joined_members ?? 0,
    space: room.room_type === "m.space",
    joinRule: room.join_rule ?? "public",
    allowed: room.allowed_room_ids ?? [],
});

export interface LinkPreview {
    title: string;
    text: string;
    site: string;
    image: string | undefined;
}

/** What the SDK gives, with errors of ours. */
const told = <T>(asked: Promise<T>): Promise<T> =>
    asked.catch((error: unknown) => {
        const { httpStatus = 0, errcode = "NETWORK", message, data = {} } = error as { httpStatus?: number; errcode?: string; message: string; data?: Json };
        throw new ApiError(httpStatus, errcode, textOf(data["error"]) || message, data);
    });

/** The person whose profile this is. */
export const personIn = (user: string, { displayname, avatar_url }: Json): Person => ({ id: user, name: clean(displayname, 80) || localpart(user), avatar: textOf(avatar_url) || undefined });

/** What is in no thread. */
export const MAIN = "main";

export class Commands {
    constructor(readonly engine: Engine) {}

    #ask<T = Json>(method: string, path: string, body?: Json, query?: Json, prefix: string = ClientPrefix.V3): Promise<T> {
        return told(this.engine.client.http.authedRequest<T>(method as never, path, query as never, body, { prefix }));
    }

    readonly #changes = new Map<string, Promise<unknown>>();

    /** Change what the server has: what is known here may be of before somebody else changed it. Of one thing, one after the other. */
    #change<T extends object>(path: string, change: (now: Partial<T>) => Json): Promise<unknown> {
        const before = this.#changes.get(path)?.catch(() => undefined) ?? Promise.resolve();
        const done = before.then(async () => {
            const now = await this.#ask<Partial<T>>("GET", path).catch(orNothing);
            return this.#ask("PUT", path, change(now ?? {}));
        });
        this.#changes.set(path, done);
        return done;
    }

    /** Any request of the Client-Server API, for the pages that have theirs. */
    request: Ask = (method, path, body) => this.#ask(method, path, body);

    // --- rooms ---

    async createRoom(wanted: NewRoom): Promise<string> {
        const state: Json[] = [];
        if (wanted.encrypted) state.push({ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } });
        if (wanted.parent) {
            const via = [this.serverName];
            state.push({ type: "m.space.parent", state_key: wanted.parent, content: { via, canonical: true } });
            if (!wanted.public) {
                const allow = [{ type: "m.room_membership", room_id: wanted.parent }];
                state.push({ type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow } });
            }
        }
        const { room_id } = await this.#ask<{ room_id: string }>("POST", "/createRoom", {
            name: wanted.name,
            ...(wanted.topic && { topic: wanted.topic }),
            preset: wanted.public ? "public_chat" : "private_chat",
            visibility: wanted.public ? "public" : "private",
            ...(wanted.alias && { room_alias_name: wanted.alias }),
            ...(wanted.invite?.length && { invite: wanted.invite }),
            ...(wanted.space && {
                creation_content: { type: "m.space" },
                power_level_content_override: { events_default: 50 },
            }),
            initial_state: state,
        });
        if (wanted.parent) await this.addToSpace(wanted.parent, room_id);
        return room_id;
    }

    get serverName(): string {
        return this.engine.userId.slice(this.engine.userId.indexOf(":") + 1);
    }

    addToSpace(space: string, room: string, remove = false): Promise<unknown> {
        return this.setState(space, "m.space.child", remove ? {} : { via: [this.serverName] }, room);
    }

    /** The conversation with one person, or their invitation to one. */
    directWith(person: string): string | undefined {
        for (const [roomId, user] of directs(this.engine)) {
            const membership = this.engine.room(roomId)?.getMyMembership();
            if (user === person && (membership === "join" || membership === "invite")) return roomId;
        }
        return undefined;
    }

    /** The conversation with one person, if there is one, or a new one. */
    async direct(userIds: string[], encrypted: boolean): Promise<string> {
        const only = userIds.length === 1 ? userIds[0] : undefined;
        const known = only && this.directWith(only);
        if (known) return known;
        const { room_id } = await this.#ask<{ room_id: string }>("POST", "/createRoom", {
            preset: "trusted_private_chat",
            visibility: "private",
            is_direct: true,
            invite: userIds,
            initial_state: encrypted ? [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }] : [],
        });
        if (only) await this.markDirect(room_id, only);
        return room_id;
    }

    async markDirect(roomId: string, userId: string): Promise<void> {
        await this.changeAccountData<Record<string, string[]>>("m.direct", (now) => ({ ...now, [userId]: [...new Set([...(now[userId] ?? []), roomId])] }));
    }

    async join(idOrAlias: string, viaServers: string[] = []): Promise<string> {
        const before = this.engine.room(idOrAlias)?.getMember(this.engine.userId)?.events.member;
        const { membership, is_direct } = before?.getContent() ?? {};
        // The SDK takes the keys that go with an invitation (MSC4268).
        const { roomId } = await told(this.engine.client.joinRoom(idOrAlias, { viaServers }));
        if (membership === "invite" && is_direct === true) await this.markDirect(roomId, before?.getSender() ?? "");
        return roomId;
    }

    async knock(idOrAlias: string, reason: string, via: string[] = []): Promise<string> {
        const body = reason ? { reason } : {};
        return (await this.#ask<{ room_id: string }>("POST", `/knock/${enc(idOrAlias)}`, body, via.length ? { via } : undefined)).room_id;
    }

    leave = (room: string): Promise<unknown> => this.#ask("POST", `/rooms/${enc(room)}/leave`, {});
    forget = async (room: string): Promise<void> => {
        await this.#ask("POST", `/rooms/${enc(room)}/forget`, {});
        this.engine.client.store.removeRoom(room);
        this.engine.touch(room);
    };
    /** Invite; who may read what was said before gets the keys of it, too (MSC4268). */
    invite = (room: string, user: string): Promise<unknown> => told(this.engine.client.invite(room, user));
    kick = (room: string, user_id: string): Promise<unknown> => this.#ask("POST", `/rooms/${enc(room)}/kick`, { user_id });
    ban = (room: string, user_id: string): Promise<unknown> => this.#ask("POST", `/rooms/${enc(room)}/ban`, { user_id });
    unban = (room: string, user_id: string): Promise<unknown> => this.#ask("POST", `/rooms/${enc(room)}/unban`, { user_id });

    setState(room: string, type: string, content: Json, key = ""): Promise<unknown> {
        return this.#ask("PUT", `/rooms/${enc(room)}/state/${enc(type)}/${enc(key)}`, content);
    }

    /** Change members of a state event's content and keep the others. */
    async editState(room: string, type: string, change: (content: Json) => Json): Promise<void> {
        await this.#change<Json>(`/rooms/${enc(room)}/state/${enc(type)}`, change);
    }

    async setLevel(room: string, user: string, level: number): Promise<void> {
        await this.editState(room, "m.room.power_levels", (content) => {
            const users = { ...(content["users"] as Record<string, number> | undefined) };
            if (level === (content["users_default"] ?? 0)) delete users[user];
            else users[user] = level;
            return { ...content, users };
        });
    }

    /** Move a room on; who is in one that not everybody may enter is invited to the new one. */
    async upgrade(room: string, version: string): Promise<string> {
        const members = (await this.engine.client.getJoinedRoomMembers(room)).joined;
        const { replacement_room } = await this.#ask<{ replacement_room: string }>("POST", `/rooms/${enc(room)}/upgrade`, { new_version: version });
        if (this.engine.room(room)?.getJoinRule() !== JoinRule.Public) {
            for (const user of Object.keys(members)) {
                // One who wants no invitations does not keep the others from theirs.
                if (user !== this.engine.userId) await this.invite(replacement_room, user).catch(() => undefined);
            }
        }
        return replacement_room;
    }

    setListed = (room: string, listed: boolean): Promise<unknown> =>
        this.#ask("PUT", `/directory/list/room/${enc(room)}`, { visibility: listed ? "public" : "private" });
    async listed(room: string): Promise<boolean> {
        return (await this.#ask<{ visibility: string }>("GET", `/directory/list/room/${enc(room)}`)).visibility === "public";
    }
    addAlias = (alias: string, room_id: string): Promise<unknown> => this.#ask("PUT", `/directory/room/${enc(alias)}`, { room_id });
    removeAlias = (alias: string): Promise<unknown> => this.#ask("DELETE", `/directory/room/${enc(alias)}`);
    async aliases(room: string): Promise<string[]> {
        return (await this.#ask<{ aliases: string[] }>("GET", `/rooms/${enc(room)}/aliases`)).aliases;
    }
    async resolve(alias: string): Promise<{ id: string; servers: string[] }> {
        const { room_id, servers } = await this.#ask<{ room_id: string; servers: string[] }>("GET", `/directory/room/${enc(alias)}`);
        return { id: room_id, servers };
    }

    /** What can be known of a room before one is in it. */
    async summary(idOrAlias: string, via: string[] = []): Promise<Found> {
        const query = via.length ? { via } : undefined;
        return foundOf(await this.#ask<Chunk>("GET", `/room_summary/${enc(idOrAlias)}`, undefined, query, ClientPrefix.V1));
    }

    async publicRooms(term: string, spaces: boolean | undefined, server?: string, since?: string): Promise<{ rooms: Found[]; next: string | undefined; total: number }> {
        const filter: Json = {};
        if (term) filter["generic_search_term"] = term;
        if (spaces !== undefined) filter["room_types"] = spaces ? ["m.space"] : [null];
        const answer = await this.#ask<{ chunk: Chunk[]; next_batch?: string; total_room_count_estimate?: number }>(
            "POST", "/publicRooms", { limit: 30, ...(Object.keys(filter).length && { filter }), ...(since && { since }) }, server ? { server } : undefined,
        );
        return { rooms: answer.chunk.map(foundOf), next: answer.next_batch, total: answer.total_room_count_estimate ?? answer.chunk.length };
    }

    async hierarchy(space: string): Promise<Found[]> {
        const { rooms } = await this.#ask<{ rooms: Chunk[] }>("GET", `/rooms/${enc(space)}/hierarchy`, undefined, { max_depth: 1, limit: 100 }, ClientPrefix.V1);
        return rooms.filter((room) => room.room_id !== space).map(foundOf);
    }

    /** The event nearest to a moment. */
    async eventAt(room: string, time: number): Promise<string> {
        return (await this.#ask<{ event_id: string }>("GET", `/rooms/${enc(room)}/timestamp_to_event`, undefined, { ts: time, dir: "f" }, ClientPrefix.V1)).event_id;
    }

    // --- messages ---

    /** What the server sees behind an address; undefined where there is nothing to be shown. Throws ApiError 404 if it does not look. */
    async linkPreview(url: string): Promise<LinkPreview | undefined> {
        const found = await this.#ask("GET", "/preview_url", undefined, { url }, "/_matrix/client/v1/media");
        const title = textOf(found["og:title"]);
        if (!title) return undefined;
        const image = textOf(found["og:image"]);
        return { title, text: textOf(found["og:description"]), site: textOf(found["og:site_name"]), image: image.startsWith("mxc://") ? image : undefined };
    }

    redact(room: string, event: string, reason?: string): Promise<unknown> {
        const path = `/rooms/${enc(room)}/redact/${enc(event)}/${crypto.randomUUID()}`;
        return this.#ask("PUT", path, reason ? { reason } : {});
    }
    pin(room: string, event: string, on: boolean): Promise<void> {
        return this.editState(room, "m.room.pinned_events", (content) => {
            const before = ((content["pinned"] as string[] | undefined) ?? []).filter((id) => id !== event);
            return { ...content, pinned: on ? [...before, event] : before };
        });
    }
    report = (room: string, event: string | undefined, reason: string): Promise<unknown> =>
        this.#ask("POST", event ? `/rooms/${enc(room)}/report/${enc(event)}` : `/rooms/${enc(room)}/report`, { reason });
    reportUser = (user: string, reason: string): Promise<unknown> => this.#ask("POST", `/users/${enc(user)}/report`, { reason });
    typing(room: string, typing: boolean): void {
        const path = `/rooms/${enc(room)}/typing/${enc(this.engine.userId)}`;
        void this.#ask("PUT", path, typing ? { typing, timeout: 20_000 } : { typing }).catch(() => undefined);
    }

    /** Everything up to the event is read: in one thread, in `main`, or, without one, in all of the room, where `last` may be later. */
    async markRead(room: string, event: string, thread: string | undefined, shown: boolean, last = event): Promise<void> {
        const type = shown ? "m.read" : "m.read.private";
        if (thread) await this.#ask("POST", `/rooms/${enc(room)}/receipt/${type}/${enc(event)}`, { thread_id: thread });
        if (!thread || thread === MAIN) await this.#ask("POST", `/rooms/${enc(room)}/read_markers`, { "m.fully_read": event, ...(!thread && { [type]: last }) });
    }
    markUnread = (room: string, unread: boolean): Promise<unknown> => this.setRoomData(room, "m.marked_unread", { unread });

    // --- the user ---

    /** Change a part of the account data of a type. */
    changeAccountData = <T extends object = Json>(type: string, change: (now: Partial<T>) => Json): Promise<unknown> =>
        this.#change(`/user/${enc(this.engine.userId)}/account_data/${enc(type)}`, change);
    setRoomData = (room: string, type: string, content: Json): Promise<unknown> =>
        this.#ask("PUT", `/user/${enc(this.engine.userId)}/rooms/${enc(room)}/account_data/${enc(type)}`, content);
    tag(room: string, tag: string, on: boolean): Promise<unknown> {
        return this.#ask(on ? "PUT" : "DELETE", `/user/${enc(this.engine.userId)}/rooms/${enc(room)}/tags/${enc(tag)}`, on ? { order: 0.5 } : undefined);
    }

    loudness = (room: string): Loudness => loudness(this.engine, room);
    setLoudness = (room: string, wanted: Loudness | "usual"): Promise<void> => setLoudness(this.engine, this.request, room, wanted);

    async ignore(user: string, on: boolean): Promise<void> {
        await this.changeAccountData<{ ignored_users: Json }>("m.ignored_user_list", (content) => {
            const now = { ...content.ignored_users };
            if (on) now[user] = {};
            else delete now[user];
            return { ignored_users: now };
        });
    }
    ignored = (): string[] => this.engine.client.getIgnoredUsers();

    async profile(user: string): Promise<Person> {
        return personIn(user, await this.#ask("GET", `/profile/${enc(user)}`));
    }
    setName = (displayname: string): Promise<unknown> => this.#ask("PUT", `/profile/${enc(this.engine.userId)}/displayname`, { displayname });
    setAvatar = (avatar_url: string): Promise<unknown> => this.#ask("PUT", `/profile/${enc(this.engine.userId)}/avatar_url`, { avatar_url });

    async findPeople(search_term: string): Promise<Person[]> {
        const { results } = await this.#ask<{ results: { user_id: string; display_name?: string; avatar_url?: string }[] }>(
            "POST", "/user_directory/search", { search_term, limit: 10 },
        );
        const found = results.map(({ user_id, display_name, avatar_url }) => ({
            id: user_id, name: display_name ?? user_id.slice(1, user_id.indexOf(":")), avatar: avatar_url,
        }));
        // The directory knows only those one shares a room with; who knows the whole name may write too.
        const exact = `@${search_term.toLowerCase()}:${this.serverName}`;
        if (!/^[\w.=+/-]+$/.test(search_term) || found.some(({ id }) => id === exact)) return found;
        const person = await this.profile(exact).catch(() => undefined);
        return person ? [person, ...found] : found;
    }

    async search(term: string, room: string | undefined, next?: string): Promise<{ hits: { room: string; event: string; sender: string; text: string; time: number }[]; count: number; next: string | undefined }> {
        interface Result { result: { room_id: string; event_id: string; sender: string; origin_server_ts: number; content: { body?: string } } }
        const answer = await this.#ask<{ search_categories: { room_events: { count?: number; results?: Result[]; next_batch?: string } } }>(
            "POST", "/search",
            { search_categories: { room_events: { search_term: term, order_by: "recent", ...(room && { filter: { rooms: [room] } }) } } },
            next ? { next_batch: next } : undefined,
        );
        const { count = 0, results = [], next_batch } = answer.search_categories.room_events;
        const hits = results.map(({ result }) => ({
            room: result.room_id, event: result.event_id, sender: result.sender, text: result.content.body ?? "", time: result.origin_server_ts,
        }));
        return { hits, count, next: next_batch };
    }

    // --- the account ---

    async isAdmin(): Promise<boolean> {
        const path = `/_synapse/admin/v1/users/${enc(this.engine.userId)}/admin`;
        return this.#ask<{ admin: boolean }>("GET", path, undefined, undefined, "").then(({ admin }) => admin, () => false);
    }
    /** A request of administrators: `/v1/…` and `/v2/…` are where other tools ask, `/own/…` are this server's own. */
    admin = <T = Json>(method: string, path: string, body?: Json, query?: Json): Promise<T> =>
        this.#ask<T>(method, path.startsWith("/own/") ? `/_hromada/admin/v1/${path.slice(5)}` : `/_synapse/admin${path}`, body, query, "");
}
