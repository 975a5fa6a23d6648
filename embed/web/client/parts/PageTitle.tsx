// What a page is called: by its heading, and in the title of the window. Pages stand beside the list; on a telephone the
// list, whose heading is the page's first, is not there.

import type { ComponentChildren, JSX } from "preact";
import { useEffect } from "preact/hooks";
import { pageName, phone } from "../stores/ui.ts";

export function PageTitle({ children }: { children: ComponentChildren }): JSX.Element {
    const Tag = phone.value ? "h1" : "h2";
    return <Tag class="h2">{children}</Tag>;
}

/** One that is read out only; no `h1`, which a new page gives the focus. */
export function PhoneTitle({ children }: { children: ComponentChildren }): JSX.Element | null {
    return phone.value ? <div class="vh" role="heading" aria-level={1}>{children}</div> : null;
}

/** The window is called so while the page is there. */
export function useTitle(name: string): void {
    useEffect(() => {
        pageName.value = name;
        return () => void (pageName.value = "");
    }, [name]);
}
