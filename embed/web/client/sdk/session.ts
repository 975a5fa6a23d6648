// The session of this browser and its tokens. Knows nothing of the SDK, so the sign-in page needs none.
//
// What renews it is a cookie that no script reads, and the access token is in memory only: a script that should not be
// here has the session while the page is open, and nothing to take along. Where the browser keeps no cookie, both lie in
// IndexedDB.

import * as kv from "../../core/kv.ts";
import { ApiError, ask } from "./api.ts";

export interface Session {
    userId: string;
    deviceId: string;
    /** Empty until this page has been given one. */
    access: string;
    /** Only where the browser keeps no cookie. */
    refresh: string | undefined;
    /** When the access token ends, in milliseconds since 1970. */
    expires: number | undefined;
    /** The browser has what renews it. */
    cookie?: true;
}

export interface LoginAnswer {
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
    /** Whether accounts can have e-mail addresses. */
    mail: boolean;
    /** What to subscribe to pushes with; null if the server sends none. */
    push_key: string | null;
    /** What the build is called that the server has now. */
    build: string | null;
}

const EARLY_MS = 60_000;
/** For so long another tab is waited for that may have a token. */
const BORROW_MS = 2_000;
export const CLIENT = "/_matrix/client/v3";
const WEB = "/_hromada/web/session";
const OWN = { "X-Hromada-Web": "1" };

