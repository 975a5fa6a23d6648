import { h, type JSX } from "preact";
import entry from "hromada:icons/entry";

let icons = entry;
/** More icons: they come with the client, after the sign-in page, and with what is loaded when asked for. */
export const learnIcons = (more: typeof entry): void => void (icons = { ...icons, ...more });

/** One of Lucide's icons; `flip` mirrors it where one reads from right to left. */
export function Icon({ name, flip, label, size }: { name: string; flip?: boolean; label?: string; size?: string }): JSX.Element {
    const shapes = icons[name] ?? [];
    return (
        <span class={flip ? "i flip" : "i"} title={label} style={size ? { "--i": size } : undefined}>
            <svg viewBox="0 0 24 24" aria-hidden={label ? undefined : "true"} role={label ? "img" : undefined} aria-label={label}>
                {shapes.map(([tag, attributes]) => h(tag, attributes))}
            </svg>
        </span>
    );
}
