import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n/t.ts";
import type { Props } from "./App.tsx";
import { IconButton, later } from "./parts.tsx";

const Items = later((rare) => rare.Items);

/** The button of the menu, and the menu. */
export function Menu(props: Props & { notice: (text: string) => void }): JSX.Element {
    const [open, show] = useState(false);
    const back = (): void => {
        show(false);
        document.querySelector<HTMLElement>(".opener")?.focus();
    };
    return (
        <>
            <IconButton icon="ellipsis" label={t("menu")} kind="opener" aria-expanded={open} onClick={() => show(!open)} />
            {open && <Items {...props} back={back} />}
        </>
    );
}
