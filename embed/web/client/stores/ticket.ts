import { app } from "./app.ts";

/** What the desk's server says of a case in the room of its conversation (docs/subsystems/widget.md). */
export interface Ticket {
    number: number;
    status: string;
    verified: boolean;
    opened_ts: number;
    assignee?: string;
    page?: string;
    title?: string;
    priority?: string;
    tags?: string[];
    rating?: number;
    /** The card on the desk, whose thread has staff's notes. */
    card?: { room_id: string; event_id: string };
}

/** The ticket of a room that is a conversation with a visitor, for those who are staff. */
export function ticketOf(roomId: string): Ticket | undefined {
    const engine = app.value?.engine;
    const ticket = engine?.room(roomId)?.currentState.getStateEvents("chat.hromada.support.ticket", "")?.getContent<Ticket>();
    // Anybody may send such state into a room of their own.
    return typeof ticket?.number === "number" && typeof ticket.opened_ts === "number" && engine?.room(ticket.card?.room_id ?? "") ? ticket : undefined;
}
