// Files that visitors send, from the moment they are chosen: kept until they are uploaded, pictures without what cameras
// write into them, films with a still. Loaded when the conversation is there. It imports nothing that the frame has, so
// that that stays in one piece.

import { encode } from "blurhash";
import type { sealing } from "./files.ts";
import type { Entry, Outbox } from "./outbox.ts";

const WORDS: Record<string, [loose: string, full: string]> = {
    en: ["Keep this page open: the browser does not keep the file.", "Too many files are waiting."],
    uk: ["Не закривайте сторінку: браузер не зберігає файл.", "Забагато файлів чекає."],
    de: ["Lassen Sie diese Seite offen: Der Browser bewahrt die Datei nicht auf.", "Zu viele Dateien warten."],
    pl: ["Nie zamykaj tej strony: przeglądarka nie przechowuje pliku.", "Zbyt wiele plików czeka."],
    ar: ["أبقِ هذه الصفحة مفتوحة: المتصفح لا يحتفظ بالملف.", "عدد كبير جدًا من الملفات في الانتظار."],
};
const MOST = 10;
const MOST_BYTES = 100 * 1024 * 1024;
const KEPT_MS = 86_400_000;
const REDRAWN = new Set(["image/jpeg", "image/png", "image/webp"]);
const MOST_PIXELS = 40_000_000;
/** What stands in for films and large pictures is as large at most as that of the web client; what is seen of them before, too. */
const STILL: [number, number] = [800, 600];
const HASHED: [number, number] = [32, 32];
/** So long a film may take to show its first picture. */
const PATIENCE_MS = 10_000;

/** What it needs of the frame. */
export interface Tools {
    site: string;
    locale: string;
    plain: (text: unknown) => string;
    unnamed: string;
    post: (address: string, options: RequestInit) => Promise<Record<string, unknown>>;
    /** The error for a file that is lost. */
    lost: () => Error;
    sealing: typeof sealing;
}
interface Kept {
    at: number;
    file: Blob;
}

const here = new Map<string, Blob>();
const going = new Map<string, AbortController>();

/** One request to what this browser keeps; refused where it keeps nothing. */
function stored<T>(site: string, mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    return new Promise<T>((done, fail) => {
        // With a session all of its databases go (chat.ts), by their names.
        const opening = indexedDB.open(`hromada:${site}:files`, 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore("files");
        opening.onerror = () => fail(opening.error ?? new Error("no storage"));
        opening.onsuccess = () => {
            const db = opening.result;
            const doing = db.transaction("files", mode);
            const asked = act(doing.objectStore("files"));
            doing.oncomplete = () => (db.close(), done(asked.result));
            doing.onabort = () => (db.close(), fail(doing.error ?? new Error("no room")));
        };
    });
}

/** Send a file as soon as that can be done. Why it is not taken; nothing if it is. */
export async function take(box: Outbox, file: File, { site, locale, plain, unnamed }: Tools): Promise<string> {
    const [loose, full] = WORDS[locale] ?? WORDS.en!;
    const waiting = box.entries.filter(({ parcel }) => parcel);
    const bytes = waiting.reduce((sum, { content }) => sum + (content.info as { size: number }).size, file.size);
    if (waiting.length >= MOST || bytes > MOST_BYTES) return full;
    const name = plain(file.name).slice(0, 120) || unnamed;
    const content = { msgtype: "m.file", body: name, filename: name, info: { mimetype: file.type || "application/octet-stream", size: file.size } };
    const entry = box.add("m.room.message", content, true);
    if (!entry) return full;
    here.set(entry.txn, file);
    try {
        await stored(site, "readwrite", (store) => store.put({ at: Date.now(), file } satisfies Kept, entry.txn));
        if (!here.has(entry.txn)) drop(site, entry.txn); // it went meanwhile
    } catch {
        entry.loose = loose;
        box.keep();
    }
    return "";
}

/** Forget a file: it has arrived, or is not to go. */
export function drop(site: string, txn: string): void {
    here.delete(txn);
    going.get(txn)?.abort();
    stored(site, "readwrite", (store) => store.delete(txn)).catch(() => undefined);
}

/** Forget what nobody asks for any more: pages that ended before they could. */
export function sweep(site: string): void {
    stored(site, "readwrite", (store) => {
        const each = store.openCursor();
        each.onsuccess = () => {
            const cursor = each.result;
            if (!cursor) return;
            if (Date.now() - (cursor.value as Kept).at > KEPT_MS) cursor.delete();
            cursor.continue();
        };
        return each;
    }).catch(() => undefined);
}

interface Shape {
    file: Blob;
    info?: Record<string, unknown>;
    /** What stands in for it until it is loaded. */
    still?: { blob: Blob; w: number; h: number } | undefined;
}

function painted(source: CanvasImageSource, w: number, h: number, most: [number, number]): HTMLCanvasElement {
    const scale = Math.min(1, most[0] / w, most[1] / h);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(w * scale));
    canvas.height = Math.max(1, Math.round(h * scale));
    canvas.getContext("2d")?.drawImage(source, 0, 0, canvas.width, canvas.height);
    return canvas;
}
const written = (canvas: HTMLCanvasElement, type: string, quality: number): Promise<Blob | null> => new Promise((done) => canvas.toBlob(done, type, quality));

