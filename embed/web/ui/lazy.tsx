import { type ComponentType, h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

type View<P> = (props: P) => JSX.Element | null;

/** A view whose code is loaded when it is first shown. Until then, for 150 ms nothing, then its empty place. */
export function lazy<P extends object>(load: () => Promise<View<P>>): (props: P) => JSX.Element {
    let loaded: ComponentType<P> | undefined;
    return function Lazy(props: P): JSX.Element {
        const [, again] = useState(0);
        useEffect(() => {
            if (!loaded) {
                void load().then((view) => {
                    loaded = view as ComponentType<P>;
                    again(1);
                });
            }
        }, []);
        return loaded ? h(loaded, props) : <main class="main" aria-busy="true" />;
    };
}
