// Group calls are not part of this client yet.
export class MatrixRTCSessionManager { start(): void {} stop(): void {} on(): this { return this; } off(): this { return this; } }
export const MatrixRTCSessionManagerEvents = { SessionStarted: "SessionStarted", SessionEnded: "SessionEnded" };
