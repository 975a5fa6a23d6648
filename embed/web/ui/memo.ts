import { Component, type ComponentType, h, type JSX } from "preact";

/** A view that is drawn again only when one of its properties is another value. */
export function memo<P extends object>(view: (props: P) => JSX.Element | null): ComponentType<P> {
    return class Memo extends Component<P> {
        override shouldComponentUpdate(next: Readonly<P>): boolean {
            const now = this.props as Record<string, unknown>;
            const then = next as Record<string, unknown>;
            return Object.keys(then).length !== Object.keys(now).length || Object.keys(then).some((key) => then[key] !== now[key]);
        }
        override render(): JSX.Element {
            return h(view as ComponentType<P>, this.props as P);
        }
    };
}
