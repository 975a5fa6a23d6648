// What an invitation says of its room. Loaded with the page that shows it.

import { EventTimeline } from "matrix-js-sdk/lib/models/event-timeline.js";
import type { Engine } from "./engine.ts";

export type History = "world_readable" | "shared" | "invited" | "joined";
const KNOWN: readonly string[] = ["world_readable", "shared", "invited", "joined"] satisfies readonly History[];

/** From when on one would see messages; undefined where the invitation does not say. */
export function historyOf(engine: Engine, roomId: string): History | undefined {
    const event = engine.room(roomId)?.getLiveTimeline().getState(EventTimeline.FORWARDS)?.getStateEvents("m.room.history_visibility", "");
    const value: unknown = event?.getContent()["history_visibility"];
    return typeof value === "string" && KNOWN.includes(value) ? (value as History) : undefined;
}
