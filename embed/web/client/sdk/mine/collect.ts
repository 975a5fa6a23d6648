// What the user has here, as files that programs read: the profile, the e-mail addresses, the devices, the rooms, and in
// each what they said. What is encrypted is opened first, so it is here that this is done and not on the server.

import type { Method } from "matrix-js-sdk/lib/http-api/method.js";
import type { Room } from "matrix-js-sdk/lib/models/room.js";
import type { Engine } from "../engine.ts";
import { patient } from "../find/patient.ts";
import type { Ask } from "../loudness.ts";
import { clean } from "../text.ts";
import type { Entry } from "./archive.ts";

type Json = Record<string, unknown>;
const PAGE = 100;

/** How far it is. */
export interface Way {
    room: number;
    rooms: number;
}

const text = (value: unknown): string => JSON.stringify(value, null, 2);

/** A name for a file that every system takes: letters, digits, and what is between words. */
export const fileName = (name: string): string => clean(name, 60).replace(/[^\p{L}\p{N} ._-]+/gu, "_").replace(/^[ .]+|[ .]+$/g, "") || "room";

/** The files, one after the other. Throws ApiError; ends with an AbortError when it is stopped. */
export async function* collect(engine: Engine, ask: Ask, signal: AbortSignal, tell: (way: Way) => void): AsyncGenerator<Entry> {
    const user = encodeURIComponent(engine.userId);
    yield { name: "profile.json", text: text({ user_id: engine.userId, ...((await ask("GET", `/profile/${user}`)) as Json) }) };
    yield { name: "addresses.json", text: text(((await ask("GET", "/account/3pid")) as Json)["threepids"]) };
    yield { name: "devices.json", text: text(((await ask("GET", "/devices")) as Json)["devices"]) };
    const rooms = engine.client.getRooms().filter((room) => room.getMyMembership() === "join");
    yield { name: "rooms.json", text: text(rooms.map(about)) };
    for (const [at, room] of rooms.entries()) {
        tell({ room: at + 1, rooms: rooms.length });
        const said = await messages(engine, room, signal);
        if (said.length > 0) yield { name: `messages/${String(at + 1).padStart(3, "0")} ${fileName(room.name)}.json`, text: text({ ...about(room), messages: said }) };
    }
}

const about = (room: Room): Json => ({
    room_id: room.roomId, name: room.name, alias: room.getCanonicalAlias(), members: room.getJoinedMemberCount(), encrypted: room.hasEncryptionStateEvent(),
});

/** What the user said in a room, from the first on. */
async function messages(engine: Engine, room: Room, signal: AbortSignal): Promise<Json[]> {
    const filter = JSON.stringify({ senders: [engine.userId], types: ["m.room.message", "m.room.encrypted", "m.sticker", "m.reaction"] });
    const said: Json[] = [];
    let from: string | undefined;
    do {
        signal.throwIfAborted();
        const query = { dir: "b", limit: PAGE, filter, ...(from && { from }) };
        const ask = (): Promise<{ chunk: object[]; end?: string }> =>
            engine.client.http.authedRequest("GET" as Method.Get, `/rooms/${encodeURIComponent(room.roomId)}/messages`, query, undefined, { abortSignal: signal });
        const { chunk, end } = await patient(ask);
        for (const raw of chunk) said.push(await opened(engine, { ...raw, room_id: room.roomId }));
        from = end;
    } while (from);
    return said.reverse();
}

async function opened(engine: Engine, raw: object): Promise<Json> {
    const event = engine.client.getEventMapper({ decrypt: false })(raw);
    if (event.shouldAttemptDecryption() || event.isBeingDecrypted()) await engine.client.decryptEventIfNeeded(event);
    const closed = event.isDecryptionFailure();
    return {
        event_id: event.getId(), origin_server_ts: event.getTs(), type: event.getType(),
        // The address of what it answers or replaces is beside what is sealed.
        content: closed ? undefined : { ...event.getOriginalContent<Json>(), ...(event.getWireContent()["m.relates_to"] && { "m.relates_to": event.getWireContent()["m.relates_to"] as unknown }) },
        ...(closed && { closed: true }),
    };
}
