// What is said of a file before it is sent, and how it goes out.

import type { Engine } from "./engine.ts";
import { withoutExif } from "./exif.ts";
import type { Entry } from "./entry.ts";
import { look } from "./pictures.ts";
import { encrypt } from "./sealing.ts";
import type { Seen, Wish } from "./smaller.ts";
import { clean } from "./text.ts";
import { uploadBlob } from "./upload.ts";

type Content = Record<string, unknown>;
const PICTURE = /^image\/(png|jpeg|gif|webp|avif)$/;

interface Film {
    source: ImageBitmap;
    seconds: number;
}

/** The first picture of a film, its size and its length. */
async function poster(file: Blob): Promise<Film | undefined> {
    const video = document.createElement("video");
    video.muted = true;
    video.preload = "auto";
    video.src = URL.createObjectURL(file);
    try {
        await new Promise<void>((done, fail) => {
            video.onloadeddata = () => done();
            video.onerror = () => fail(new Error("no film"));
            setTimeout(() => fail(new Error("too slow")), 10_000);
        });
        return { source: await createImageBitmap(video), seconds: video.duration };
    } catch {
        return undefined;
    }
}

async function measured(file: Blob, kind: string, wish: Wish): Promise<{ picture: Seen | undefined; seconds: number | undefined }> {
    if (kind === "image") return { picture: await look(file, wish), seconds: undefined };
    const film = kind === "video" ? await poster(file) : undefined;
    return { picture: film && (await look(film.source, wish)), seconds: film?.seconds };
}

/** The content of the message, without an address yet, and the bytes to send. */
export async function describe(file: File): Promise<{ content: Content; blob: Blob }> {
    const kind = PICTURE.test(file.type) ? "image" : file.type.startsWith("video/") ? "video" : file.type.startsWith("audio/") ? "audio" : "file";
    const name = clean(file.name, 200) || "file";
    const blob = await withoutExif(file);
    const info: Content = { mimetype: file.type || "application/octet-stream", size: blob.size };
    const { picture, seconds } = await measured(blob, kind, "hash");
    if (picture) Object.assign(info, { w: picture.width, h: picture.height, "xyz.amorgan.blurhash": picture.hash });
    if (seconds !== undefined && Number.isFinite(seconds)) info["duration"] = Math.round(seconds * 1000);
    return { content: { msgtype: `m.${kind}`, body: name, filename: name, info }, blob };
}

/** Upload an entry's file, encrypted if the room is, and put the address into its content. */
export async function sendEntryFile(engine: Engine, entry: Entry, onprogress: () => void, signal: AbortSignal): Promise<void> {
    const upload = entry.upload;
    if (!upload) return;
    const encrypted = engine.room(entry.room)?.hasEncryptionStateEvent() ?? false;
    const progress = (part: number): void => {
        upload.progress = part;
        onprogress();
    };
    const info = entry.content["info"] as Content;
    const kind = String(entry.content["msgtype"]).slice(2);
    const thumb = encrypted || kind === "video" ? (await measured(upload.blob, kind, "thumb")).picture?.thumb : undefined;
    if (thumb) {
        const sealed = encrypted ? await encrypt(thumb) : undefined;
        const url = await uploadBlob(engine, sealed?.blob ?? thumb, { signal });
        Object.assign(info, { thumbnail_info: { mimetype: "image/jpeg", size: thumb.size } }, sealed ? { thumbnail_file: { ...sealed.file, url } } : { thumbnail_url: url });
    }
    const sealed = encrypted ? await encrypt(upload.blob) : undefined;
    const url = await uploadBlob(engine, sealed?.blob ?? upload.blob, { signal, onprogress: progress, ...(!sealed && { name: upload.name, type: String(info["mimetype"]) }) });
    if (sealed) entry.content["file"] = { ...sealed.file, url };
    else entry.content["url"] = url;
}
