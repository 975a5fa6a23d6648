// Files that visitors send: checked before anything goes out, pictures without what cameras write into them.

import { authed, Refused } from "./api.ts";
import { given } from "./given.ts";
import { t } from "./i18n/t.ts";
import { plain } from "./timeline.ts";
import type { Device } from "./crypto.ts";

const REDRAWN = new Set(["image/jpeg", "image/png", "image/webp"]);
const MOST_PIXELS = 40_000_000;

/** A size for people. */
export function bytes(size: number): string {
    const units = ["byte", "kilobyte", "megabyte"];
    const step = size < 1000 ? 0 : size < 1_000_000 ? 1 : 2;
    return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: units[step]!, unitDisplay: "short", maximumFractionDigits: 1 }).format(size / 1000 ** step);
}

/** How a file was encrypted.  spec: client-server-api#extensions-to-mroommessage-msgtypes */
export type Sealed = Record<string, unknown>;

/** What encrypts files, where the conversation is encrypted. */
export const sealing: { wanted: boolean; device: Device | null } = { wanted: false, device: null };

interface Shape {
    file: Blob;
    w?: number;
    h?: number;
}

/** A picture drawn anew has no place, no camera and no owner in it. */
async function clean(file: File): Promise<Shape> {
    if (!file.type.startsWith("image/")) return { file };
    try {
        const picture = await createImageBitmap(file);
        const { width: w, height: h } = picture;
        if (!REDRAWN.has(file.type) || w * h > MOST_PIXELS) return { file, w, h };
        const canvas = document.createElement("canvas");
        canvas.width = w;
        canvas.height = h;
        canvas.getContext("2d")?.drawImage(picture, 0, 0);
        const drawn = await new Promise<Blob | null>((done) => canvas.toBlob(done, file.type, 0.9));
        return { file: drawn ?? file, w, h };
    } catch {
        return { file };
    }
}

/** Upload a file; the content of the message that shows it. */
async function send(original: File): Promise<Record<string, unknown>> {
    const { file, w, h } = await clean(original);
    const name = plain(original.name).slice(0, 120) || t("file");
    const type = original.type || "application/octet-stream";
    let [data, sent, query]: [BodyInit, string, string] = [file, type, `?filename=${encodeURIComponent(name)}`];
    let sealed: Sealed | undefined;
    if (sealing.wanted) {
        if (!sealing.device) throw new TypeError("no keys");
        const closed = sealing.device.seal(new Uint8Array(await file.arrayBuffer()));
        sealed = closed.info;
        [data, sent, query] = [closed.bytes as BodyInit, "application/octet-stream", ""];
    }
    const response = await authed(`/_matrix/media/v3/upload${query}`, { method: "POST", body: data, headers: { "Content-Type": sent } });
    const body = (await response.json()) as { content_uri?: string; errcode?: string; error?: string; retry_after_ms?: number };
    if (!response.ok) throw new Refused(response.status, body.errcode ?? "", body.error ?? "", body.retry_after_ms ?? null, "", "");
    const kind = type.split("/")[0] ?? "";
    const msgtype = kind === "image" || kind === "video" || kind === "audio" ? `m.${kind}` : "m.file";
    const place = sealed ? { file: { ...sealed, url: body.content_uri } } : { url: body.content_uri };
    return { msgtype, body: name, filename: name, ...place, info: { mimetype: type, size: file.size, ...(w && { w, h }) } };
}

/** Why a file cannot be sent; nothing if it can. */
function refuses(file: File): string {
    if (!given.files.types.includes(file.type)) return t("badType");
    return file.size > given.files.max ? t("tooBig", { size: bytes(given.files.max) }) : "";
}

export const upload = Object.assign(send, { refuses });
