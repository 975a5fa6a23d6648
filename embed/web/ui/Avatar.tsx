import type { JSX } from "preact";
import { useState } from "preact/hooks";

/** One of the eight voices, by a hash of the id. */
export const voice = (id: string): string => `var(--v${([...id].reduce((sum, sign) => (sum * 31 + (sign.codePointAt(0) ?? 0)) >>> 0, 7) % 8) + 1})`;

const initials = (name: string): string =>
    name
        .replace(/^[@#!]/, "")
        .split(/[\s·._-]+/)
        .filter(Boolean)
        .slice(0, 2)
        .map((word) => [...word][0] ?? "")
        .join("")
        .toUpperCase() || "?";

interface Props {
    id: string;
    name: string;
    src?: string | undefined;
    square?: boolean;
    online?: boolean;
    size?: string;
    back?: string;
}

/** A picture, or initials in the colour of the id. The name stands beside it, so it is hidden from screen readers. */
export function Avatar({ id, name, src, square, online, size, back }: Props): JSX.Element {
    const [failed, fail] = useState("");
    const style: Record<string, string> = { "--vc": voice(id) };
    if (size) style["--z"] = size;
    if (back) style["--back"] = back;
    return (
        <span class={`av${square ? " sq" : ""}${online ? " on" : ""}`} style={style} aria-hidden="true">
            {src && failed !== src ? <img src={src} alt="" loading="lazy" decoding="async" onError={() => fail(src)} /> : initials(name)}
        </span>
    );
}
