// This client syncs over the stream (core/ws.mjs).
export class SlidingSyncSdk { constructor() { throw new Error("sliding sync is not built in"); } }
