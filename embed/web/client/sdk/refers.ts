// What a message that waits to be sent refers to. Until that has an id it is named by its transaction.

type Content = Record<string, unknown>;
interface Relation {
    rel_type?: string;
    event_id?: string;
    is_falling_back?: boolean;
    "m.in_reply_to"?: { event_id?: string };
}

/** The root of a thread was taken back: what was to be an answer is asked about. */
export const ROOTLESS = "ROOTLESS";
/** The root of a thread was refused: its answers wait for it. */
export const ROOT_REFUSED = "ROOT_REFUSED";

const relation = (content: Content): Relation | undefined => content["m.relates_to"] as Relation | undefined;

/** What it changes, takes back or reacts to. It goes with that. */
export const concerns = (content: Content): string | undefined =>
    rootOf(content) === undefined ? ((content["redacts"] ?? relation(content)?.event_id) as string | undefined) : undefined;

/** The root of its thread. */
export const rootOf = (content: Content): string | undefined => (relation(content)?.rel_type === "m.thread" ? relation(content)?.event_id : undefined);

/** What it answers. */
export const answered = (content: Content): string | undefined => relation(content)?.["m.in_reply_to"]?.event_id;

/** The transactions it names. */
export const unsent = (content: Content): string[] => [concerns(content), rootOf(content), answered(content)].filter((name): name is string => !!name && !name.startsWith("$"));

/** The same with the id in the place of the transaction. */
export function settled(content: Content, txn: string, id: string): Content {
    if (content["redacts"] === txn) return { ...content, redacts: id };
    const { "m.in_reply_to": reply, ...rest } = relation(content) ?? {};
    const named: Relation = { ...rest, ...(rest.event_id === txn && { event_id: id }), ...(reply && { "m.in_reply_to": reply.event_id === txn ? { ...reply, event_id: id } : reply }) };
    return unsent(content).includes(txn) ? { ...content, "m.relates_to": named } : content;
}

const bare = (content: Content): Content => Object.fromEntries(Object.entries(content).filter(([name]) => name !== "m.relates_to"));

/** The same without what it answers; in a thread it goes on to the root. */
export function unanswering(content: Content): Content {
    const root = rootOf(content);
    return root === undefined ? bare(content) : { ...content, "m.relates_to": { rel_type: "m.thread", event_id: root, is_falling_back: true, "m.in_reply_to": { event_id: root } } };
}

/** The same outside of its thread. */
export function outOfThread(content: Content): Content {
    const to = relation(content)?.is_falling_back === false ? answered(content) : undefined;
    return to === undefined ? bare(content) : { ...content, "m.relates_to": { "m.in_reply_to": { event_id: to } } };
}
