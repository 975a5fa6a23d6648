// Signing in and up. Loaded by the page that does it, and by nobody else.

import * as kv from "../../core/kv.ts";
import { ApiError, ask } from "./api.ts";
import { CLIENT, deviceName, hidden, keep, lastEnded, type LoginAnswer, type Session, sessionOf } from "./session.ts";

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

/**
 * Sign in with the token that single sign-on came back with. Throws ApiError. Whose it is only the answer says: the
 * device that was here is asked for, and of somebody else's account it is another one of that name.
 */
export async function loginWithToken(token: string): Promise<Session> {
    const last = await lastEnded();
    return start(await ask<LoginAnswer>(`${CLIENT}/login`, { body: { type: "m.login.token", token, ...common(), ...(last?.soft && { device_id: last.deviceId }) } }));
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
export async function register(username: string, password: string, token: string, email = ""): Promise<Session> {
    // The account is there at once; the address once the link in a letter to it is followed.
    const wanted = { username, password, ...common(), ...(email && { "chat.hromada.email": email }) };
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

/** What the SDK keeps, which is a device's. */
const OF_DEVICE = /hromada-(sync|crypto):/;

async function start(answer: LoginAnswer): Promise<Session> {
    // Where it cannot be hidden now it lies open, and the client that runs tries once more.
    const session = await hidden(sessionOf(answer)).catch(() => sessionOf(answer));
    const last = await lastEnded();
    if (last && last.userId !== session.userId) await kv.wipe();
    else if (last && last.deviceId !== session.deviceId) await kv.wipe(OF_DEVICE);
    await kv.remove("kv", "ended");
    await keep(session);
    return session;
}
