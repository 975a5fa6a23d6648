// What belongs to this screen is in localStorage; what follows the user is in the account data of the SDK's side.

import { effect, signal } from "@preact/signals";
import { keepLocal, localStorageSafe } from "../i18n/t.ts";

export interface Settings {
    theme: "" | "light" | "dark";
    textSize: number;
    density: "roomy" | "compact";
    style: "bubbles" | "lines";
    sendWith: "enter" | "ctrl-enter";
    receipts: boolean;
    typing: boolean;
    sound: boolean;
    notify: boolean;
    notifyText: boolean;
    quiet: boolean;
    hour12: boolean;
    letters: boolean;
    spellcheck: boolean;
    listWidth: number;
    autoplay: boolean;
    previews: boolean;
    previewsEncrypted: boolean;
}

const USUAL: Settings = {
    theme: "", textSize: 15, density: "roomy", style: "bubbles", sendWith: "enter", receipts: true, typing: true, sound: true, notify: true,
    notifyText: true, quiet: false, hour12: new Intl.DateTimeFormat([], { hour: "numeric" }).resolvedOptions().hour12 ?? false, letters: true,
    spellcheck: true, listWidth: 328, autoplay: true, previews: true, previewsEncrypted: false,
};
const KEY = "hromada.settings";

function read(): Settings {
    try {
        return { ...USUAL, ...(JSON.parse(localStorageSafe(KEY) ?? "{}") as Partial<Settings>) };
    } catch {
        return USUAL;
    }
}

export const settings = signal<Settings>(read());

export function set<K extends keyof Settings>(name: K, value: Settings[K]): void {
    settings.value = { ...settings.value, [name]: value };
    keepLocal(KEY, JSON.stringify(settings.value));
}

/** Put on the page what the style sheet reads. */
export function applySettings(): void {
    effect(() => {
        const { theme, textSize, density, style, listWidth } = settings.value;
        const root = document.documentElement;
        if (theme) root.dataset["theme"] = theme;
        else delete root.dataset["theme"];
        root.dataset["density"] = density;
        root.dataset["style"] = style;
        root.style.setProperty("--text-scale", String(textSize / 15));
        root.style.setProperty("--w-list", `${listWidth / 16}rem`);
    });
}
