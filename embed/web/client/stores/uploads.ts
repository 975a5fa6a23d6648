// Files that wait beside a text that is not sent yet. As many as can be kept lie on this browser's disk, so that a reload
// loses none of them; of others the browser warns.

import { signal } from "@preact/signals";
import * as kv from "../../core/kv.ts";
import { t } from "../i18n/t.ts";
import { size } from "../render/dates.ts";
import { announce, largest, toast } from "./app.ts";
import { kept } from "./attached.ts";

/** A file that waits in the composer. */
interface Waiting {
    id: string;
    file: File;
    url: string | undefined;
}
/** What is on the disk, and what other tabs are told. */
type Attached = readonly { draft: string; id: string; file: File }[];

/** So many are taken at once. */
const MOST = 20;

const waiting = signal<ReadonlyMap<string, readonly Waiting[]>>(new Map());
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("hromada.files") : undefined;

const filesOf = (draft: string): readonly Waiting[] => waiting.value.get(draft) ?? [];
const tooLarge = ({ size: bytes }: File): string | undefined => (largest.value !== undefined && bytes > largest.value ? t("upload.large", { size: size(largest.value) }) : undefined);

/** What waits beside the text, and why it cannot be sent. */
export const uploadsOf = (draft: string): readonly (Waiting & { error: string | undefined })[] => filesOf(draft).map((each) => ({ ...each, error: tooLarge(each.file) }));

/** Whether a file waits anywhere. */
export const uploading = (): boolean => waiting.value.size > 0;

const all = (): Attached => [...waiting.value].flatMap(([draft, list]) => list.map(({ id, file }) => ({ draft, id, file })));

/** Whether a file waits that a reload would lose. */
export const losing = (): boolean => kept(all()).length < all().length;

function put(draft: string, list: readonly Waiting[]): void {
    const next = new Map(waiting.value);
    if (list.length > 0) next.set(draft, list);
    else next.delete(draft);
    waiting.value = next;
}

/** The same, and the disk and other tabs are told. */
function change(draft: string, list: readonly Waiting[]): void {
    put(draft, list);
    void kv.put("kv", "attached", kept(all())).catch(() => undefined);
    channel?.postMessage({ draft, files: list.map(({ id, file }) => ({ draft, id, file })) });
}

const made = (id: string, file: File): Waiting => ({
    id,
    file,
    url: /^image\/(png|jpeg|gif|webp|avif)$/.test(file.type) ? URL.createObjectURL(file) : undefined,
});

/** Show `files` beside the text; those that are there already stay as they are. */
function show(draft: string, files: Attached): void {
    const before = filesOf(draft);
    for (const { id, url } of before) if (url && !files.some((each) => each.id === id)) URL.revokeObjectURL(url);
    put(draft, files.map(({ id, file }) => before.find((each) => each.id === id) ?? made(id, file)));
}

/** Take up what waited when the page went. */
export async function loadFiles(): Promise<void> {
    channel?.addEventListener("message", ({ data }: MessageEvent<{ draft: string; files: Attached }>) => show(data.draft, data.files));
    const found = (await kv.get<Attached>("kv", "attached").catch(() => undefined)) ?? [];
    for (const draft of new Set(found.map((each) => each.draft))) show(draft, found.filter((each) => each.draft === draft));
    for (const name of ["dragover", "drop"] as const) addEventListener(name, keepPage);
}

/** A browser opens a file in the place of the page when it is let go where nobody takes it. */
function keepPage(event: DragEvent): void {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
}

/** Put files beside the text; what is too large says so at once. */
export function addFiles(draft: string, files: readonly File[]): void {
    const more = files.slice(0, MOST).map((file) => made(crypto.randomUUID(), file));
    change(draft, [...filesOf(draft), ...more]);
    announce(t("upload.added", { n: more.length }));
    if (files.length > MOST) toast(t("upload.most", { n: MOST }));
}

export function dropFile(draft: string, id: string): void {
    const found = filesOf(draft).find((each) => each.id === id);
    if (found?.url) URL.revokeObjectURL(found.url);
    change(draft, filesOf(draft).filter((each) => each.id !== id));
}

/** Take all that can be sent out of the tray. On the disk they stay until `filesTaken`. */
export function takeFiles(draft: string): readonly Waiting[] {
    const good = filesOf(draft).filter(({ file }) => !tooLarge(file));
    put(draft, filesOf(draft).filter((each) => !good.includes(each)));
    return good;
}

/** What was taken is kept elsewhere by now. */
export const filesTaken = (draft: string): void => change(draft, filesOf(draft));

/** Files go along to the room that took this one's place. */
export function handFilesOn(from: string, to: string): void {
    const files = filesOf(from);
    if (files.length === 0 || filesOf(to).length > 0) return;
    change(to, files);
    change(from, []);
}
