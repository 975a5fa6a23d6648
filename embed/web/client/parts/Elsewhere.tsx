import type { JSX } from "preact";
import { Empty } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import "./asked.ts";

/** Another tab has the conversation. */
export function Elsewhere({ onHere }: { onHere: () => void }): JSX.Element {
    return (
        <main class="main whole">
            <Empty icon="app-window" title={t("tabs.title")} text={t("tabs.text")} level={1}>
                <button type="button" class="btn go" onClick={onHere}>{t("tabs.here")}</button>
            </Empty>
        </main>
    );
}
