// Texts as a ZIP archive. The browser packs them, beside the page.

import { Zip, ZipPassThrough } from "fflate";

export interface Entry {
    name: string;
    text: string;
}

const DEFLATED = 8;

class Packed extends ZipPassThrough {
    override compression = DEFLATED;
    /** All of it is in the archive. */
    done: Promise<void> = Promise.resolve();

    protected override process(chunk: Uint8Array<ArrayBuffer>): void {
        const packed = new Blob([chunk]).stream().pipeThrough(new CompressionStream("deflate-raw"));
        this.done = new Response(packed).arrayBuffer().then((bytes) => this.ondata(null, new Uint8Array(bytes), true));
    }
}

/** Each entry is packed as it comes, so only the packed ones are held. */
export async function archive(entries: AsyncIterable<Entry> | Iterable<Entry>): Promise<Blob> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    const encoder = new TextEncoder();
    const zip = new Zip((error, chunk) => {
        if (error) throw error;
        parts.push(chunk);
    });
    for await (const { name, text } of entries) {
        const file = new Packed(name);
        zip.add(file);
        file.push(encoder.encode(text), true);
        await file.done;
    }
    zip.end();
    return new Blob(parts, { type: "application/zip" });
}
