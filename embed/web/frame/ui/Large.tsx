import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/t.ts";
import { IconButton } from "./parts.tsx";

/** The picture over everything; Esc closes it and gives the focus back. */
export function Large({ source, name, close, save }: { source: string; name: string; close: () => void; save: () => void }): JSX.Element {
    const dialog = useRef<HTMLDialogElement>(null);
    useEffect(() => dialog.current?.showModal(), []);
    return (
        <dialog class="large" ref={dialog} aria-label={name} onClose={close} onClick={() => dialog.current?.close()}>
            <img src={source} alt={name} />
            <div class="tools" onClick={(event) => event.stopPropagation()}>
                <IconButton icon="download" label={t("download")} onClick={save} />
                <IconButton icon="x" label={t("cancel")} onClick={() => dialog.current?.close()} />
            </div>
        </dialog>
    );
}
