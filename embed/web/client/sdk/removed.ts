// Who took the user out of a room. Loaded with the page that says so.

import type { Engine } from "./engine.ts";
import { personOf } from "./rooms.ts";
import { clean } from "./text.ts";

export interface Removed {
    who: string;
    banned: boolean;
    reason: string;
}

/** Undefined for who left, and for whom an invitation or a ban was taken back. */
export function removed(engine: Engine, roomId: string): Removed | undefined {
    const room = engine.room(roomId);
    const event = room?.getMember(engine.userId)?.events.member;
    const sender = event?.getSender();
    if (!room || !event || !sender || sender === engine.userId) return undefined;
    const { membership, reason } = event.getContent();
    const banned = membership === "ban";
    if (!banned && !(membership === "leave" && event.getPrevContent()["membership"] === "join")) return undefined;
    return { who: personOf(room, sender).name, banned, reason: clean(reason, 300) };
}
