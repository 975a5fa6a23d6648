import { type ComponentType, h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

type View<P> = (props: P) => JSX.Element | null;

/** The code of a view cannot be had: there is no connection, or the server has another build by now. */
export const UNLOADED = "Unloaded";
/** Who tells of a part of a page that cannot be loaded. */
export const missing = { tell: (): void => undefined };

/**
 * A view whose code is loaded when it is first shown. Until then its place is empty: a page's, unless `place` is another.
 * If it cannot be loaded, a page throws, for the boundary around it; of a part is only told.
 */
export function lazy<P extends object>(load: () => Promise<View<P>>, place?: JSX.Element | null): (props: P) => JSX.Element | null {
    let loaded: ComponentType<P> | undefined;
    return function Lazy(props: P): JSX.Element | null {
        const [fault, again] = useState<Error>();
        useEffect(() => {
            if (loaded) return;
            load().then(
                (view) => {
                    loaded = view as ComponentType<P>;
                    again(new Error());
                },
                (error: unknown) => {
                    if (place !== undefined) missing.tell();
                    else again(Object.assign(new Error(String(error)), { name: UNLOADED }));
                },
            );
        }, []);
        if (fault?.name === UNLOADED) throw fault;
        return loaded ? h(loaded, props) : place === undefined ? <main class="main" aria-busy="true" /> : place;
    };
}
