// Files that visitors send, from the moment they are chosen: kept until they are uploaded, pictures without what cameras
// write into them. Loaded when the conversation is there. It imports nothing, so that the frame stays in one piece.

import type { sealing, Sealed } from "./files.ts";
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
    w?: number;
    h?: number;
}

/** A picture drawn anew has no place, no camera and no owner in it. */
async function clean(file: Blob): Promise<Shape> {
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
export async function deliver({ txn, content: { body, info } }: Entry, { site, post, lost, sealing }: Tools): Promise<Record<string, unknown>> {
    const kept = here.get(txn) ?? (await stored(site, "readonly", (store) => store.get(txn) as IDBRequest<Kept | undefined>).catch(() => undefined))?.file;
    if (!kept) throw lost();
    const { file, w, h } = await clean(kept);
    const name = String(body);
    const type = (info as { mimetype: string }).mimetype;
    let [data, sent, query]: [BodyInit, string, string] = [file, type, `?filename=${encodeURIComponent(name)}`];
    let sealed: Sealed | undefined;
    if (sealing.wanted) {
        if (!sealing.device) throw new TypeError("no keys");
        const closed = sealing.device.seal(new Uint8Array(await file.arrayBuffer()));
        sealed = closed.info;
        [data, sent, query] = [closed.bytes as BodyInit, "application/octet-stream", ""];
    }
    const abort = new AbortController();
    going.set(txn, abort);
    try {
        const options = { method: "POST", body: data, headers: { "Content-Type": sent }, signal: abort.signal };
        const { content_uri: url } = await post(`/_matrix/media/v3/upload${query}`, options);
        const kind = type.split("/")[0] ?? "";
        const msgtype = kind === "image" || kind === "video" || kind === "audio" ? `m.${kind}` : "m.file";
        const place = sealed ? { file: { ...sealed, url } } : { url };
        return { msgtype, body: name, filename: name, ...place, info: { mimetype: type, size: file.size, ...(w && { w, h }) } };
    } finally {
        going.delete(txn);
    }
}
