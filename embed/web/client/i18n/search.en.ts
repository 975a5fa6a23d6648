// What the page of search says. It is loaded with it; its keys are the type of all languages.

import type { Text } from "./t.ts";

export const searchEn = {
    "device": { one: "Encrypted rooms: {n} message that this device has read. The oldest: {day}.", other: "Encrypted rooms: {n} messages that this device has read. The oldest: {day}." },
    "device-none": "Encrypted rooms: this device has read no messages yet.",
    "device-off": "Encrypted rooms cannot be searched in this browser.",
    "everywhere": "Everywhere",
    "found": { one: "{n} found", other: "{n} found" },
    "further": "Search further back",
    "going": { one: "Reading older messages: {n} so far", other: "Reading older messages: {n} so far" },
    "here": "Here",
    "hint": "Type a word to search for.",
    "label": "Search messages",
    "locked": { one: "{n} of them could not be opened: this device has no key for it.", other: "{n} of them could not be opened: this device has no keys for them." },
    "off": "This server does not search messages.",
    "stop": "Stop",
    "title": "Search",
    "where": "Where to search",
} as const satisfies Record<string, Text>;

export type SearchKey = keyof typeof searchEn;
export type SearchTexts = { readonly [K in SearchKey]: Text };
