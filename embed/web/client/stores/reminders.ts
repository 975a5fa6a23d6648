// Without a recovery key: a card under the list on day 1, 7 and 30, and then no more (webclient.md 6.2).
//
// What was shown and closed is kept with the account, so that another device does not begin anew. It is asked of the
// server: what this device has kept may be older.

import { orNothing } from "../sdk/failure.ts";
import { type App, attempt } from "./app.ts";
import { recovery, reminding } from "./crypto.ts";
import { due, reached, type Reminders } from "./recovery.ts";

const REMINDERS = "chat.hromada.recovery_reminders";
let kept: Reminders | undefined;

const number = (value: unknown): number | undefined => (typeof value === "number" && Number.isFinite(value) ? value : undefined);

const path = (app: App): string => `/user/${encodeURIComponent(app.engine.userId)}/account_data/${REMINDERS}`;

async function read(app: App): Promise<Reminders | undefined> {
    const { since, closed } = ((await app.commands.request("GET", path(app)).catch(orNothing)) ?? {}) as Partial<Record<string, unknown>>;
    const begun = number(since);
    return begun === undefined ? undefined : { since: begun, closed: number(closed) ?? 0 };
}

/** The account has no recovery key: begin to count, or see whether it is time. */
export async function remind(app: App): Promise<void> {
    kept = await read(app);
    // Meanwhile the server may have said that there is one.
    if (kept) reminding.value = !recovery.value && due(kept, Date.now());
    else await app.commands.request("PUT", path(app), { since: Date.now(), closed: 0 });
}

/** The card was closed: the next one is a while away. */
export async function later(app: App): Promise<void> {
    reminding.value = false;
    if (kept) await attempt(() => app.commands.request("PUT", path(app), { ...kept, closed: reached(kept as Reminders, Date.now()) }));
}
