import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

const places = new Map<string, number>();

/** A list that comes back is where it was left, as soon as it is long enough again. The answer is its onScroll. */
export function useScrolled(box: RefObject<HTMLElement | null>, key: string): (event: Event) => void {
    const done = useRef("");
    useLayoutEffect(() => {
        const list = box.current, place = places.get(key) ?? 0;
        if (!list || done.current === key || list.scrollHeight - list.clientHeight < place) return;
        done.current = key;
        list.scrollTop = place;
    });
    return (event) => {
        if (done.current === key) places.set(key, (event.currentTarget as HTMLElement).scrollTop);
    };
}
