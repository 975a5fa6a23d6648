/** Types of ws.mjs. */
export type Status = "connecting" | "streaming" | "waiting" | "polling" | "closed";
export interface Options {
    fetch?: typeof fetch;
    WebSocket?: typeof WebSocket;
    onstatus?: (status: Status) => void;
}
export class StreamSync {
    stats: { sockets: number; updates: number; polls: number };
    readonly status: Status;
    onstatus: ((status: Status) => void) | undefined;
    constructor(options?: Options);
    fetch: typeof fetch;
    close(): void;
    dispose(): void;
}
