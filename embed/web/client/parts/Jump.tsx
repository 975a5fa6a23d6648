import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Field } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { ApiError } from "../sdk/api.ts";
import { openRoomById, the } from "../stores/app.ts";
import { jumping } from "../stores/ui.ts";
import "./asked.ts";

const today = (): string => {
    const now = new Date();
    return `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, "0")}-${String(now.getDate()).padStart(2, "0")}`;
};

/** Go to what was first said on a day, or after it. */
export function JumpDialog({ room }: { room: string }): JSX.Element {
    const [date, setDate] = useState(today());
    const [error, setError] = useState("");
    const close = (): void => void (jumping.value = undefined);
    const jump = async (event: Event): Promise<void> => {
        event.preventDefault();
        try {
            const at = await the().commands.eventAt(room, new Date(`${date}T00:00`).getTime());
            close();
            openRoomById(room, at);
        } catch (reason) {
            setError(reason instanceof ApiError && reason.status === 404 ? t("jump.none") : (reason as Error).message);
        }
    };
    return (
        <Dialog title={t("jump.title")} onClose={close} footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="submit" form="jump" class="btn go">{t("jump.go")}</button></>}>
            <form id="jump" class="in-dlg" onSubmit={(event) => void jump(event)}>
                <Field label={t("jump.label")} type="date" required autofocus value={date} max={today()} error={error || undefined} onInput={(event) => setDate(event.currentTarget.value)} />
            </form>
        </Dialog>
    );
}
