import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { size } from "../render/dates.ts";
import { clean } from "../sdk/text.ts";
import { announce, largest } from "../stores/app.ts";

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

export function pickFiles(got: (files: File[]) => void, accept = ""): void {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = accept;
    input.onchange = () => got([...(input.files ?? [])]);
    input.click();
}

export function UploadTray({ draft }: { draft: string }): JSX.Element {
    return (
        <div class="ups" role="list" aria-label={t("upload.label")}>
            {uploadsOf(draft).map(({ id, file, url, error }) => {
                const name = clean(file.name, 80);
                return (
                    <div class="up" role="listitem" key={id}>
                        <div class={error ? "th bad" : "th"}>{url ? <img src={url} alt="" /> : <Icon name={error ? "circle-alert" : "file-text"} />}</div>
                        <button type="button" class="x" aria-label={t("people.remove", { name })} onClick={() => dropFile(draft, id)}><Icon name="x" /></button>
                        <small class="cut">{name}</small>
                        <small class={error ? "bad" : ""}>{error ?? size(file.size)}</small>
                    </div>
                );
            })}
        </div>
    );
}
