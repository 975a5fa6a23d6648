import { type ComponentType, h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

type View<P> = (props: P) => JSX.Element | null;

/** A view whose code is loaded when it is first shown. Until then its place is empty: a page's, unless `place` is another. */
export function lazy<P extends object>(load: () => Promise<View<P>>, place: JSX.Element | null = <main class="main" aria-busy="true" />): (props: P) => JSX.Element | null {
    let loaded: ComponentType<P> | undefined;
    return function Lazy(props: P): JSX.Element | null {
        const [, again] = useState(0);
        useEffect(() => {
            if (!loaded) {
                void load().then((view) => {
                    loaded = view as ComponentType<P>;
                    again(1);
                });
            }
        }, []);
        return loaded ? h(loaded, props) : place;
    };
}
