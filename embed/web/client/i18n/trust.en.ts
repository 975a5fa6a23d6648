// What is said about people's identities and about the recovery key. It is loaded when there is something to say.

import type { Text } from "./t.ts";

export const trustEn = {
    "again": "Confirm again",
    "anyway": "Send anyway",
    "asked": "{name} asks to confirm each other: you compare emoji.",
    "asked-own": "Another device of yours asks to be confirmed",
    "changed": "A new identity",
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
    "closed": "Older messages are closed on this device.",
    "closed-confirm": "Confirm that it is you, and they open.",
    "closed-key": "Your recovery key opens them.",
    "open": "Open them",
    "locked.before": "Sent before you signed in here",
    "locked.never": "The key to this message has not come",
    "locked.not-joined": "It was sent before you joined.",
    "locked.patience": "Usually a few seconds. Nothing for you to do.",
    "locked.sender": "It was sent from a device that its owner has not confirmed.",
    "locked.run": { one: "{n} message from before you signed in here", other: "{n} messages from before you signed in here" },
    "locked.unconfirmed": "The sender does not send to unconfirmed devices.",
    "locked.waiting": "Waiting for the key to this message",
    "locked.withheld": "The sender chose not to share it with this device.",
} as const satisfies Record<string, Text>;

export type TrustKey = keyof typeof trustEn;
export type TrustTexts = { readonly [K in TrustKey]: Text };
