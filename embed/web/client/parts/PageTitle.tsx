// Headings of pages that stand beside the list. On a telephone the list, whose heading is the page's first, is not there.

import type { ComponentChildren, JSX } from "preact";
import { phone } from "../stores/ui.ts";

export function PageTitle({ children }: { children: ComponentChildren }): JSX.Element {
    const Tag = phone.value ? "h1" : "h2";
    return <Tag class="h2">{children}</Tag>;
}

/** One that is read out only; no `h1`, which a new page gives the focus. */
export function PhoneTitle({ children }: { children: ComponentChildren }): JSX.Element | null {
    return phone.value ? <div class="vh" role="heading" aria-level={1}>{children}</div> : null;
}
