// What the user is told of beside single rooms, and who may invite: push rules and account data behind the settings.

import type { Engine } from "./engine.ts";
import { type Ask, notifies, rules, SOUND, WHOLE, type Whole } from "./loudness.ts";

const EVERYBODY = ".m.rule.is_room_mention";
const INVITES = ".m.rule.invite_for_me";
const INVITE_PERMISSION = "m.invite_permission_config";
const HIGHLIGHT = { set_tweak: "highlight" };
const enc = encodeURIComponent;

export class Told {
    constructor(
        readonly engine: Engine,
        readonly ask: Ask,
    ) {}

    async #set(kind: string, id: string, on: boolean, actions: unknown[]): Promise<void> {
        const path = `/pushrules/global/${kind}/${enc(id)}`;
        await this.ask("PUT", `${path}/actions`, { actions: on ? actions : [] });
        await this.ask("PUT", `${path}/enabled`, { enabled: true });
    }
    #override = (id: string): boolean => notifies(rules(this.engine, "override").find(({ rule_id }) => rule_id === id));

    async setWhole(which: Whole, on: boolean): Promise<void> {
        for (const id of WHOLE[which]) await this.#set("underride", id, on, which === "direct" ? ["notify", SOUND] : ["notify"]);
    }

    /** Mentions of a whole room. */
    everybody = (): boolean => this.#override(EVERYBODY);
    setEverybody = (on: boolean): Promise<void> => this.#set("override", EVERYBODY, on, ["notify", HIGHLIGHT]);

    invites = (): boolean => this.#override(INVITES);
    setInvites = (on: boolean): Promise<void> => this.#set("override", INVITES, on, ["notify", SOUND]);

    /** Words that count as a mention. */
    words = (): string[] => rules(this.engine, "content").flatMap((rule) => (!rule.default && rule.pattern && notifies(rule) ? [rule.pattern] : []));
    addWord = (word: string): Promise<unknown> =>
        this.ask("PUT", `/pushrules/global/content/${enc(word)}`, { pattern: word, actions: ["notify", SOUND, HIGHLIGHT] });
    async removeWord(word: string): Promise<void> {
        for (const rule of rules(this.engine, "content")) {
            if (rule.pattern === word && !rule.default) await this.ask("DELETE", `/pushrules/global/content/${enc(rule.rule_id)}`);
        }
    }

    /** Whether anybody may invite the user. spec: client-server-api#minvite_permission_config */
    mayInvite = (): boolean => this.engine.client.getAccountData(INVITE_PERMISSION as never)?.getContent()["default_action"] !== "block";
    async setMayInvite(may: boolean): Promise<void> {
        const content: Record<string, unknown> = { ...this.engine.client.getAccountData(INVITE_PERMISSION as never)?.getContent() };
        if (may) delete content["default_action"];
        else content["default_action"] = "block";
        await this.ask("PUT", `/user/${enc(this.engine.userId)}/account_data/${INVITE_PERMISSION}`, content);
    }
}
