// A lost password: a letter to the account's address, and a new password once its link was followed.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Field, PasswordField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { language, t } from "../i18n/t.ts";
import { ask } from "../sdk/api.ts";
import { askLetter, forget, proof, waiting, type Waiting } from "../sdk/letters.ts";
import { CLIENT } from "../sdk/session.ts";
import { m, mailError } from "./mail-texts.ts";

const post = (path: string, body: object): Promise<unknown> => ask(`${CLIENT}${path}`, { body });

interface Props {
    server: string;
    /** What an error means that is not about addresses. */
    errorText: (error: unknown) => string;
    onDone: () => void;
}

export function Forgot({ server, errorText, onDone }: Props): JSX.Element {
    const [sent, setSent] = useState<Waiting | undefined>(waiting("password"));
    const [email, setEmail] = useState("");
    const [password, setPassword] = useState("");
    const [said, setSaid] = useState("");
    const [error, setError] = useState("");
    const [busy, setBusy] = useState(false);
    useEffect(() => {
        document.title = `${m("forgot.title")} · Hromada`;
    }, [language.value]);
    const run = async (what: () => Promise<void>): Promise<void> => {
        if (busy) return;
        setBusy(true);
        setError("");
        setSaid("");
        try {
            await what();
        } catch (reason) {
            setError(mailError(reason) ?? errorText(reason));
        }
        setBusy(false);
    };
    const letter = (to: string, before?: Waiting): Promise<void> => run(async () => {
        setSent(await askLetter(post, "password", to, before));
        if (before) setSaid(m("again-done"));
    });
    const change = (now: Waiting): Promise<void> => run(async () => {
        await post("/account/password", { new_password: password, auth: proof(now) });
        forget("password");
        onDone();
    });
    const other = (): void => {
        forget("password");
        setSent(undefined);
        setError("");
    };
    return (
        <form class="stack loose" onSubmit={(event) => {
            event.preventDefault();
            void (sent ? change(sent) : letter(email.trim()));
        }}>
            <div><h1>{m("forgot.title")}</h1><p class="mut lead-in">{sent ? m("forgot.sent", { email: sent.email }) : m("forgot.text", { server })}</p></div>
            {sent ? (
                <PasswordField label={m("new")} name="new-password" show={t("login.show")} hide={t("login.hide")} autocomplete="new-password" required minLength={8} value={password} hint={m("forgot.devices")} onInput={(event) => setPassword(event.currentTarget.value)} />
            ) : (
                <Field label={m("email")} name="email" type="email" autocomplete="email" required value={email} onInput={(event) => setEmail(event.currentTarget.value)} />
            )}
            {error && <div class="note bad" role="alert"><Icon name="circle-alert" /><span>{error}</span></div>}
            {said && <div class="note info" role="status"><Icon name="info" /><span>{said}</span></div>}
            <button class="btn go wide tall" disabled={busy}>{m(sent ? "set" : "forgot.submit")}</button>
            {sent && <div class="row wrapping"><button type="button" class="btn s" onClick={() => void letter(sent.email, sent)}>{m("again")}</button><button type="button" class="btn plain s" onClick={other}>{m("other")}</button></div>}
            <p class="small centred"><a href="#/login">{m("back")}</a></p>
        </form>
    );
}
