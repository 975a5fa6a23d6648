import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

const places = new Map<string, number>();
const kept = new Map<string, unknown>();

/** As `useState`, and whoever comes back finds what they left. Nothing of it outlasts the page. */
export function useKept<T>(key: string, first: T): [T, (value: T) => void] {
    const [, draw] = useState(0);
    return [kept.has(key) ? (kept.get(key) as T) : first, (value) => {
        kept.set(key, value);
        draw((n) => n + 1);
    }];
}

/** A list that comes back is where it was left, as soon as it is long enough again. The answer is its onScroll. */
export function useScrolled(box: RefObject<HTMLElement | null>, key: string): (event: Event) => void {
    const done = useRef("");
    const place = (): void => {
        const list = box.current, top = places.get(key) ?? 0;
        if (!list || done.current === key || list.scrollHeight - list.clientHeight < top) return;
        done.current = key;
        list.scrollTop = top;
    };
    useLayoutEffect(place);
    // What it shows comes later, and from further in.
    useLayoutEffect(() => {
        const list = box.current;
        if (!list || done.current === key) return undefined;
        list.scrollTop = 0;
        const grown = new ResizeObserver(place);
        for (const part of list.children) grown.observe(part);
        return () => grown.disconnect();
    }, [key]);
    return (event) => {
        const top = (event.currentTarget as HTMLElement).scrollTop;
        if (top > 0) done.current = key; // by hand, before it was long enough
        if (done.current === key) places.set(key, top);
    };
}
