// Small parts: icons, faces, fields.

import { h, type ComponentChildren, type FunctionComponent, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import icons from "hromada:icons/frame";
import type * as Rare from "./rare.ts";

export function Icon({ name, flip }: { name: string; flip?: boolean }): JSX.Element {
    return (
        <svg viewBox="0 0 24 24" class={flip ? "i flip" : "i"} aria-hidden="true">
            {(icons[name] ?? []).map(([tag, attributes]) => h(tag, attributes))}
        </svg>
    );
}

export function IconButton({ icon, label, onClick, kind, ...more }: { icon: string; label: string; onClick?: () => void; kind?: string; [key: string]: unknown }): JSX.Element {
    return (
        <button type="button" class={`ib ${kind ?? ""}`} aria-label={label} title={label} onClick={onClick} {...more}>
            <Icon name={icon} />
        </button>
    );
}

/** Initials in a colour of the name. */
export function Face({ name }: { name: string }): JSX.Element {
    const hash = [...name].reduce((sum, sign) => (sum * 31 + (sign.codePointAt(0) ?? 0)) >>> 0, 7) % 8;
    const letters = name.split(/[\s·._-]+/).filter(Boolean).slice(0, 2).map((word) => [...word][0]).join("").toUpperCase() || "?";
    return (
        <span class={`face f${hash}`} aria-hidden="true">
            {letters}
        </span>
    );
}

export function Row({ label, hint, error, children }: { label: string; hint?: string | undefined; error?: string | undefined; children: ComponentChildren }): JSX.Element {
    return (
        <label class={error ? "field bad" : "field"}>
            <span>
                {label}
                {hint && <span class="opt">{hint}</span>}
            </span>
            {children}
            {error && (
                <span class="err" role="alert">
                    {error}
                </span>
            )}
        </label>
    );
}

/** A part of rare.ts: it comes when it is wanted. */
export function later<P extends object>(choose: (rare: typeof Rare) => FunctionComponent<P>): FunctionComponent<P> {
    return (props) => {
        const [part, set] = useState<{ as: FunctionComponent<P> } | null>(null);
        useEffect(() => void import("./rare.ts").then((rare) => set({ as: choose(rare) }), () => undefined), []);
        return part && h(part.as, props);
    };
}
