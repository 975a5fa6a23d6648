// What becomes of a message whose try to be sent failed.

/** Somebody who was confirmed has another identity now: nothing is encrypted for them until the user has decided. */
export const CHANGED = "CHANGED_IDENTITY";
/** The machine of encryption refused; the network had no part in it. */
export const UNENCRYPTED = "NO_CRYPTO";

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
/** The machine may not know the room or its people yet, so it is asked a few times; it does not change its mind by itself. */
const MACHINE_TRIES = 4;

interface Thrown {
    httpStatus?: number;
    status?: number;
    errcode?: string;
    data?: { retry_after_ms?: number };
}

/** The server has nothing there. */
export const isMissing = (error: unknown): boolean => (error as Thrown).errcode === "M_NOT_FOUND";

/** To catch that, as having nothing. Every other failure goes on. */
export function orNothing(error: unknown): undefined {
    if (!isMissing(error)) throw error as Error;
}

/** What encrypting threw, as the outbox can tell it from a network that is away. */
export function encryptingFailed(error: unknown): unknown {
    const { httpStatus, status, errcode, name } = error as Thrown & { name?: string };
    const told = httpStatus ?? status ?? errcode;
    return told !== undefined || name === "ConnectionError" || name === "AbortError" ? error : { errcode: UNENCRYPTED, cause: error };
}

/** Why it will not be tried again, or how long to wait before the next try. `tries` are those that failed, with this one. */
export function verdict(error: unknown, tries: number, chance = Math.random()): { failed: string } | { wait: number } {
    const { httpStatus, status: raw, errcode = "", data } = error as Thrown;
    const status = httpStatus ?? raw ?? 0;
    const refused = status >= 400 && status < 500 && status !== 429 && status !== 408 && errcode !== "M_UNKNOWN_TOKEN";
    if (refused || errcode === CHANGED || (errcode === UNENCRYPTED && tries >= MACHINE_TRIES)) return { failed: errcode || String(status) };
    return { wait: Math.max(Number(data?.retry_after_ms ?? 0), Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1)) * (0.75 + chance / 2)) };
}
