// Settings: e-mail addresses of the account; where the server takes none it says so, and what that means.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Field } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { type Account, NeedsPassword } from "../sdk/account.ts";
import { askLetter, forget, waiting, type Waiting } from "../sdk/letters.ts";
import { attempt, toast } from "../stores/app.ts";
import { question } from "../stores/ui.ts";
import { m, mailError } from "./mail-texts.ts";
import { Row } from "./rows.tsx";

interface Props {
    account: Account;
    /** Run what the server wants the password for. */
    confirm: (run: (password?: string) => Promise<unknown>) => Promise<boolean>;
}

export function Addresses({ account, confirm }: Props): JSX.Element {
    const [known, setKnown] = useState<{ list: string[]; changes: boolean }>();
    const [sent, setSent] = useState<Waiting | undefined>(waiting("add"));
    const [adding, setAdding] = useState(false);
    const [email, setEmail] = useState("");
    const [error, setError] = useState("");
    const load = (): Promise<void> => account.addresses().then(setKnown, () => undefined);
    useEffect(() => void load(), []);
    /** Whether it went well. What is said about an address stands beside it, all else in a toast. */
    const tried = async (run: () => Promise<unknown>): Promise<boolean> => {
        setError("");
        try {
            await run();
            return true;
        } catch (reason) {
            const text = mailError(reason);
            if (text) setError(text);
            else await attempt(() => Promise.reject(reason as Error));
            return false;
        }
    };
    const letter = async (to: string, before?: Waiting): Promise<void> => {
        const done = await tried(async () => setSent(await askLetter((path, body) => account.ask("POST", path, body as Record<string, unknown>), "add", to, before)));
        if (!done) return;
        setAdding(false);
        setEmail("");
        if (before) toast(m("again-done"));
    };
    const drop = (): void => {
        forget("add");
        setSent(undefined);
        setError("");
    };
    const finish = async (now: Waiting): Promise<void> => {
        // Whether the link was followed is known before the password is asked for.
        let asks = false;
        const first = await tried(async () => {
            try {
                await account.addAddress(now);
            } catch (reason) {
                if (!(reason instanceof NeedsPassword)) throw reason;
                asks = true;
            }
        });
        if (!first || (asks && !(await confirm((password) => account.addAddress(now, password))))) return;
        drop();
        await load();
        toast(m("added"));
    };
    const remove = (address: string): void => {
        question.value = {
            title: address, text: m("remove-text"), yes: t("remove"), bad: true,
            run: () => void attempt(() => account.removeAddress(address)).then(() => load()),
        };
    };
    const list = known?.list ?? [];
    return (
        <>
            {list.map((address) => <Row key={address} icon="mail" title={address}><button type="button" class="btn s" aria-label={`${t("remove")}: ${address}`} onClick={() => remove(address)}>{t("remove")}</button></Row>)}
            {sent && (
                <Row icon="mail" title={sent.email} text={<span role={error ? "alert" : undefined}>{error || m("wait")}</span>}>
                    <button type="button" class="btn s go" onClick={() => void finish(sent)}>{m("wait.done")}</button>
                    <button type="button" class="btn s" onClick={() => void letter(sent.email, sent)}>{m("again")}</button>
                    <button type="button" class="btn s plain" onClick={drop}>{t("cancel")}</button>
                </Row>
            )}
            {known?.changes === true && !sent && (
                <Row icon="mail" title={m("email")} text={m("why")}><button type="button" class="btn s" aria-expanded={adding} onClick={() => setAdding(!adding)}>{m("add")}</button></Row>
            )}
            {adding && !sent && (
                <form class="set" onSubmit={(event) => {
                    event.preventDefault();
                    void letter(email.trim());
                }}>
                    <div class="grow stack"><Field label={m("email")} type="email" autocomplete="email" required value={email} error={error || undefined} onInput={(event) => setEmail(event.currentTarget.value)} /><button class="btn go">{m("add.submit")}</button></div>
                </form>
            )}
            {!known?.changes && list.length === 0 && !sent && <Row icon="mail" title={m("email")} text={known && m("none")} />}
        </>
    );
}
