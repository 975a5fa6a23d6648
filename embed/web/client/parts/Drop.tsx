// Files that are dragged over a conversation, and let go there.

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { addFiles } from "../stores/uploads.ts";

export type Listeners = Partial<Record<"onDragEnter" | "onDragLeave" | "onDragOver" | "onDrop", (event: DragEvent) => void>>;

const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;

/** What to put on the pane of a draft, if one may write there, and what is shown in it while files are above it. */
export function useDrop(draft: string, name: string, may: boolean): [Listeners, JSX.Element | false] {
    const [over, setOver] = useState(false);
    // Each part of the pane is entered and left by itself.
    const depth = useRef(0);
    if (!may) return [{}, false];
    const on: Listeners = {
        onDragEnter: (event) => {
            if (!hasFiles(event)) return;
            depth.current++;
            setOver(true);
        },
        onDragLeave: (event) => {
            if (hasFiles(event) && --depth.current <= 0) setOver(false);
        },
        onDragOver: (event) => {
            if (hasFiles(event)) event.preventDefault();
        },
        onDrop: (event) => {
            if (!hasFiles(event)) return;
            event.preventDefault();
            depth.current = 0;
            setOver(false);
            addFiles(draft, [...(event.dataTransfer?.files ?? [])]);
        },
    };
    return [on, over && <div class="drop"><Icon name="image-up" /><b>{t("upload.drop", { name })}</b></div>];
}
