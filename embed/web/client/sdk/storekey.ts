// What the store of encryption lies under on this browser's disk: 32 bytes that are kept only sealed, by a key that no
// script can read. Taken along, the files of the store open nowhere else.

import * as kv from "../../core/kv.ts";

interface Kept {
    key: CryptoKey;
    iv: Uint8Array<ArrayBuffer>;
    sealed: ArrayBuffer;
}
const AES = "AES-GCM";

/** Whether the database is there. None is made by looking. */
const exists = (name: string): Promise<boolean> =>
    new Promise((done, failed) => {
        const open = indexedDB.open(name);
        let fresh = false;
        open.onupgradeneeded = () => {
            fresh = true;
            open.transaction?.abort();
        };
        open.onsuccess = () => {
            open.result.close();
            done(true);
        };
        open.onerror = () => (fresh ? done(false) : failed(new Error("the databases cannot be opened")));
    });

/**
 * The key of a user's store. Undefined for one from before there were keys: it cannot be put under one, and goes with its
 * session. Throws if the key of a store is lost.
 */
export async function storeKey(user: string, store: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const name = `crypto-key ${user}`;
    const kept = await kv.get<Kept>("kv", name);
    if (kept) return new Uint8Array(await crypto.subtle.decrypt({ name: AES, iv: kept.iv }, kept.key, kept.sealed));
    if (await exists(`${store}::matrix-sdk-crypto-meta`)) throw new Error("the key of the store is lost");
    if (!(await kv.lasting()) || (await exists(`${store}::matrix-sdk-crypto`))) return undefined;
    const key = await crypto.subtle.generateKey({ name: AES, length: 256 }, false, ["encrypt", "decrypt"]);
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    const iv = crypto.getRandomValues(new Uint8Array(12));
    await kv.put("kv", name, { key, iv, sealed: await crypto.subtle.encrypt({ name: AES, iv }, key, bytes) } satisfies Kept);
    return bytes;
}
