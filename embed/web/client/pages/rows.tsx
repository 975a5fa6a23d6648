// Rows of the settings.

import type { ComponentChildren, JSX } from "preact";
import { Switch } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { type Key, t } from "../i18n/t.ts";
import { set, settings, type Settings } from "../stores/settings.ts";

export function Row({ icon, title, text, children }: { icon?: string; title: ComponentChildren; text?: ComponentChildren; children?: ComponentChildren }): JSX.Element {
    return <div class="set">{icon && <Icon name={icon} />}<span class="grow"><b>{title}</b>{text && <small>{text}</small>}</span>{children}</div>;
}

type Flag = { [K in keyof Settings]: Settings[K] extends boolean ? K : never }[keyof Settings];
export function Toggle({ name, title, text, children }: { name: Flag; title: Key; text?: Key; children?: ComponentChildren }): JSX.Element {
    return <Row title={t(title)} text={text && t(text)}>{children}<Switch checked={settings.value[name]} label={t(title)} onChange={(on) => set(name, on)} /></Row>;
}

/** Give the user a file. */
export function save(blob: Blob, name: string): void {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
}
