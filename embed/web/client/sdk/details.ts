// What there is to know of one message beside what it says.

import type { EventShieldReason } from "matrix-js-sdk/lib/crypto-api/index.js";
import type { Engine } from "./engine.ts";

/** The SDK's AUTHENTICITY_NOT_GUARANTEED: its key came from the backup or from somebody else. */
const NOT_GUARANTEED = 4 as EventShieldReason;
/** UNVERIFIED_IDENTITY: people are trusted when they are first met. */
const NOT_CONFIRMED = 1 as EventShieldReason;

export interface Details {
    /** When it was changed last. */
    edited: number | undefined;
    /** `proven`: the sender's own device has given the key. */
    sealed: "no" | "proven" | "restored" | "doubtful" | "unknown";
}

export async function detailsOf(engine: Engine, room: string, id: string, asks: boolean): Promise<Details> {
    const event = engine.room(room)?.findEventById(id);
    const edited = event?.replacingEvent()?.getTs();
    if (!event?.isEncrypted()) return { edited, sealed: "no" };
    const info = asks ? await engine.client.getCrypto()?.getEncryptionInfoForEvent(event).catch(() => null) : null;
    if (!info) return { edited, sealed: "unknown" };
    const { shieldReason: why } = info;
    return { edited, sealed: why === null || why === NOT_CONFIRMED ? "proven" : why === NOT_GUARANTEED ? "restored" : "doubtful" };
}
