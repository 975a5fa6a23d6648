import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { full, list } from "../render/dates.ts";
import { type Details, detailsOf } from "../sdk/details.ts";
import { the } from "../stores/app.ts";
import { details } from "../stores/ui.ts";
import "./asked.ts";

/** Who sent a message and when, who has read up to it, and what its encryption proves. */
export function DetailsDialog(): JSX.Element | null {
    const what = details.value;
    const [found, setFound] = useState<Details>();
    useEffect(() => {
        let current = true;
        if (what) void detailsOf(the().engine, what.room, what.message.id, !the().following).then((each) => current && setFound(each));
        return () => void (current = false);
    }, [what]);
    if (!what) return null;
    const { sender, time, readers } = what.message;
    const row = (icon: string, title: string, text: string): JSX.Element => <div class="it"><Icon name={icon} /><span>{title}<small>{text}</small></span></div>;
    return (
        <Dialog title={t("details.title")} onClose={() => (details.value = undefined)}>
            <div class="in-dlg"><div class="card">
                {row("user", sender.name, sender.id)}
                {row("clock", t("details.sent"), full(time))}
                {found?.edited !== undefined && row("pencil", t("details.edited"), full(found.edited))}
                {readers.length > 0 && row("check-check", t("details.read"), list(readers.map(({ name }) => name)))}
                {found && row(found.sealed === "no" ? "lock-open" : "lock", t(found.sealed === "no" ? "room.plain" : "room.encrypted"), found.sealed === "no" || found.sealed === "unknown" ? "" : t(`details.${found.sealed}`))}
            </div></div>
        </Dialog>
    );
}
