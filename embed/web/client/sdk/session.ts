// Signing in, up and out, and the tokens of the session. Knows nothing of the SDK, so the sign-in page needs none.

import * as kv from "../../core/kv.ts";
import { ApiError, ask } from "./api.ts";

export interface Session {
    userId: string;
    deviceId: string;
    access: string;
    refresh: string | undefined;
    /** When the access token ends, in milliseconds since 1970. */
    expires: number | undefined;
}

interface LoginAnswer {
    user_id: string;
    device_id: string;
    access_token: string;
    refresh_token?: string;
    expires_in_ms?: number;
}

export interface WebConfig {
    server_name: string;
    version: string;
    registration: "open" | "token" | "closed";
    /** What to subscribe to pushes with; null if the server sends none. */
    push_key: string | null;
    /** What the build is called that the server has now. */
    build: string | null;
}

const EARLY_MS = 60_000;
const CLIENT = "/_matrix/client/v3";

function sessionOf(answer: LoginAnswer): Session {
    return {
        userId: answer.user_id,
        deviceId: answer.device_id,
        access: answer.access_token,
        refresh: answer.refresh_token,
        expires: answer.expires_in_ms === undefined ? undefined : Date.now() + answer.expires_in_ms,
    };
}

/** "Chrome, Linux" */
export function deviceName(agent = navigator.userAgent): string {
    const browser = /(Firefox|Edg|OPR|Chrome|Safari)/.exec(agent)?.[1] ?? "Browser";
    const system = /(Android|iPhone|iPad|Windows|Mac OS X|CrOS|Linux)/.exec(agent)?.[1] ?? "";
    const names: Record<string, string> = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS", CrOS: "ChromeOS" };
    return [browser, system].filter(Boolean).map((name) => names[name] ?? name).join(", ");
}

export const webConfig = (): Promise<WebConfig> => ask<WebConfig>("/_hromada/web/config");

export interface LoginFlow {
    type: string;
    identity_providers?: { id: string; name: string; icon?: string }[];
}
export const loginFlows = async (): Promise<LoginFlow[]> => (await ask<{ flows: LoginFlow[] }>(`${CLIENT}/login`)).flows;

/** Sign in with a password. Throws ApiError. */
export async function login(user: string, password: string): Promise<Session> {
    const identifier = { type: "m.id.user", user: user.trim() };
    const last = await lastEnded();
    const same = last?.soft && [last.userId, last.userId.slice(1).split(":")[0]].includes(identifier.user) && { device_id: last.deviceId };
    return start(await ask<LoginAnswer>(`${CLIENT}/login`, { body: { type: "m.login.password", identifier, password, ...common(), ...same } }));
}

/** Sign in with the token that single sign-on came back with. Throws ApiError. */
export async function loginWithToken(token: string): Promise<Session> {
    return start(await ask<LoginAnswer>(`${CLIENT}/login`, { body: { type: "m.login.token", token, ...common() } }));
}

const common = (): object => ({ initial_device_display_name: deviceName(), refresh_token: true });

/** Whether the name can be had; the reason if not. */
export async function available(username: string, signal: AbortSignal): Promise<ApiError | null> {
    try {
        await ask(`${CLIENT}/register/available`, { query: { username }, signal });
        return null;
    } catch (error) {
        if (error instanceof ApiError) return error;
        throw error;
    }
}

export interface Policy {
    name: string;
    url: string;
}
interface Challenge {
    session: string;
    flows: { stages: string[] }[];
    params?: Record<string, { policies?: Record<string, Record<string, { name: string; url: string } | string>> }>;
    completed?: string[];
}
/** What the server wants to know of one who registers. */
export interface RegistrationNeeds {
    token: boolean;
    policies: Policy[];
    /** A stage that this client does not know. */
    unknown: string | undefined;
}
const KNOWN = ["m.login.dummy", "m.login.terms", "m.login.registration_token"];

/** Ask what registration takes. Throws ApiError: M_FORBIDDEN if there is none. */
export async function registrationNeeds(language: string): Promise<RegistrationNeeds> {
    const challenge = await challenged({});
    const flow = challenge.flows.find(({ stages }) => stages.every((stage) => KNOWN.includes(stage)));
    const unknown = flow ? undefined : challenge.flows[0]?.stages.find((stage) => !KNOWN.includes(stage));
    const policies = Object.values(challenge.params?.["m.login.terms"]?.policies ?? {}).flatMap((policy) => {
        const text = policy[language] ?? policy["en"] ?? Object.values(policy).find((value) => typeof value === "object");
        return typeof text === "object" ? [text] : [];
    });
    return { token: flow?.stages.includes("m.login.registration_token") ?? false, policies, unknown };
}

async function challenged(body: object): Promise<Challenge> {
    try {
        await ask(`${CLIENT}/register`, { body });
    } catch (error) {
        if (error instanceof ApiError && error.status === 401 && Array.isArray(error.body["flows"])) {
            return error.body as unknown as Challenge;
        }
        throw error;
    }
    throw new ApiError(500, "M_UNKNOWN", "The server did not ask for anything");
}

