// What is open on top of the page.

import { signal } from "@preact/signals";
import type { Message } from "../sdk/types.ts";

export interface New {
    kind: "people" | "room" | "space";
    name?: string;
    /** The space that it is to be in; else the one whose rooms are listed. */
    parent?: string;
}
export const newDialog = signal<New["kind"] | New | undefined>(undefined);
/** The room in which a date is looked for. */
export const jumping = signal<string | undefined>(undefined);
export const switcher = signal(false);
export const keysHelp = signal(false);
/** A person whose card is open, with the room it was opened in. */
export const personCard = signal<{ user: string; room: string | undefined } | undefined>(undefined);
export const inviteTo = signal<string | undefined>(undefined);
/** A message of which everything is to be shown. */
export const details = signal<{ room: string; message: Message } | undefined>(undefined);
/** A message, else the room that it would be in, or a person. */
export const reporting = signal<{ room: string; message: Message | undefined } | { user: string } | undefined>(undefined);
export const lightbox = signal<{ room: string; thread: string | undefined; key: string } | undefined>(undefined);
/** A question before something that cannot be undone. */
export interface Question {
    title: string;
    text: string;
    yes: string;
    bad?: boolean;
    /** What had better be done before. */
    first?: { label: string; run: () => void } | undefined;
    run: () => void;
}
export const question = signal<Question | undefined>(undefined);
/** There is a field for messages, which one may skip to. */
export const composing = signal(false);
/** What the page that is shown calls itself in the window's title; empty where that is the open room. */
export const pageName = signal("");
/** A width below which one pane is shown at a time. */
export const phone = signal(false);

const query = globalThis.matchMedia?.("(width < 640px)");
if (query) {
    phone.value = query.matches;
    query.addEventListener("change", ({ matches }) => (phone.value = matches));
}
