// The threads of a room. The SDK keeps two lists of them, all and one's own, and fetches both by pages.

import { EventTimeline } from "matrix-js-sdk/lib/models/event-timeline.js";
import type { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import type { Room } from "matrix-js-sdk/lib/models/room.js";
import type { Engine } from "./engine.ts";
import { messageOf } from "./messages.ts";
import { pinned } from "./rooms.ts";
import type { Message } from "./types.ts";

const PAGE = 30;

export interface Threads {
    found: Message[];
    /** The server has others. */
    more: boolean;
}

const listOf = (room: Room, mine: boolean): EventTimeline | undefined => room.threadsTimelineSets[mine ? 1 : 0]?.getLiveTimeline();

/** What is known of a room's threads, the last answered first: all, or those that one takes part in. */
export async function threadsOf(engine: Engine, roomId: string, mine: boolean): Promise<Threads> {
    const room = engine.room(roomId);
    if (!room) return { found: [], more: false };
    await room.createThreadsTimelineSets().catch(() => null);
    await room.fetchRoomThreads().catch(() => undefined);
    const pins = new Set(pinned(room));
    const found = room
        .getThreads()
        .filter((thread) => thread.rootEvent && thread.length > 0 && (!mine || thread.hasCurrentUserParticipated || thread.rootEvent.getSender() === engine.userId))
        .sort((a, b) => (b.replyToEvent?.getTs() ?? 0) - (a.replyToEvent?.getTs() ?? 0))
        .map((thread) => messageOf(engine, room, thread.rootEvent as MatrixEvent, pins));
    return { found, more: Boolean(listOf(room, mine)?.getPaginationToken(EventTimeline.BACKWARDS)) };
}

/** Fetch another page of them. */
export async function moreThreads(engine: Engine, roomId: string, mine: boolean): Promise<void> {
    const room = engine.room(roomId);
    const list = room && listOf(room, mine);
    if (list) await engine.client.paginateEventTimeline(list, { backwards: true, limit: PAGE });
}
