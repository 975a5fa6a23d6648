// What the tabs of one browser say to each other. A tab of another build is not understood: it takes turns instead.

import type { Status } from "../../../core/ws.mjs";
import type { Entry } from "../entry.ts";

/** What a follower may ask the leader to do: a method of one of these. */
export type Part = "app" | "backend" | "decrypt" | "finder" | "machine" | "outbox";

export interface Failure {
    name: string;
    message: string;
    /** What stands on the error beside that: `errcode`, `httpStatus`, `code` … */
    more: Record<string, unknown>;
}

export type Word =
    // of followers
    | { op: "hello"; from: string; build: string }
    | { op: "call"; from: string; id: number; part: Part; name: string; args: unknown[] }
    | { op: "stop"; from: string; id: number }
    | { op: "here"; id: string }
    // of the leader
    | { op: "soon" | "other"; to: string }
    | { op: "welcome"; to: string; status: Status; crypto: boolean }
    | { op: "sync"; since: string; body: object }
    | { op: "status"; status: Status }
    | { op: "opened"; room: string; id: string }
    | { op: "told"; part: "machine" | "finder"; name: string; value: unknown }
    | { op: "entries"; entries: readonly Entry[] }
    | { op: "done"; to: string; id: number; value?: unknown; error?: Failure }
    | { op: "going"; to: string; id: number; value: unknown }
    | { op: "look"; room: string; id: string }
    | { op: "lead" | "over" | "gone" };

/** The position and the time limit, if this is a request of `/sync`. */
export function syncOf(resource: RequestInfo | URL): { since: string | null; timeout: number } | undefined {
    const url = new URL(resource instanceof Request ? resource.url : resource, location.href);
    if (!url.pathname.endsWith("/_matrix/client/v3/sync")) return undefined;
    return { since: url.searchParams.get("since"), timeout: Number(url.searchParams.get("timeout") ?? 0) };
}
