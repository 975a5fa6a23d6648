import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { attempt, the, toast } from "../stores/app.ts";
import { reporting } from "../stores/ui.ts";
import "./asked.ts";

/** A message, a room or a person is told of to the server's moderators. */
export function ReportDialog(): JSX.Element | null {
    const [reason, setReason] = useState("");
    const what = reporting.value;
    if (!what) return null;
    const close = (): void => void (reporting.value = undefined);
    const send = async (): Promise<void> => {
        const done = await attempt(() => ("user" in what ? the().commands.reportUser(what.user, reason) : the().commands.report(what.room, what.message?.id, reason)));
        if (done) toast(t("report.done"));
        close();
    };
    return (
        <Dialog title={t("user" in what ? "report.person" : what.message ? "report.message" : "report.room")} onClose={close}
            footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="button" class="btn bad fill" onClick={() => void send()}>{t("message.report")}</button></>}
        >
            <div class="in-dlg stack">
                <p class="mut">{t("report.text")}</p>
                <label class="field"><span class="legend">{t("report.reason")}</span><textarea class="in" value={reason} maxLength={1000} onInput={(event) => setReason(event.currentTarget.value)} /></label>
            </div>
        </Dialog>
    );
}
