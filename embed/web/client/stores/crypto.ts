// Encryption, where the server offers it. Its code and its wasm are loaded after the first paint.

import { signal } from "@preact/signals";
import * as kv from "../../core/kv.ts";
import { t } from "../i18n/t.ts";
import { go, route } from "../routes.ts";
import { ask } from "../sdk/api.ts";
import { CHANGED } from "../sdk/failure.ts";
import type { Changed, Check, Crypto, Restore } from "../sdk/crypto.ts";
import { type App, toast } from "./app.ts";
import { LOGIN, notify } from "./notify.ts";

export type CryptoState = "off" | "loading" | "ready" | "broken";
export const cryptoState = signal<CryptoState>("loading");
/** Whether this device is signed by its user; undefined while that is not known. */
export const confirmed = signal<boolean | undefined>(undefined);
export const recovery = signal<boolean | undefined>(undefined);
/** It is a day on which the user is reminded of the recovery key. */
export const reminding = signal(false);
/** Devices of the user that nobody has confirmed: somebody else's, perhaps. */
export const strangers = signal<readonly string[]>([]);
export const check = signal<Check | undefined>(undefined);
/** People whose identity is another one now, until the user has decided about it. */
export const changed = signal<ReadonlyMap<string, Changed>>(new Map());
export const restoring = signal<Restore | undefined>(undefined);
let running: Crypto | undefined;

export const theCrypto = (): Crypto | undefined => running;

/** Only an answer says that there is none: while none comes, this device must not miss what is sent to it. */
async function offered(app: App): Promise<boolean> {
    try {
        await ask("/_matrix/client/v3/keys/query", { body: { device_keys: {} }, fetch: app.engine.tokens.fetch });
        return true;
    } catch (error) {
        const { status = 0 } = error as { status?: number };
        return status < 400 || status === 429 || status >= 500;
    }
}

/** The one machine of this device: where another tab has it, it is asked there. */
export const startMachine = async (engine: App["engine"]): Promise<Crypto> => (await import("../sdk/crypto.ts")).Crypto.start(engine);

/** Start the machine before the first sync, since that brings messages to this device. */
export async function prepareCrypto(app: App, fresh: "login" | "register" | undefined, given?: Crypto | null): Promise<void> {
    const arrived = route.value;
    cryptoState.value = "loading";
    if (given === null || (!given && !(await offered(app)))) {
        cryptoState.value = "off";
        return;
    }
    try {
        running = given ?? (await startMachine(app.engine));
    } catch (error) {
        console.error(error);
        cryptoState.value = "broken";
        return;
    }
    const machine = running;
    app.outbox.encrypt = machine.encrypt;
    machine.on("check", (now) => (check.value = now));
    machine.on("restore", (now) => (restoring.value = now));
    machine.on("identities", (found) => {
        const before = changed.value;
        const news = [...found].filter(([user, state]) => before.get(user) !== state);
        if (news.length === 0) return;
        const now = new Map([...before, ...news]);
        changed.value = new Map([...now].flatMap(([user, state]) => (state ? [[user, state]] : [])));
        // What was held back because of somebody goes out once that is settled.
        if (news.some(([user]) => before.get(user) === "confirmed-changed")) app.outbox.resume(CHANGED);
    });
    machine.on("change", () => void look(machine));
    const stop = app.engine.on("ready", () => {
        stop();
        void settle(app, machine).then(() => showNextStep(fresh, route.value === arrived));
    });
}

async function look(machine: Crypto): Promise<void> {
    confirmed.value = await machine.confirmed().catch(() => confirmed.value);
    recovery.value = await machine.hasRecovery().catch(() => recovery.value);
    if (recovery.value) reminding.value = false;
    const found = confirmed.value ? await machine.strangers().catch(() => strangers.value) : [];
    if (found.join(" ") === strangers.value.join(" ")) return;
    strangers.value = found;
    await tellOfLogins(found);
}

const TOLD = "told-logins";

/** A login that is new is told of once; those there were when this device began are known to the user. */
async function tellOfLogins(found: readonly string[]): Promise<void> {
    const known = await kv.get<readonly string[]>("kv", TOLD).catch(() => undefined);
    await kv.put("kv", TOLD, found).catch(() => undefined);
    if (known === undefined || found.every((id) => known.includes(id))) return;
    const look = (): void => go({ page: "settings", tab: "devices" });
    toast(t("stranger.toast"), { label: t("stranger.look"), run: look });
    notify(LOGIN, t("stranger.toast"), "", look);
}

/** The first device makes the account's keys silently; a later one is asked once to show that it is the user's. */
async function settle(app: App, machine: Crypto): Promise<void> {
    try {
        if ((await machine.confirmed()) === undefined) await machine.begin();
        await look(machine);
        if (confirmed.value) machine.backUp().catch(console.error);
        if (confirmed.value && recovery.value === false) void import("./reminders.ts").then(async ({ remind }) => remind(app)).catch(console.error);
    } catch (error) {
        console.error(error);
    }
    if ((await kv.get("kv", TOLD).catch(() => undefined)) === undefined) await kv.put("kv", TOLD, strangers.value).catch(() => undefined);
    cryptoState.value = "ready";
}

/** The answer may have taken long: who has gone somewhere meanwhile is not led away from it. The recovery key has its reminders. */
function showNextStep(fresh: "login" | "register" | undefined, stays: boolean): void {
    const confirm = (): void => go({ page: "verify" });
    if (fresh === "login" && confirmed.value === false) {
        if (stays) confirm();
        else toast(t("encryption.unconfirmed"), { label: t("locked.confirm-yes"), run: confirm });
    }
    if (fresh === "register" && recovery.value === false && stays) go({ page: "recovery" });
}
