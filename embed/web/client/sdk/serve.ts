// The other side of beside.ts: the module that does the work answers, where it runs as a worker.

interface Scope<Work> {
    onmessage: (event: MessageEvent<{ id: number; work: Work }>) => void;
    postMessage(answer: object): void;
}

export function serve<Work, Done>(run: (work: Work) => Promise<Done>): void {
    if (typeof document !== "undefined" || typeof postMessage !== "function") return;
    const scope = globalThis as unknown as Scope<Work>;
    scope.onmessage = ({ data: { id, work } }) => void run(work).then((done) => scope.postMessage({ id, done }), (error: unknown) => scope.postMessage({ id, error: String(error) }));
}
