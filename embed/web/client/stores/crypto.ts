// Encryption, where the server offers it. Its code and its wasm are loaded after the first paint.

import { signal } from "@preact/signals";
import type { App } from "./app.ts";

export type CryptoState = "off" | "loading" | "ready" | "broken";
export const cryptoState = signal<CryptoState>("off");
/** Whether this device is signed by its user; undefined while that is not known. */
export const confirmed = signal<boolean | undefined>(undefined);

/** Whether the server takes keys: then the SDK may start its machine. */
export async function prepareCrypto(app: App, fresh: "login" | "register" | undefined): Promise<void> {
    void app;
    void fresh;
    await Promise.resolve();
}
