// Settings: the backup of keys, how much is in it, and its switch.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog, Field, Switch } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import type { Crypto } from "../sdk/crypto.ts";
import { attempt } from "../stores/app.ts";
import { question } from "../stores/ui.ts";
import { Row } from "./rows.tsx";
import "../parts/asked.ts";

export function Backup({ machine }: { machine: Crypto }): JSX.Element {
    // null: there is none; undefined: not known yet.
    const [count, setCount] = useState<number | null>();
    const [asking, setAsking] = useState(false);
    const [busy, setBusy] = useState(false);
    const [, redraw] = useState({});
    const load = (): void => void machine.backedUp().then(setCount, () => undefined);
    useEffect(() => {
        load();
        return machine.on("change", load);
    }, [machine]);
    const change = async (on: boolean, key?: string): Promise<boolean | undefined> => {
        setBusy(true);
        const done = await attempt(() => machine.setBackup(on, key));
        setBusy(false);
        load();
        return done;
    };
    const start = async (): Promise<void> => setAsking((await change(true)) === false);
    const stop = (): void => {
        question.value = { title: t("backup.stop"), text: t("backup.stop-text"), yes: t("backup.stop-yes"), bad: true, run: () => void change(false) };
    };
    const turn = (on: boolean): void => {
        redraw({}); // until it is so, the switch stays as it is
        if (busy) return;
        if (on) void start();
        else stop();
    };
    const text = count === undefined ? undefined : count === null ? t("encryption.backup-off") : `${t("encryption.backup-on")} ${t("backup.count", { n: count })}`;
    return (
        <>
            <Row icon="cloud-check" title={t("encryption.backup")} text={text}>
                <Switch checked={count !== null && count !== undefined} disabled={count === undefined} label={t("encryption.backup")} onChange={turn} />
            </Row>
            {asking && <RecoveryKey onClose={() => setAsking(false)} go={(key) => change(true, key)} />}
        </>
    );
}

/** The key to the backup is put under the recovery key, which is nowhere but with the user. */
function RecoveryKey({ onClose, go }: { onClose: () => void; go: (key: string) => Promise<boolean | undefined> }): JSX.Element {
    const [text, setText] = useState("");
    const [wrong, setWrong] = useState(false);
    const submit = async (event: Event): Promise<void> => {
        event.preventDefault();
        const done = await go(text.trim());
        setWrong(!done);
        if (done) onClose();
    };
    return (
        <Dialog title={t("unlock.title")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="recovery-key" class="btn go">{t("confirm.yes")}</button></>}>
            <form id="recovery-key" class="in-dlg stack" onSubmit={(event) => void submit(event)}>
                <p class="mut">{t("backup.key-text")}</p>
                <Field label={t("unlock.key")} value={text} required autofocus autocapitalize="none" spellcheck={false} error={wrong ? t("unlock.wrong") : undefined} onInput={(event) => setText(event.currentTarget.value)} />
            </form>
        </Dialog>
    );
}
