// What is said of a file before it is sent.

import { clean } from "./text.ts";

type Content = Record<string, unknown>;

/** The content of the message, without an address yet. */
export async function describe(file: File): Promise<Content> {
    const kind = /^image\/(png|jpeg|gif|webp|avif)$/.test(file.type) ? "image" : /^video\//.test(file.type) ? "video" : /^audio\//.test(file.type) ? "audio" : "file";
    const name = clean(file.name, 200) || "file";
    const info: Content = { mimetype: file.type || "application/octet-stream", size: file.size };
    if (kind === "image") {
        const bitmap = await createImageBitmap(file).catch(() => undefined);
        if (bitmap) Object.assign(info, { w: bitmap.width, h: bitmap.height });
        bitmap?.close();
    }
    return { msgtype: `m.${kind}`, body: name, filename: name, info };
}
