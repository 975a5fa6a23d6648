import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Empty, Field, IconButton } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { full } from "../../render/dates.ts";
import { attempt } from "../../stores/app.ts";
import { question } from "../../stores/ui.ts";
import { copied } from "../Room.tsx";
import { a, admin, enc, sayOf, Table, Top, useAsked } from "./parts.tsx";
import "../../parts/asked.ts";

interface Token { token: string; uses_allowed: number | null; pending: number; completed: number; expiry_time: number | null }

export function TokensPage(): JSX.Element {
    const { got, error, again } = useAsked(() => admin<{ registration_tokens: Token[] }>("GET", "/v1/registration_tokens"), "");
    const [making, setMaking] = useState(false);
    const remove = (token: string): void => {
        question.value = { title: a("token.delete", { name: token }), text: a("token.text"), yes: t("delete.yes"), bad: true, run: () => void attempt(() => admin("DELETE", `/v1/registration_tokens/${enc(token)}`)).then(again) };
    };
    const rows = (got?.registration_tokens ?? []).map((one) => {
        const spent = (one.uses_allowed !== null && one.completed + one.pending >= one.uses_allowed) || (one.expiry_time !== null && one.expiry_time < Date.now());
        return (
            <tr key={one.token}>
                <td><code class="mono-s">{one.token}</code></td>
                <td class="n">{one.completed.toLocaleString()}{one.uses_allowed === null ? "" : ` / ${one.uses_allowed.toLocaleString()}`}</td>
                <td class="sub">{one.expiry_time === null ? a("token.never") : full(one.expiry_time)}</td>
                <td><span class={spent ? "chip" : "chip ok"}>{a(spent ? "token.spent" : "token.usable")}</span></td>
                <td class="n"><IconButton icon="copy" label={`${a("site.copy")}: ${one.token}`} onClick={() => copied(one.token)} /><IconButton icon="trash-2" label={a("token.delete", { name: one.token })} onClick={() => remove(one.token)} /></td>
            </tr>
        );
    });
    return (
        <>
            <Top title={a("tokens")} text={a("token.text")}><button type="button" class="btn go" onClick={() => setMaking(true)}><Icon name="plus" />{a("token.new")}</button></Top>
            <div class="sect">
                <Table head={[a("token"), { label: a("token.used"), n: true }, a("token.expires"), a("user.state"), <span class="vh" key="v">{a("row.actions")}</span>]} rows={rows} error={error} again={again} busy={!got}
                    none={<Empty icon="ticket" title={a("token.none")} text={a("token.none-text")}><button type="button" class="btn go" onClick={() => setMaking(true)}>{a("token.new")}</button></Empty>} />
            </div>
            {making && <NewToken onClose={() => setMaking(false)} onMade={again} />}
        </>
    );
}

function NewToken({ onClose, onMade }: { onClose: () => void; onMade: () => void }): JSX.Element {
    const [own, setOwn] = useState("");
    const [uses, setUses] = useState("1");
    const [until, setUntil] = useState("");
    const [error, setError] = useState("");
    const make = async (event: Event): Promise<void> => {
        event.preventDefault();
        try {
            await admin("POST", "/v1/registration_tokens/new", { ...(own && { token: own }), uses_allowed: uses ? Number(uses) : null, expiry_time: until ? new Date(until).getTime() : null });
            onMade();
            onClose();
        } catch (reason) {
            setError(sayOf(reason));
        }
    };
    return (
        <Dialog title={a("token.new")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="new-token" class="btn go">{t("add")}</button></>}>
            <form id="new-token" class="in-dlg stack" onSubmit={(event) => void make(event)}>
                <Field label={a("token.own")} value={own} hint={a("token.own-hint")} error={own && !/^[\w.~-]*$/.test(own) ? a("token.bad") : undefined} maxLength={64} autocapitalize="none" spellcheck={false} onInput={(event) => setOwn(event.currentTarget.value)} />
                <Field label={a("token.uses")} type="number" min={1} value={uses} hint={a("token.uses-hint")} onInput={(event) => setUses(event.currentTarget.value)} />
                <Field label={a("token.expires")} type="datetime-local" value={until} onInput={(event) => setUntil(event.currentTarget.value)} />
                {error && <p class="hint bad" role="alert"><Icon name="circle-alert" />{error}</p>}
            </form>
        </Dialog>
    );
}
