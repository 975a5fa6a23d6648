// Whether a live event is worth a notification: the account's push rules decide, after it has been opened.

import type { Engine } from "./engine.ts";
import { bodyText, countsAsMessage } from "./messages.ts";
import { personOf } from "./rooms.ts";

export interface Notice {
    sender: string;
    text: string;
    notify: boolean;
    highlight: boolean;
}

/** Whether the account's push rules want an invitation told. */
export function tellsOfInvite(engine: Engine, roomId: string): boolean {
    const event = engine.room(roomId)?.getMember(engine.userId)?.events.member;
    return event !== undefined && engine.client.getPushActionsForEvent(event)?.notify === true;
}

const DECRYPT_MS = 5_000;

export async function noticeOf(engine: Engine, roomId: string, eventId: string): Promise<Notice | undefined> {
    const room = engine.room(roomId);
    const event = room?.findEventById(eventId);
    if (!room || !event || event.getSender() === engine.userId || !countsAsMessage(event)) return undefined;
    const patience = new Promise((done) => setTimeout(done, DECRYPT_MS));
    await Promise.race([event.getDecryptionPromise(), patience]);
    const actions = engine.client.getPushActionsForEvent(event, true);
    const sender = personOf(room, event.getSender() ?? "").name;
    return { sender, text: bodyText(event), notify: actions?.notify ?? false, highlight: actions?.tweaks.highlight === true };
}
