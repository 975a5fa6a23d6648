// Files under a key of their own: AES-256-CTR, checked by SHA-256 before a byte of them is used.
// spec: client-server-api#sending-encrypted-attachments

import type { EncryptedFile } from "./types.ts";

const toBase64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replace(/=+$/, "");
const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
// Half of the block counts, so that the counter cannot run into the other half.
const CTR = { name: "AES-CTR", length: 64 } as const;

export async function encrypt(plain: Blob): Promise<{ blob: Blob; file: Omit<EncryptedFile, "url"> }> {
    const key = await crypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const counter = new Uint8Array(16);
    crypto.getRandomValues(counter.subarray(0, 8));
    const data = await crypto.subtle.encrypt({ ...CTR, counter }, key, await plain.arrayBuffer());
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const jwk = await crypto.subtle.exportKey("jwk", key);
    return {
        blob: new Blob([data], { type: "application/octet-stream" }),
        file: { v: "v2", key: { ...jwk, key_ops: ["encrypt", "decrypt"], ext: true }, iv: toBase64(counter), hashes: { sha256: toBase64(hash) } },
    };
}

/** Throws if the bytes are not those that were sent. */
export async function decrypt(data: ArrayBuffer, file: EncryptedFile): Promise<ArrayBuffer> {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    if (toBase64(hash) !== file.hashes["sha256"]?.replace(/=+$/, "")) throw new Error("the file was changed on its way");
    const key = await crypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
    return crypto.subtle.decrypt({ ...CTR, counter: fromBase64(file.iv) }, key, data);
}
