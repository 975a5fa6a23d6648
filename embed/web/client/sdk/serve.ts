// The other side of beside.ts: the module that does the work answers, where it runs as a worker.

interface Scope {
    onmessage: (event: MessageEvent<{ id: number; work: never }>) => void;
    postMessage(answer: object): void;
}

export function serve(run: (work: never) => Promise<unknown>): void {
    if (typeof document !== "undefined" || typeof postMessage !== "function") return;
    const scope = globalThis as unknown as Scope;
    scope.onmessage = ({ data: { id, work } }) => void run(work).then((done) => scope.postMessage({ id, done }), (error: unknown) => scope.postMessage({ id, error: String(error) }));
}
