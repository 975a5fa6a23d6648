// Files that wait beside a text that is not sent yet.

import { signal } from "@preact/signals";
import { t } from "../i18n/t.ts";
import { size } from "../render/dates.ts";
import { announce, largest } from "./app.ts";

/** A file that waits in the composer. */
export interface Waiting {
    id: number;
    file: File;
    url: string | undefined;
    error: string | undefined;
}

const waiting = signal<ReadonlyMap<string, readonly Waiting[]>>(new Map());
let count = 0;

export const uploadsOf = (draft: string): readonly Waiting[] => waiting.value.get(draft) ?? [];

/** Whether a file waits anywhere. */
export const uploading = (): boolean => waiting.value.size > 0;

function put(draft: string, list: readonly Waiting[]): void {
    const next = new Map(waiting.value);
    if (list.length > 0) next.set(draft, list);
    else next.delete(draft);
    waiting.value = next;
}

/** Put files beside the text; what is too large says so at once. */
export function addFiles(draft: string, files: readonly File[]): void {
    const made = files.slice(0, 20).map((file): Waiting => ({
        id: count++,
        file,
        url: /^image\/(png|jpeg|gif|webp|avif)$/.test(file.type) ? URL.createObjectURL(file) : undefined,
        error: largest.value !== undefined && file.size > largest.value ? t("upload.large", { size: size(largest.value) }) : undefined,
    }));
    put(draft, [...uploadsOf(draft), ...made]);
    announce(t("upload.added", { n: made.length }));
}

export function dropFile(draft: string, id: number): void {
    const found = uploadsOf(draft).find((each) => each.id === id);
    if (found?.url) URL.revokeObjectURL(found.url);
    put(draft, uploadsOf(draft).filter((each) => each.id !== id));
}

/** Take all that can be sent out of the tray. */
export function takeFiles(draft: string): readonly Waiting[] {
    const good = uploadsOf(draft).filter(({ error }) => !error);
    put(draft, uploadsOf(draft).filter(({ error }) => error));
    return good;
}
