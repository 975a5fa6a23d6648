import type { JSX } from "preact";
import { Dialog } from "../../ui/controls.tsx";
import { t, type Key } from "../i18n/t.ts";
import { keysHelp } from "../stores/ui.ts";
import "./asked.ts";

const KEYS: readonly [Key, string[]][] = [
    ["keys.switch", ["Ctrl K"]],
    ["keys.chat", ["Alt ↓", "Alt ↑"]],
    ["keys.unread", ["Alt Shift ↓"]],
    ["keys.search", ["Ctrl F"]],
    ["nav.settings", ["Ctrl ,"]],
    ["keys.regions", ["F6"]],
    ["keys.edit", ["↑"]],
    ["keys.marks", ["Ctrl B", "Ctrl I", "Ctrl E"]],
    ["keys.walk", ["↑", "↓", "Home", "End"]],
    ["keys.act", ["Enter", "R", "E", "T", "C"]],
    ["keys.read", ["Esc"]],
    ["keys.help", ["?"]],
];

export const KeysTable = (): JSX.Element => (
    <div class="card">
        {KEYS.map(([key, keys]) => (
            <div class="set" key={key}>
                <span class="grow"><b>{t(key)}</b></span>
                {keys.map((each) => <kbd key={each}>{each}</kbd>)}
            </div>
        ))}
    </div>
);

export const KeysDialog = (): JSX.Element => (
    <Dialog title={t("keys.title")} onClose={() => (keysHelp.value = false)}>
        <div class="in-dlg"><KeysTable /></div>
    </Dialog>
);
