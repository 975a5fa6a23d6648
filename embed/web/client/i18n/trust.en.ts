// What is said about people's identities and about the recovery key. It is loaded when there is something to say.

import type { Text } from "./t.ts";

export const trustEn = {
    "again": "Confirm again",
    "anyway": "Send anyway",
    "asked": "{name} asks to confirm each other: you compare emoji.",
    "asked-own": "Another device of yours asks to be confirmed",
    "check": "Check",
    "compare": "Compare",
    "confirm": "Confirm",
    "confirm-text": "You compare emoji, side by side or on a call.",
    "confirmed": "Confirmed",
    "confirmed-text": "You have compared emoji with {name}.",
    "decline": "Not now",
    "dismiss": "It is all right",
    "new": "{name} has a new identity. A new phone, most likely.",
    "new-confirmed": "{name} has a new identity",
    "new-confirmed-text": "It is not the one you confirmed: a new phone, or somebody who poses as {name}. Nothing is sent here until you decide.",
    "remind": "You have no recovery key yet",
    "remind-text": "Without it, losing your devices loses your encrypted messages.",
    "remind-yes": "Save a key",
} as const satisfies Record<string, Text>;

export type TrustKey = keyof typeof trustEn;
export type TrustTexts = { readonly [K in TrustKey]: Text };
