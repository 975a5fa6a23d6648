// Files under a key of their own: AES-256-CTR, checked by SHA-256 before a byte of them is used. The same file runs as a
// worker, so that a page does not hold the bytes twice (beside.ts).
// spec: client-server-api#sending-encrypted-attachments

import { serve } from "./serve.ts";
import type { EncryptedFile } from "./types.ts";

export type Sealed = Omit<EncryptedFile, "url">;
/** With `file` it is opened, as this type; without, it is closed under a new key, which is told. */
export interface Work {
    blob: Blob;
    file?: Sealed;
    type?: string;
}
export interface Done {
    blob: Blob;
    file?: Sealed;
}

export const address = import.meta.url;

const toBase64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replace(/=+$/, "");
const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
// Half of the block counts, so that the counter cannot run into the other half.
const CTR = { name: "AES-CTR", length: 64 } as const;
const BYTES = "application/octet-stream";

async function encrypt(plain: Blob): Promise<Done> {
    const key = await crypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const counter = new Uint8Array(16);
    crypto.getRandomValues(counter.subarray(0, 8));
    const data = await crypto.subtle.encrypt({ ...CTR, counter }, key, await plain.arrayBuffer());
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const jwk = await crypto.subtle.exportKey("jwk", key);
    return {
        blob: new Blob([data], { type: BYTES }),
        file: { v: "v2", key: { ...jwk, key_ops: ["encrypt", "decrypt"], ext: true }, iv: toBase64(counter), hashes: { sha256: toBase64(hash) } },
    };
}

async function decrypt(closed: Blob, file: Sealed, type: string): Promise<Blob> {
    const data = await closed.arrayBuffer();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    if (toBase64(hash) !== file.hashes["sha256"]?.replace(/=+$/, "")) throw new Error("the file was changed on its way");
    const key = await crypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
    return new Blob([await crypto.subtle.decrypt({ ...CTR, counter: fromBase64(file.iv) }, key, data)], { type });
}

/** Throws if the bytes are not those that were sent. */
export const run = async ({ blob, file, type = BYTES }: Work): Promise<Done> => (file ? { blob: await decrypt(blob, file, type) } : encrypt(blob));

serve(run);
