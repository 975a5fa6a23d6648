// Work beside the page, by a module that runs as a worker too and knows its own address. Where no worker can be had, or
// it ends, the page does the work itself.

import { scriptAddress } from "./scripts.ts";

interface Answer<Done> {
    id: number;
    done?: Done;
    error?: string;
}
type Run<Work, Done> = (work: Work) => Promise<Done>;

/** For the page: asks a worker of the module that `load` brings, which is a file of its own: the worker loads it as well. */
export function beside<Work, Done>(load: () => Promise<{ address: string; run: Run<Work, Done> }>): Run<Work, Done> {
    const waiting = new Map<number, { done: (value: Done) => void; fail: (error: Error) => void; here: () => void }>();
    let worker: Worker | null | undefined;
    let last = 0;

    function begin(address: string): Worker | null {
        try {
            const made = new Worker(scriptAddress(address), { type: "module" });
            made.onmessage = ({ data: { id, done, error } }: MessageEvent<Answer<Done>>) => {
                const one = waiting.get(id);
                waiting.delete(id);
                if (error === undefined) one?.done(done as Done);
                else one?.fail(new Error(error));
            };
            made.onerror = () => {
                worker = null;
                for (const { here } of waiting.values()) here();
                waiting.clear();
            };
            return made;
        } catch {
            return null;
        }
    }

    return async (work) => {
        const { address, run } = await load();
        if (worker === undefined) worker = begin(address);
        if (!worker) return run(work);
        const id = ++last;
        // What the worker could not do the page could not either; only of one that ended the work is done here.
        const asked = new Promise<Done>((done, fail) => waiting.set(id, { done, fail, here: () => void run(work).then(done, fail) }));
        worker.postMessage({ id, work });
        return asked;
    };
}
