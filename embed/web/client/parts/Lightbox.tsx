import type { JSX } from "preact";

export function Lightbox({ room }: { room: string; key?: string }): JSX.Element {
    return <div class="box-light" data-room={room} />;
}
