// What belongs to this screen is in localStorage alone; what follows the user is in the account data too.

import { effect, signal } from "@preact/signals";
import { keepLocal, localStorageSafe } from "../i18n/t.ts";

export interface Settings {
    theme: "" | "light" | "dark";
    textSize: number;
    density: "roomy" | "compact";
    order: "recent" | "name";
    style: "bubbles" | "lines";
    sendWith: "enter" | "ctrl-enter";
    receipts: boolean;
    typing: boolean;
    sound: boolean;
    notify: boolean;
    notifyText: boolean;
    quiet: boolean;
    hour12: boolean;
    /** The day that weeks begin with: 1 is Monday, 6 Saturday, 7 Sunday. */
    weekStart: number;
    letters: boolean;
    spellcheck: boolean;
    listWidth: number;
    autoplay: boolean;
    previews: boolean;
    previewsEncrypted: boolean;
}

/** What the week begins with where the browser is at home. */
function weekStart(): number {
    const { locale } = new Intl.DateTimeFormat().resolvedOptions();
    const of = new Intl.Locale(locale) as Intl.Locale & { getWeekInfo?: () => { firstDay: number } };
    return of.getWeekInfo?.().firstDay ?? 1;
}

const USUAL: Settings = {
    theme: "", textSize: 15, density: "roomy", order: "recent", style: "bubbles", sendWith: "enter", receipts: true, typing: true, sound: true, notify: true,
    notifyText: true, quiet: false, hour12: new Intl.DateTimeFormat([], { hour: "numeric" }).resolvedOptions().hour12 ?? false, weekStart: weekStart(), letters: true,
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

/** What is the user's wherever they are. */
const FOLLOWS = ["receipts", "typing", "letters", "autoplay", "previews", "previewsEncrypted", "hour12", "weekStart", "sendWith"] as const satisfies readonly (keyof Settings)[];
/** Who tells the user's other devices what was chosen; nobody until the client runs. */
export const others: { tell?: (name: string, value: unknown) => void } = {};

/** Take over what another device has chosen. */
export function take(chosen: Record<string, unknown>): void {
    const known = FOLLOWS.filter((name) => typeof chosen[name] === typeof USUAL[name]);
    put(Object.fromEntries(known.map((name) => [name, chosen[name]])));
}

function put(changed: Partial<Settings>): void {
    settings.value = { ...settings.value, ...changed };
    keepLocal(KEY, JSON.stringify(settings.value));
}

export function set<K extends keyof Settings>(name: K, value: Settings[K]): void {
    put({ [name]: value });
    if ((FOLLOWS as readonly string[]).includes(name)) others.tell?.(name, value);
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
