// The visitor's session and requests. Tokens live in memory; what lasts is a cookie that no script can read.

import { type Given, given } from "./given.ts";

export interface Session {
    /** Whether letters can be sent to the visitor. */
    mail?: boolean;
    user_id: string;
    device_id: string;
    access_token: string;
    expires_in_ms: number;
    handle: string;
    /** A handle for the page to keep, which serves for some weeks; only where the site lets pages do that. */
    keep?: string;
    room_id: string | null;
    rooms: string[];
    number: number | null;
    /** Those of `rooms` in which messages are encrypted; staff that must be able to read what is said there. */
    encrypted: string[];
    staff: string[];
    name: string;
    verified: boolean;
}
export interface Start {
    key: string;
    answers: Record<string, string>;
    consent: boolean;
    page: string;
    title: string;
    jwt: string;
    begin: boolean;
}

/** An answer that says no. */
export class Refused extends Error {
    constructor(
        readonly status: number,
        readonly code: string,
        message: string,
        readonly retryMs: number | null,
        readonly reason: string,
        readonly field: string,
    ) {
        super(message);
    }
}

/** Whether staff has closed the conversation. */
export const blocked = (error: unknown): boolean => error instanceof Refused && error.reason === "blocked";

let session: Session | null = null;
let handle = "";
let until = 0;
let resuming: Promise<Session> | null = null;
const path = `/_embed/v1/sites/${encodeURIComponent(given.site)}/`;

export const current = (): Session | null => session;

export async function read(response: Response): Promise<unknown> {
    const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
    if (response.ok) return body;
    const text = (value: unknown): string => (typeof value === "string" ? value : "");
    const retry = typeof body.retry_after_ms === "number" ? body.retry_after_ms : null;
    throw new Refused(response.status, text(body.errcode), text(body.error), retry, text(body.reason), text(body.field));
}

const ask = (name: string, body: unknown = {}, by = ""): Promise<Response> => {
    const headers = { "Content-Type": "application/json", "X-Hromada-Embed": "1", ...(by && { "X-Hromada-Session": by }) };
    return fetch(path + name, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin" });
};
const ours = async (name: string, body?: unknown): Promise<unknown> => read(await ask(name, body, handle));

let told: () => void = () => undefined;
/** Who is told of each session that there is from now on. */
export const onsession = (listener: () => void): void => void (told = listener);

function take(value: unknown): Session {
    session = value as Session;
    handle = session.handle;
    until = Date.now() + session.expires_in_ms - 60_000;
    told();
    return session;
}

/** Go on with a handle that the page has kept, or with none. */
export const hold = (kept: string): void => void (handle = kept);

/** One after the other: what comes of each is what the next one goes on from. */
let last: Promise<unknown> = Promise.resolve();
function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const next = last.then(run);
    last = next.catch(() => undefined);
    return next;
}

/** Take from the page, as it would be shown now, what changes while it is open: its nonce, whether somebody is there. */
export async function renewPage(): Promise<void> {
    const page = await (await fetch(location.href)).text();
    const { nonce = "", open, next, staff, hours, offline } = JSON.parse(/id="given">(.*?)<\/script>/s.exec(page)?.[1] ?? "{}") as Partial<Given>;
    given.nonce = nonce;
    if (staff) Object.assign(given, { open, next, staff, hours, offline }); // or there is no chat now: this one stays until it is left
}

/** Begin, or say who one is. */
export const start = (values: Start): Promise<Session> => inTurn(() => begin(values));
async function begin(values: Start): Promise<Session> {
    for (let tries = 0; ; tries++) {
        try {
            const { nonce, work: bits } = given;
            const work = bits && !session && !values.jwt ? await (await import("./work.ts")).solve(nonce, values.key, bits) : "";
            return take(await ours("session", { nonce, work, ...values }));
        } catch (error) {
            if (!(error instanceof Refused && error.reason === "nonce") || tries) throw error;
            await renewPage(); // who takes their time over the first message has an old page by then
        }
    }
}

/** Go on with what this browser has; refused if that is nothing. */
export async function resume(): Promise<Session> {
    resuming ??= inTurn(() => ours("session/resume"))
        .then(take)
        .finally(() => (resuming = null));
    return resuming;
}

/** Whether the browser has kept the cookie: it goes on without what this page holds. */
export const kept = (): Promise<boolean> => ask("session/resume").then(({ ok }) => ok, () => true);

/** Go on as another device: the keys of this one are lost. */
export const renew = (): Promise<Session> => inTurn(() => ours("session/renew").then(take));

/** Forget this browser. */
export async function end(): Promise<void> {
    await ours("session/end").catch(() => undefined);
    session = null;
    handle = "";
}

/** A token that serves. */
export async function token(): Promise<string> {
    if (!session || Date.now() > until) await resume();
    return session?.access_token ?? "";
}

/** A request with the visitor's token, which is renewed when it no longer serves. */
export async function authed(address: string, options: RequestInit = {}): Promise<Response> {
    for (let tries = 0; ; tries++) {
        const headers = new Headers(options.headers);
        headers.set("Authorization", `Bearer ${await token()}`);
        const response = await fetch(address, { ...options, headers });
        if (response.status !== 401 || tries > 0) return response;
        until = 0;
    }
}

/** A JSON call of the Client-Server API. */
export async function call(method: string, address: string, body?: unknown): Promise<Record<string, unknown>> {
    const options: RequestInit = { method };
    if (body !== undefined) options.body = JSON.stringify(body);
    return (await read(await authed(`/_matrix/client/v3${address}`, options))) as Record<string, unknown>;
}

/** What the page says of its visitor by now. */
export const note = async (answers: Record<string, string>): Promise<void> => {
    await read(await authed(`${path}context`, { method: "POST", body: JSON.stringify({ answers }) }));
};
export const transcript = async (): Promise<Blob> => {
    const response = await authed(`${path}transcript`);
    if (!response.ok) await read(response);
    return response.blob();
};
export const mailTranscript = async (): Promise<void> => {
    await read(await authed(`${path}transcript/mail`, { method: "POST", body: "{}" }));
};
export const erase = async (): Promise<void> => {
    await read(await authed(`${path}erase`, { method: "POST", body: "{}" }));
    session = null;
    handle = "";
};

/** Make the visitor's account one of their own: same user, with a password. The session ends.  spec: client-server-api#guest-access */
export async function keep(password: string): Promise<void> {
    const guest = await token();
    const username = session?.user_id.slice(1).split(":")[0];
    const ask = (auth?: object): Promise<Response> =>
        fetch("/_matrix/client/v3/register", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ username, password, guest_access_token: guest, inhibit_login: true, auth }),
        });
    let response = await ask();
    if (response.status === 401) {
        const { session: stage } = (await response.json()) as { session?: string };
        response = await ask({ type: "m.login.dummy", session: stage });
    }
    await read(response);
}
