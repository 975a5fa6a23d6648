// The worker that makes pictures smaller. Where it cannot be had, or ends, the page does it.

import { scriptAddress } from "./scripts.ts";
import type { Seen, Wish } from "./smaller.ts";

interface Answer {
    id: number;
    seen?: Seen;
    error?: string;
}
const waiting = new Map<number, { done: (seen: Seen | undefined) => void; fail: (error: Error) => void }>();
let worker: Worker | null | undefined;
let last = 0;

function begin(address: string): Worker | null {
    try {
        const made = new Worker(scriptAddress(address), { type: "module" });
        made.onmessage = ({ data: { id, seen, error } }: MessageEvent<Answer>) => {
            const one = waiting.get(id);
            waiting.delete(id);
            if (error === undefined) one?.done(seen);
            else one?.fail(new Error(error));
        };
        made.onerror = () => {
            worker = null;
            for (const { fail } of waiting.values()) fail(new Error("no worker"));
            waiting.clear();
        };
        return made;
    } catch {
        return null;
    }
}

/** The size of a picture, and what else is wished; undefined for what is no picture. */
export async function look(source: Blob | ImageBitmap, wish: Wish): Promise<Seen | undefined> {
    // Its own file, and not part of another: the worker loads it as well.
    const { address, see } = await import("./smaller.ts");
    if (worker === undefined) worker = begin(address);
    if (!worker) return see(source, wish);
    const id = ++last;
    const asked = new Promise<Seen | undefined>((done, fail) => waiting.set(id, { done, fail }));
    worker.postMessage({ id, source, wish });
    return asked.catch(() => see(source, wish));
}
