// Settings: the keys of messages as a file under a password, as other clients of Matrix write and read it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, PasswordField } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { pickFiles } from "../parts/Uploads.tsx";
import type { Crypto } from "../sdk/crypto.ts";
import { attempt, toast } from "../stores/app.ts";
import { Row, save } from "./rows.tsx";
import "../parts/asked.ts";

const SEALED = "-----BEGIN MEGOLM SESSION DATA-----";
const SHORTEST = 8;

export function KeysFile({ machine }: { machine: Crypto }): JSX.Element {
    // The text of the file whose password is asked for; empty while one is to be made.
    const [file, setFile] = useState<string>();
    const [password, setPassword] = useState("");
    const close = (): void => {
        setFile(undefined);
        setPassword("");
    };
    const go = async (event: Event): Promise<void> => {
        event.preventDefault();
        const done = await attempt(async () => {
            if (file) await machine.importKeys(file, password);
            else save(new Blob([await machine.exportKeys(password)], { type: "text/plain" }), "hromada-keys.txt");
            return true;
        }, file ? "encryption.file-wrong" : "error.failed");
        if (!done) return;
        close();
        toast(t("saved"));
    };
    const pick = (): void =>
        pickFiles(([chosen]) => void attempt(async () => {
            const text = (await chosen?.text()) ?? "";
            if (text.includes(SEALED)) return setFile(text);
            await machine.importKeys(text);
            toast(t("saved"));
        }), ".txt,.json");
    return (
        <>
            <Row icon="file-key" title={t("encryption.keys")} text={t("encryption.keys-text")}>
                <button type="button" class="btn s" onClick={() => setFile("")}>{t("encryption.export")}</button>
                <button type="button" class="btn s" onClick={pick}>{t("encryption.import")}</button>
            </Row>
            {file !== undefined && (
                <Dialog title={t(file ? "encryption.import" : "encryption.export")} onClose={close} footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="submit" form="keys-file" class="btn go">{t("confirm.yes")}</button></>}>
                    <form id="keys-file" class="in-dlg stack" onSubmit={(event) => void go(event)}>
                        <p class="mut">{t(file ? "encryption.file-open" : "encryption.file-make")}</p>
                        <PasswordField label={t("encryption.file-password")} show={t("login.show")} hide={t("login.hide")} autocomplete="off" required autofocus {...(!file && { minLength: SHORTEST })} value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
                    </form>
                </Dialog>
            )}
        </>
    );
}
