import type { JSX } from "preact";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { size } from "../render/dates.ts";
import { clean } from "../sdk/text.ts";
import { attempt, the } from "../stores/app.ts";
import { dropFile, uploadsOf } from "../stores/uploads.ts";

export function pickFiles(got: (files: File[]) => void, accept = ""): void {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = accept;
    input.onchange = () => got([...(input.files ?? [])]);
    input.click();
}

/** Let somebody choose a picture, and upload it without what the camera wrote into it: `use` is given its address. */
export const pickPicture = (use: (url: string) => Promise<unknown>): void =>
    pickFiles(([file]) => {
        if (!file) return;
        void attempt(async () => {
            const [{ uploadBlob }, { withoutExif }] = await Promise.all([import("../sdk/upload.ts"), import("../sdk/exif.ts")]);
            await use(await uploadBlob(the().engine, await withoutExif(file), { type: file.type }));
        });
    }, "image/png,image/jpeg,image/webp");

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