export function sessionOf(answer: LoginAnswer): Session {
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

/** A session that the server ended. What was kept stays for its user, and goes when somebody else signs in. */
interface Ended {
    userId: string;
    deviceId: string;
    /** The device is still there: who signs in again goes on with it. */
    soft: boolean;
}
export const lastEnded = (): Promise<Ended | undefined> => kv.get<Ended>("kv", "ended");

/** The name of whose session was ended here. */
export const endedUser = async (): Promise<string | undefined> => (await lastEnded())?.userId.slice(1).split(":")[0];

/** Note that the server has ended the session. */
export async function end({ userId, deviceId }: Session, soft: boolean): Promise<void> {
    await kv.put("kv", "ended", { userId, deviceId, soft } satisfies Ended);
    if ((await stored())?.deviceId === deviceId) await kv.remove("kv", "session");
}

export async function stored(): Promise<Session | undefined> {
    const kept = await kv.get<Session>("kv", "session");
    return kept?.cookie ? { ...kept, access: "", refresh: undefined, expires: 0 } : kept;
}

/** Note the session for the next page: of one in a cookie only whose it is. */
export const keep = ({ userId, deviceId, ...secrets }: Session): Promise<void> =>
    kv.put("kv", "session", secrets.cookie ? { userId, deviceId, cookie: true } : { userId, deviceId, ...secrets });

/** The server, or the browser, does not want it so; anything else may go better the next time. */
const refused = (error: unknown): boolean => error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;

/** A new access token by the cookie. Throws ApiError: 401 if there is none, or another session's. */
async function byCookie({ userId, deviceId }: Session): Promise<Session> {
    const answer = await ask<LoginAnswer>(`${WEB}/token`, { method: "POST", headers: OWN });
    if (answer.user_id !== userId || answer.device_id !== deviceId) throw new ApiError(401, "M_UNKNOWN_TOKEN", "Somebody else has signed in", { soft_logout: true });
    return { ...sessionOf(answer), cookie: true };
}

/** Put what renews the session into a cookie; as it was, where the browser keeps none. Throws ApiError if that is not known. */
export async function hidden(session: Session): Promise<Session> {
    if (session.refresh === undefined) return session;
    try {
        await ask(WEB, { body: { refresh_token: session.refresh }, headers: OWN });
        return await byCookie(session);
    } catch (error) {
        if (!refused(error)) throw error;
        return session;
    }
}

/** Take the browser's cookies back. */
export const forget = async (): Promise<void> => void (await ask(WEB, { method: "DELETE" }).catch(() => undefined));

/** What tabs say to each other: who has a token, and that there is one. */
interface Shared {
    device: string;
    access?: string;
    expires?: number | undefined;
}

/** The tokens of a session that runs: every request gets the current one, and it is renewed before it ends. */
export class Tokens {
    #refreshing: Promise<void> | undefined;
    #tabs = new BroadcastChannel("hromada.token");
    #heard: () => void = () => undefined;
    /** Whether the browser keeps a cookie is known. */
    #tried = false;
    /** The session is over; `soft` if the data may be kept for the same user. */
    onended: (soft: boolean) => void = () => undefined;

    /** One who follows another tab asks there first. */
    constructor(
        public session: Session,
        readonly follows = false,
    ) {
        this.#tabs.onmessage = ({ data }: MessageEvent<Shared>) => this.#hear(data);
    }

    /** `inner` with the current token in every request, and once more with a new one after a refusal. */
    wrap = (inner: typeof fetch): typeof fetch => async (resource, options = {}) => {
        const used = await this.current();
        const response = await inner(resource, signed(options, used));
        if (response.status !== 401) return response;
        const error = (await response.clone().json().catch(() => ({}))) as { errcode?: string; soft_logout?: boolean };
        if (error.errcode !== "M_UNKNOWN_TOKEN") return response;
        try {
            await this.#refresh(used);
        } catch (reason) {
            this.#over(reason, error.soft_logout);
            return response;
        }
        return inner(resource, signed(options, this.session.access));
    };

    /** Takes the place of `fetch` for requests with a token. */
    fetch: typeof fetch = this.wrap((...request) => fetch(...request));

    /** Whether scripts of this page have nothing that outlives it. */
    get safe(): boolean {
        return this.session.cookie === true;
    }

    #due(): boolean {
        const { expires, refresh, cookie } = this.session;
        if (refresh !== undefined && !this.#tried) return true;
        return (cookie ?? refresh !== undefined) && expires !== undefined && expires - Date.now() < EARLY_MS;
    }

    /** The token, renewed if it ends soon. Throws ApiError while there is none. */
    async current(): Promise<string> {
        if (this.#due()) {
            try {
                await this.#refresh(this.session.access);
            } catch (reason) {
                // The old one may last a moment longer.
                if (!this.session.access) {
                    this.#over(reason);
                    throw reason;
                }
            }
        }
        return this.session.access;
    }

    /** Throws `reason` again, unless it ends the session. */
    #over(reason: unknown, soft?: boolean): void {
        if (!refused(reason)) throw reason;
        this.onended(((reason as ApiError).body["soft_logout"] ?? soft) === true);
    }

    /** One at a time, in all tabs; another one may have done it meanwhile. */
    #refresh(used: string): Promise<void> {
        const { locks } = navigator as { locks?: LockManager };
        const renew = async (): Promise<void> => (locks ? locks.request("hromada.token", () => this.#renew(used)) : this.#renew(used));
        this.#refreshing ??= renew().finally(() => (this.#refreshing = undefined));
        return this.#refreshing;
    }

    async #renew(used: string): Promise<void> {
        const kept = await stored();
        if (kept?.deviceId === this.session.deviceId) {
            if (kept.cookie) this.session = { ...this.session, refresh: undefined, cookie: true };
            else if (!this.session.cookie) this.session = kept;
        }
        if (!this.session.access && this.follows) await this.#borrow();
        if (this.session.access !== used && !this.#due()) return;
        if (this.session.cookie) return this.#use(await byCookie(this.session));
        if (!this.#tried) {
            // First by what may be there: an answer that was lost on the way has left its cookie.
            const found = await byCookie(this.session).catch((error: unknown) => (refused(error) ? hidden(this.session) : Promise.reject(error as Error)));
            this.#tried = true;
            if (found.cookie) return this.#use(found);
            if (this.session.access === used && !this.#due()) return;
        }
        const refresh_token = this.session.refresh;
        if (refresh_token === undefined) throw new ApiError(401, "M_UNKNOWN_TOKEN", "There is no refresh token");
        const answer = await ask<Omit<LoginAnswer, "user_id" | "device_id">>(`${CLIENT}/refresh`, { body: { refresh_token } });
        const { userId, deviceId } = this.session;
        await this.#use(sessionOf({ refresh_token, ...answer, user_id: userId, device_id: deviceId }));
    }

    async #use(session: Session): Promise<void> {
        await keep(session);
        this.session = session;
        if (session.cookie) this.#say(session);
    }

    // Of one session only the newest access token is good, so tabs share it.

    #say({ deviceId, access, expires }: Session): void {
        this.#tabs.postMessage({ device: deviceId, access, expires } satisfies Shared);
    }

    #hear({ device, access, expires }: Shared): void {
        if (device !== this.session.deviceId) return;
        if (access === undefined) {
            if (this.session.cookie && this.session.access && !this.#due()) this.#say(this.session);
        } else if ((expires ?? 0) > (this.session.cookie ? (this.session.expires ?? 0) : 0)) {
            this.session = { ...this.session, access, expires, refresh: undefined, cookie: true };
            this.#heard();
        }
    }

    async #borrow(): Promise<void> {
        this.#tabs.postMessage({ device: this.session.deviceId } satisfies Shared);
        await new Promise<void>((done) => {
            this.#heard = done;
            setTimeout(done, BORROW_MS);
        });
    }

    /** Media of this server, as `<img>` and `<video>` ask for it, by a cookie. False if it has none. */
    async cookie(): Promise<boolean> {
        try {
            await ask(WEB, { method: "PUT", body: {}, token: await this.current() });
            return true;
        } catch {
            return false;
        }
    }
}

/** The options with this token. */
function signed(options: RequestInit, token: string): RequestInit {
    const headers = Object.fromEntries([...new Headers(options.headers)].filter(([name]) => name !== "authorization"));
    return { ...options, headers: { ...headers, Authorization: `Bearer ${token}` } };
}
