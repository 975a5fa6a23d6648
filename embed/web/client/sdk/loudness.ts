// How loud a room is: the account's push rules as three words.

import type { Engine } from "./engine.ts";

export type Loudness = "all" | "mentions" | "mute";
/** Kinds of conversation whose messages are told of as a whole or not. */
export type Whole = "direct" | "rooms";
export interface Rule {
    rule_id: string;
    enabled: boolean;
    default?: boolean;
    actions: unknown[];
    pattern?: string;
}
/** Sends a request of the Client-Server API. Throws ApiError. */
export type Ask = (method: string, path: string, body?: Record<string, unknown>) => Promise<unknown>;

/** The rules that the server begins with. spec: client-server-api#predefined-rules */
export const WHOLE: Record<Whole, readonly string[]> = {
    direct: [".m.rule.room_one_to_one", ".m.rule.encrypted_room_one_to_one"],
    rooms: [".m.rule.message", ".m.rule.encrypted"],
};
export const SOUND = { set_tweak: "sound", value: "default" };
const enc = encodeURIComponent;

export const rules = (engine: Engine, kind: "override" | "content" | "room" | "underride"): readonly Rule[] =>
    (engine.client.pushRules?.global?.[kind] ?? []);
export const notifies = (rule: Rule | undefined): boolean => rule !== undefined && rule.enabled && rule.actions.includes("notify");

/** Whether every message of direct chats, or of rooms, is told of, or only those that mention the user. */
export const whole = (engine: Engine, which: Whole): boolean => notifies(rules(engine, "underride").find((rule) => rule.rule_id === WHOLE[which][0]));

/** What holds for a room without a rule of its own. The rules for direct chats ask for two members, not for a mark. */
const usual = (engine: Engine, room: string): Loudness =>
    whole(engine, engine.room(room)?.getInvitedAndJoinedMemberCount() === 2 ? "direct" : "rooms") ? "all" : "mentions";

export function loudness(engine: Engine, room: string): Loudness {
    const of = (kind: "override" | "room"): Rule | undefined => rules(engine, kind).find((rule) => rule.rule_id === room && rule.enabled);
    const mute = of("override"), own = of("room");
    if (mute && !notifies(mute)) return "mute";
    return own ? (notifies(own) ? "all" : "mentions") : usual(engine, room);
}

/** Give the room its own rule, or take it away where that says what is usual. */
export async function setLoudness(engine: Engine, ask: Ask, room: string, asked: Loudness | "usual"): Promise<void> {
    const wanted = asked === "usual" ? usual(engine, room) : asked;
    const drop = (kind: string): Promise<unknown> =>
        ask("DELETE", `/pushrules/global/${kind}/${enc(room)}`).catch((error: unknown) => {
            if ((error as { status?: number }).status !== 404) throw error as Error;
        });
    const conditions = [{ kind: "event_match", key: "room_id", pattern: room }];
    if (wanted === "mute") await ask("PUT", `/pushrules/global/override/${enc(room)}`, { conditions, actions: [] });
    else await drop("override");
    if (wanted === "mute" || wanted === usual(engine, room)) await drop("room");
    else await ask("PUT", `/pushrules/global/room/${enc(room)}`, { actions: wanted === "all" ? ["notify", SOUND] : [] });
}