/** Make an account and sign in. Throws ApiError. */
export async function register(username: string, password: string, token: string): Promise<Session> {
    const wanted = { username, password, ...common() };
    const challenge = await challenged(wanted);
    const stages = challenge.flows.find((flow) => flow.stages.every((stage) => KNOWN.includes(stage)))?.stages ?? ["m.login.dummy"];
    let last: unknown;
    for (const type of stages) {
        const auth = { type, session: challenge.session, ...(type === "m.login.registration_token" && { token }) };
        try {
            return await start(await ask<LoginAnswer>(`${CLIENT}/register`, { body: { ...wanted, auth } }));
        } catch (error) {
            // 401 with the stage among the completed ones: it was right, and there is another one.
            if (!(error instanceof ApiError) || error.status !== 401) throw error;
            if (!(error.body["completed"] as string[] | undefined)?.includes(type)) throw error;
            last = error;
        }
    }
    throw last;
}

/** A session that the server ended. What was kept stays for its user, and goes when somebody else signs in. */
interface Ended {
    userId: string;
    deviceId: string;
    /** The device is still there: who signs in again goes on with it. */
    soft: boolean;
}
const lastEnded = (): Promise<Ended | undefined> => kv.get<Ended>("kv", "ended");

/** The name of whose session was ended here. */
export const endedUser = async (): Promise<string | undefined> => (await lastEnded())?.userId.slice(1).split(":")[0];

/** Note that the server has ended the session. */
export async function end({ userId, deviceId }: Session, soft: boolean): Promise<void> {
    await kv.put("kv", "ended", { userId, deviceId, soft } satisfies Ended);
    await kv.remove("kv", "session");
}

/** What the SDK keeps, which is a device's. */
const OF_DEVICE = /hromada-(sync|crypto):/;

async function start(answer: LoginAnswer): Promise<Session> {
    const session = sessionOf(answer);
    const last = await lastEnded();
    if (last && last.userId !== session.userId) await kv.wipe();
    else if (last && last.deviceId !== session.deviceId) await kv.wipe(OF_DEVICE);
    await kv.remove("kv", "ended");
    await kv.put("kv", "session", session);
    return session;
}

export const stored = (): Promise<Session | undefined> => kv.get<Session>("kv", "session");

/** The tokens of a session that runs: every request gets the current one, and it is renewed before it ends. */
export class Tokens {
    #refreshing: Promise<void> | undefined;
    /** The session is over; `soft` if the data may be kept for the same user. */
    onended: (soft: boolean) => void = () => undefined;

    constructor(public session: Session) {}

    /** `inner` with the current token in every request, and once more with a new one after a refusal. */
    wrap = (inner: typeof fetch): typeof fetch => async (resource, options = {}) => {
        if (this.#due()) await this.#refresh().catch(() => undefined);
        const response = await inner(resource, this.#signed(options));
        if (response.status !== 401) return response;
        const error = (await response.clone().json().catch(() => ({}))) as { errcode?: string; soft_logout?: boolean };
        if (error.errcode !== "M_UNKNOWN_TOKEN") return response;
        try {
            await this.#refresh();
        } catch (reason) {
            if (reason instanceof ApiError && reason.status === 0) throw reason;
            this.onended(error.soft_logout === true);
            return response;
        }
        return inner(resource, this.#signed(options));
    };

    /** Takes the place of `fetch` for requests with a token. */
    fetch: typeof fetch = this.wrap((...request) => fetch(...request));

    /** The options with the token of now. */
    #signed(options: RequestInit): RequestInit {
        const headers = Object.fromEntries([...new Headers(options.headers)].filter(([name]) => name !== "authorization"));
        return { ...options, headers: { ...headers, Authorization: `Bearer ${this.session.access}` } };
    }

    #due(): boolean {
        const { expires, refresh } = this.session;
        return refresh !== undefined && expires !== undefined && expires - Date.now() < EARLY_MS;
    }

    /** Renew the token if it ends soon: before it is given to the stream. */
    async current(): Promise<string> {
        if (this.#due()) await this.#refresh().catch(() => undefined);
        return this.session.access;
    }

    /** One at a time, in all tabs; another one may have done it meanwhile. */
    #refresh(): Promise<void> {
        const { locks } = navigator as { locks?: LockManager };
        const renew = async (): Promise<void> => (locks ? locks.request("hromada.token", () => this.#renew()) : this.#renew());
        this.#refreshing ??= renew().finally(() => (this.#refreshing = undefined));
        return this.#refreshing;
    }

    async #renew(): Promise<void> {
        const kept = await stored();
        if (kept?.deviceId === this.session.deviceId && kept.access !== this.session.access) {
            this.session = kept;
            if (!this.#due()) return;
        }
        const refresh_token = this.session.refresh;
        if (refresh_token === undefined) throw new ApiError(401, "M_UNKNOWN_TOKEN", "There is no refresh token");
        const answer = await ask<Omit<LoginAnswer, "user_id" | "device_id">>(`${CLIENT}/refresh`, { body: { refresh_token } });
        const { userId, deviceId } = this.session;
        this.session = sessionOf({ refresh_token, ...answer, user_id: userId, device_id: deviceId });
        await kv.put("kv", "session", this.session);
    }

    /** Media of this server, as `<img>` and `<video>` ask for it, by a cookie. False if it has none. */
    async cookie(): Promise<boolean> {
        try {
            await ask("/_hromada/web/session", { method: "PUT", body: {}, token: await this.current() });
            return true;
        } catch {
            return false;
        }
    }
}
