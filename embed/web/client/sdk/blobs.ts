// Bytes that cannot be addressed: encrypted files, and all media where the browser refuses the cookie.

import type { Engine } from "./engine.ts";
import { address } from "./media.ts";
import { decrypt } from "./sealing.ts";
import type { EncryptedFile } from "./types.ts";

/** Only these are shown; what claims to be anything else becomes bytes to download. */
const SHOWN = /^(image\/(png|jpeg|gif|webp|avif)|video\/(mp4|webm)|audio\/(mpeg|ogg|wav|mp4|webm))$/;
const MOST_ENTRIES = 300;
const MOST_BYTES = 200e6;

interface Kept {
    url: Promise<string>;
    size: number;
}
const kept = new Map<string, Kept>();

function trim(): void {
    let bytes = [...kept.values()].reduce((sum, { size }) => sum + size, 0);
    for (const [key, { url, size }] of kept) {
        if (kept.size <= MOST_ENTRIES && bytes <= MOST_BYTES) return;
        kept.delete(key);
        bytes -= size;
        void url.then((each) => URL.revokeObjectURL(each), () => undefined);
    }
}

async function fetched(engine: Engine, mxc: string, onprogress?: (part: number) => void): Promise<Blob> {
    const where = address(mxc);
    if (!where) throw new Error("no media id");
    const response = await engine.tokens.fetch(where);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const total = Number(response.headers.get("Content-Length"));
    if (!response.body || !total || !onprogress) return response.blob();
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        size += value.length;
        onprogress(size / total);
    }
    return new Blob(parts);
}

/** The file as an object URL that lives until it is pushed out by newer ones. Throws if it cannot be had or was changed. */
export function blobUrl(engine: Engine, source: { url: string | undefined; file: EncryptedFile | undefined }, type: string, onprogress?: (part: number) => void): Promise<string> {
    const mxc = source.file?.url ?? source.url ?? "";
    const known = kept.get(mxc);
    if (known) {
        kept.delete(mxc);
        kept.set(mxc, known);
        return known.url;
    }
    const entry: Kept = { size: 0, url: Promise.resolve("") };
    const shown = SHOWN.test(type) ? type : "application/octet-stream";
    entry.url = fetched(engine, mxc, onprogress).then(async (data) => {
        const plain = source.file ? await decrypt(data, source.file, shown) : data.slice(0, data.size, shown);
        entry.size = plain.size;
        trim();
        return URL.createObjectURL(plain);
    });
    entry.url.catch(() => kept.delete(mxc));
    kept.set(mxc, entry);
    return entry.url;
}
