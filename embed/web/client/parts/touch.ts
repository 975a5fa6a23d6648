// Fingers on messages: a long press opens the sheet of what can be done, a pull to the side answers.

import type { Message } from "../sdk/types.ts";
import type { RoomView } from "../stores/room.ts";
import type { Actions } from "./Message.tsx";

const HOLD_MS = 500;
/** So far a finger trembles. */
const STILL_PX = 10;
/** So far a message is to be pulled. */
export const PULL_PX = 56;
const MOST_PX = 80;

export interface Meaning<What> {
    hold: (what: What) => void;
    /** How far it is pulled by now; 0 when it is let go. */
    pull: (what: What, px: number) => void;
    answer: (what: What) => void;
}

/** Tells a long press, a pull and what the browser makes of it (scrolling) apart. `side` is -1 where one pulls to the left. */
export class Finger<What> {
    #at: { what: What; x: number; y: number; pulled: number } | undefined;
    #timer: ReturnType<typeof setTimeout> | undefined;

    readonly #mean: Meaning<What>;
    readonly #side: number;

    constructor(mean: Meaning<What>, side = -1) {
        this.#mean = mean;
        this.#side = side;
    }

    down(what: What, x: number, y: number): void {
        this.cancel();
        this.#at = { what, x, y, pulled: 0 };
        this.#timer = setTimeout(() => {
            this.#at = undefined;
            this.#mean.hold(what);
        }, HOLD_MS);
    }

    move(x: number, y: number): void {
        const at = this.#at;
        if (!at) return;
        const along = (x - at.x) * this.#side, across = Math.abs(y - at.y);
        if (at.pulled === 0 && Math.max(Math.abs(along), across) <= STILL_PX) return;
        clearTimeout(this.#timer);
        if (at.pulled === 0 && along <= across) this.#at = undefined;
        else this.#mean.pull(at.what, (at.pulled = Math.max(0.1, Math.min(along, MOST_PX))));
    }

    up(): void {
        const at = this.#at;
        this.cancel();
        if (at && at.pulled >= PULL_PX) this.#mean.answer(at.what);
    }

    cancel(): void {
        clearTimeout(this.#timer);
        if (this.#at?.pulled) this.#mean.pull(this.#at.what, 0);
        this.#at = undefined;
    }
}

/** Listen to fingers on the messages in `box` until the answer is called. */
export function listen(box: HTMLElement, view: RoomView, actions: Actions): () => void {
    let held = false;
    const messageOf = (row: HTMLElement): Message | undefined => view.items.value.find((item): item is Message => item.kind === "message" && item.key === row.dataset["key"]);
    const side = getComputedStyle(box).direction === "rtl" ? 1 : -1;
    const finger = new Finger<HTMLElement>({
        hold: (row) => {
            const message = messageOf(row);
            if (!message) return;
            held = true;
            actions.menu(message, (row.querySelector(".bub") ?? row).getBoundingClientRect(), true);
        },
        pull: (row, px) => {
            if (!actions.mayReact || !messageOf(row)) return;
            row.style.translate = px ? `${px * side}px` : "";
            row.classList.toggle("pulled", px >= PULL_PX);
        },
        answer: (row) => {
            const message = messageOf(row);
            if (message && actions.mayReact) actions.reply(message);
        },
    }, side);
    const stop = new AbortController();
    const on = (name: string, run: (event: PointerEvent) => void): void => box.addEventListener(name, (event) => run(event as PointerEvent), { capture: true, signal: stop.signal });
    on("pointerdown", (event) => {
        held = false;
        const target = event.target as Element;
        const row = target.closest<HTMLElement>("li.msg");
        // A link keeps the browser's own menu, and a second finger is the browser's.
        if (event.pointerType === "touch" && event.isPrimary && row && !target.closest("a, audio, .rx")) finger.down(row, event.clientX, event.clientY);
        else finger.cancel();
    });
    on("pointermove", (event) => event.isPrimary && finger.move(event.clientX, event.clientY));
    on("pointerup", () => finger.up());
    on("pointercancel", () => finger.cancel());
    // The finger that opened the sheet presses nothing when it is lifted.
    on("click", (event) => {
        if (!held) return;
        held = false;
        event.preventDefault();
        event.stopPropagation();
    });
    box.classList.add("fingers");
    return () => {
        stop.abort();
        finger.cancel();
    };
}
