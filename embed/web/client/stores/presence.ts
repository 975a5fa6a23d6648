// Who is online: asked for whom one looks at, since the server tells nobody unasked.

import { signal, useComputed } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../sdk/api.ts";
import { the } from "./app.ts";

const FRESH_MS = 60_000;
const REST_MS = 200;

const online = signal<ReadonlySet<string>>(new Set());
const asked = new Map<string, number>();
const waiting = new Set<string>();
let running = false;
let none = false;

/** One after the other, so that nothing else waits for it. */
async function run(): Promise<void> {
    if (running) return;
    running = true;
    for (const user of waiting) {
        waiting.delete(user);
        asked.set(user, Date.now());
        try {
            const { presence } = (await the().commands.request("GET", `/presence/${encodeURIComponent(user)}/status`)) as { presence?: string };
            const now = new Set(online.value);
            if (presence === "online" ? now.size < now.add(user).size : now.delete(user)) online.value = now;
        } catch (error) {
            // Of this person it is not told; of nobody, where the server has none.
            if (error instanceof ApiError && error.errcode === "M_UNRECOGNIZED") none = true;
        }
        if (none) waiting.clear();
    }
    running = false;
}

/** Whether somebody is online, while `seen`. */
export function useOnline(user: string, seen: boolean): boolean {
    useEffect(() => {
        if (!seen || none) return undefined;
        const look = (): void => {
            if (document.visibilityState !== "visible" || Date.now() - (asked.get(user) ?? 0) < FRESH_MS) return;
            waiting.add(user);
            void run();
        };
        // Who is only scrolled past is not asked for.
        const first = setTimeout(look, REST_MS), timer = setInterval(look, FRESH_MS);
        return () => {
            clearTimeout(first);
            clearInterval(timer);
            waiting.delete(user);
        };
    }, [user, seen]);
    return useComputed(() => online.value.has(user)).value;
}

/** Whether an element is in view, if it is `asked`. */
export function useSeen(box: RefObject<Element | null>, asked = true): boolean {
    const [seen, set] = useState(false);
    useEffect(() => {
        if (!box.current || !asked) return undefined;
        const watch = new IntersectionObserver((entries) => set(entries.at(-1)?.isIntersecting ?? false));
        watch.observe(box.current);
        return () => watch.disconnect();
    }, [asked]);
    return seen;
}