/** Its size, and a few colours to be shown before it comes. */
function measured(source: CanvasImageSource, w: number, h: number): Record<string, unknown> {
    const canvas = painted(source, w, h, HASHED);
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d")?.getImageData(0, 0, width, height).data;
    return { w, h, ...(pixels && { "xyz.amorgan.blurhash": encode(pixels, width, height, 4, 3) }) };
}
async function stillOf(source: CanvasImageSource, w: number, h: number): Promise<Shape["still"]> {
    const canvas = painted(source, w, h, STILL);
    const blob = await written(canvas, "image/jpeg", 0.8);
    return blob ? { blob, w: canvas.width, h: canvas.height } : undefined;
}

/** A picture drawn anew has no place, no camera and no owner in it. Of an encrypted one the server makes no smaller one. */
async function picture(file: Blob, sealed: boolean): Promise<Shape> {
    const bitmap = await createImageBitmap(file);
    const { width: w, height: h } = bitmap;
    const info = measured(bitmap, w, h);
    const still = sealed && (w > STILL[0] || h > STILL[1]) ? await stillOf(bitmap, w, h) : undefined;
    if (!REDRAWN.has(file.type) || w * h > MOST_PIXELS) return { file, info, still };
    return { file: (await written(painted(bitmap, w, h, [w, h]), file.type, 0.9)) ?? file, info, still };
}

/** A film's size, length and first picture, as far as this browser plays it. */
async function film(file: Blob): Promise<Shape> {
    const video = document.createElement("video");
    const source = URL.createObjectURL(file);
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: source });
    try {
        await new Promise<unknown>((done, fail) => {
            video.onloadeddata = done;
            video.onerror = fail;
            setTimeout(fail, PATIENCE_MS);
            video.play().catch(() => undefined); // telephones load nothing before
        });
        video.pause();
        const { videoWidth: w, videoHeight: h, duration } = video;
        const info = { ...measured(video, w, h), ...(Number.isFinite(duration) && { duration: Math.round(duration * 1000) }) };
        return { file, info, still: await stillOf(video, w, h) };
    } finally {
        video.removeAttribute("src");
        video.load();
        URL.revokeObjectURL(source);
    }
}

async function look(file: Blob, sealed: boolean): Promise<Shape> {
    const kind = file.type.split("/")[0];
    try {
        if (kind === "image") return await picture(file, sealed);
        if (kind === "video") return await film(file);
    } catch {
        // It is sent as it is.
    }
    return { file };
}

/** Upload a file; the content of the message that shows it. */
export async function deliver({ txn, content: { body, info } }: Entry, { site, post, lost, sealing }: Tools): Promise<Record<string, unknown>> {
    const kept = here.get(txn) ?? (await stored(site, "readonly", (store) => store.get(txn) as IDBRequest<Kept | undefined>).catch(() => undefined))?.file;
    if (!kept) throw lost();
    if (sealing.wanted && !sealing.device) throw new TypeError("no keys");
    const { file, info: seen, still } = await look(kept, sealing.wanted);
    const name = String(body);
    const type = (info as { mimetype: string }).mimetype;
    const abort = new AbortController();
    going.set(txn, abort);
    /** Upload something, encrypted if the conversation is; where a message says it is, by these two names. */
    const upload = async (blob: Blob, type: string, names: [plain: string, sealed: string], query = ""): Promise<Record<string, unknown>> => {
        const closed = sealing.wanted ? sealing.device?.seal(new Uint8Array(await blob.arrayBuffer())) : undefined;
        const headers = { "Content-Type": closed ? "application/octet-stream" : type };
        const options = { method: "POST", body: (closed?.bytes as BodyInit | undefined) ?? blob, headers, signal: abort.signal };
        const { content_uri: url } = await post(`/_matrix/media/v3/upload${closed ? "" : query}`, options);
        return closed ? { [names[1]]: { ...closed.info, url } } : { [names[0]]: url };
    };
    try {
        const place = await upload(file, type, ["url", "file"], `?filename=${encodeURIComponent(name)}`);
        let shown = {};
        if (still) {
            // Where the site takes no such pictures, or no more of them today, the film goes without.
            const { blob, ...size } = still;
            const there = await upload(blob, blob.type, ["thumbnail_url", "thumbnail_file"]).catch(() => null);
            if (there) shown = { ...there, thumbnail_info: { mimetype: blob.type, size: blob.size, ...size } };
        }
        const kind = type.split("/")[0] ?? "";
        const msgtype = kind === "image" || kind === "video" || kind === "audio" ? `m.${kind}` : "m.file";
        return { msgtype, body: name, filename: name, ...place, info: { mimetype: type, size: file.size, ...seen, ...shown } };
    } finally {
        going.delete(txn);
    }
}
