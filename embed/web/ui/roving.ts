import type { RefObject } from "preact";
import { useLayoutEffect } from "preact/hooks";

interface Handlers {
    onFocusCapture: (event: FocusEvent) => void;
    onKeyDown: (event: KeyboardEvent) => void;
}

function settle(box: HTMLElement, selector: string, wanted?: HTMLElement): void {
    const all = [...box.querySelectorAll<HTMLElement>(selector)];
    const stop = wanted ?? all.find((each) => each.getAttribute("tabindex") === "0") ?? all.find((each) => each.ariaCurrent) ?? all[0];
    for (const each of all) {
        const index = each === stop ? "0" : "-1";
        if (each.getAttribute("tabindex") !== index) each.setAttribute("tabindex", index);
    }
}

/** One stop for Tab among what `selector` finds in the box; arrows, Home and End move inside. */
export function useRoving(box: RefObject<HTMLElement | null>, selector: string): Handlers {
    useLayoutEffect(() => {
        if (box.current) settle(box.current, selector);
    });
    return {
        onFocusCapture: ({ target, currentTarget }) => {
            const each = (target as Element).closest<HTMLElement>(selector);
            if (each) settle(currentTarget as HTMLElement, selector, each);
        },
        onKeyDown: (event) => {
            const rows = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>(selector)];
            const at = rows.indexOf(document.activeElement as HTMLElement);
            const to: Record<string, number> = { ArrowDown: Math.min(at + 1, rows.length - 1), ArrowUp: Math.max(at - 1, 0), Home: 0, End: rows.length - 1 };
            const next = to[event.key];
            if (next === undefined || at < 0 || event.altKey || event.ctrlKey) return;
            event.preventDefault();
            rows[next]?.focus();
        },
    };
}
