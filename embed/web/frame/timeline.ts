// Events made into what is shown. Texts stay texts; nothing is ever inserted as markup.

export interface RoomEvent {
    event_id: string;
    type: string;
    sender: string;
    origin_server_ts: number;
    state_key?: string;
    room_id?: string;
    content: Record<string, unknown> & { "m.relates_to"?: { rel_type?: string; event_id?: string }; displayname?: unknown; status?: unknown };
    unsigned?: { transaction_id?: string; redacted_because?: unknown };
}

export interface Item {
    key: string;
    kind: "message" | "joined" | "done" | "again";
    event: RoomEvent;
    own: boolean;
    name: string;
    body: string;
    edited: boolean;
    gone: boolean;
    /** Encrypted, and its key is not here. */
    sealed: boolean;
}

/** A name as it may be shown: on one line, without signs that hide or turn what stands beside them. */
export const plain = (value: unknown): string =>
    typeof value === "string" ? value.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "") : "";

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** What an event says, without what a reply quotes. */
export function bodyOf(content: Record<string, unknown>): string {
    const body = text(content.body);
    return content["m.relates_to"] && body.startsWith("> ") ? body.replace(/^(?:> .*\n)+\n?/, "") : body;
}

/** The rows of the conversation, in order. `bot` is how the id of the site's own account begins: nobody who came. */
export function fold(events: RoomEvent[], me: string, names: Map<string, string>, bot: string): Item[] {
    const edits = new Map<string, RoomEvent>();
    const gone = new Set<string>();
    for (const event of events) {
        const redacts = (event as { redacts?: unknown }).redacts ?? event.content.redacts;
        if (event.type === "m.room.redaction" && typeof redacts === "string") gone.add(redacts);
    }
    // Nobody edits what another said, and an edit that was taken back leaves the one before it.
    for (const event of events) {
        const relation = event.content["m.relates_to"];
        if (event.type === "m.room.message" && relation?.rel_type === "m.replace" && !gone.has(event.event_id)) edits.set(event.sender + relation.event_id!, event);
    }
    const items: Item[] = [];
    let status = "";
    const seen = new Set<string>();
    for (const event of events) {
        const base = { key: event.event_id, event, own: event.sender === me, name: names.get(event.sender) ?? "", body: "", edited: false, gone: false, sealed: false };
        if (event.type === "m.room.encrypted") {
            if (event.content["m.relates_to"]?.rel_type === "m.replace") continue;
            const isGone = gone.has(event.event_id) || event.unsigned?.redacted_because !== undefined || !event.content.algorithm;
            items.push({ ...base, key: event.unsigned?.transaction_id ?? event.event_id, kind: "message", gone: isGone, sealed: !isGone });
        } else if (event.type === "m.room.message") {
            if (event.content["m.relates_to"]?.rel_type === "m.replace") continue;
            const later = edits.get(event.sender + event.event_id)?.content["m.new_content"] as Record<string, unknown> | undefined;
            const isGone = gone.has(event.event_id) || event.unsigned?.redacted_because !== undefined || !event.content.msgtype;
            const key = event.unsigned?.transaction_id ?? event.event_id;
            items.push({ ...base, key, kind: "message", body: bodyOf(later ?? event.content), edited: Boolean(later), gone: isGone });
        } else if (event.type === "m.room.member" && event.state_key !== me && event.content.membership === "join" && event.state_key === event.sender) {
            if (seen.has(event.sender) || [bot, "@visitor-"].some((each) => event.sender.startsWith(each))) continue;
            seen.add(event.sender);
            items.push({ ...base, kind: "joined", name: plain(event.content.displayname) });
        } else if (event.type === "chat.hromada.support.ticket") {
            const now = text(event.content.status);
            if (now === "resolved" && status !== "resolved") items.push({ ...base, kind: "done" });
            status = now;
        }
    }
    return items;
}

/** Web addresses in a text. Only http and https are followed. */
export function pieces(body: string): { text: string; href?: string }[] {
    const found: { text: string; href?: string }[] = [];
    let from = 0;
    for (const match of body.slice(0, 20_000).matchAll(/\bhttps?:\/\/[^\s<>"'\u202a-\u202e\u2066-\u2069]+[^\s<>"'.,;:!?)\]\u202a-\u202e\u2066-\u2069]/g)) {
        if (match.index > from) found.push({ text: body.slice(from, match.index) });
        found.push({ text: match[0], href: match[0] });
        from = match.index + match[0].length;
    }
    if (from < body.length) found.push({ text: body.slice(from) });
    return found;
}
