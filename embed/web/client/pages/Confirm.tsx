import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog, IconButton, PasswordField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import "../i18n/settings.ts";
import { lazy } from "../../ui/lazy.tsx";
import { language, t } from "../i18n/t.ts";
import { emojiName } from "../i18n/sas.ts";
import { go } from "../routes.ts";
import { personOf } from "../sdk/rooms.ts";
import { recoveryProblem } from "../stores/recovery.ts";
import { attempt, openRoomById, the, toast } from "../stores/app.ts";
import { check, confirmed, cryptoState, recovery, restoring, theCrypto } from "../stores/crypto.ts";
import { useTitle } from "../parts/PageTitle.tsx";
import { pickFiles } from "../parts/Uploads.tsx";
import { copied } from "./Room.tsx";
import "../parts/asked.ts";

const ByCode = lazy(() => import("./ByCode.tsx").then((page) => page.ByCode), null);
const Scanned = lazy(() => import("./ByCode.tsx").then((page) => page.Scanned), null);

const home = (): void => go({ page: "home" }, true);

const Quiet = ({ children }: { children: ComponentChildren }): JSX.Element => <div class="quiet"><main class="card stack loose">{children}</main></div>;

/** Quiet pages around keys: confirm this device, save the recovery key, open with it. */
export function ConfirmPage({ page }: { page: "verify" | "recovery" | "unlock" }): JSX.Element {
    useTitle(t(page === "recovery" ? "recovery.key" : page === "unlock" ? "unlock.title" : check.value?.own === false ? "verify.page-person" : "verify.page"));
    if (cryptoState.value === "loading") return <Quiet><p class="nothing" role="status">{t("loading")}</p></Quiet>;
    if (cryptoState.value !== "ready") return <Quiet><p>{t("locked.no-crypto")}</p><button type="button" class="btn go" onClick={home}>{t("verify.to-chats")}</button></Quiet>;
    if (page === "recovery") return <Recovery />;
    if (page === "unlock") return <Unlock />;
    // What is asked of this device is answered on the card that says so.
    return check.value && check.value.phase !== "asked" ? <Comparing /> : confirmed.value ? <Done /> : <Start />;
}

function Start(): JSX.Element {
    const [resetting, setResetting] = useState(false);
    return (
        <Quiet>
            <span class="seal"><Icon name="key-round" /></span>
            <div><h1 class="h2">{t("verify.title")}</h1><p class="mut lead-in">{t("verify.text")}</p></div>
            <div class="card">
                <button type="button" class="set plainly wide" onClick={() => void attempt(async () => theCrypto()?.ask({}))}><Icon name="smartphone" /><span class="grow"><b>{t("verify.device")}</b><small>{t("verify.device-text")}</small></span><Icon name="chevron-right" flip /></button>
                {recovery.value && <button type="button" class="set plainly wide" onClick={() => go({ page: "unlock" })}><Icon name="key-round" /><span class="grow"><b>{t("recovery.key")}</b><small>{t("verify.key-text")}</small></span><Icon name="chevron-right" flip /></button>}
            </div>
            <p class="small mut"><button type="button" class="linked" onClick={() => setResetting(true)}>{t("verify.neither")}</button> · <button type="button" class="linked" onClick={home}>{t("verify.later")}</button></p>
            {resetting && <ResetDialog onClose={() => setResetting(false)} />}
        </Quiet>
    );
}

/** What is lost is said before it is. */
export function ResetDialog({ onClose }: { onClose: () => void }): JSX.Element {
    const [password, setPassword] = useState("");
    const reset = async (event: Event): Promise<void> => {
        event.preventDefault();
        const done = await attempt(async () => {
            await theCrypto()?.reset(password);
            return true;
        });
        if (!done) return;
        onClose();
        go({ page: "recovery" });
    };
    return (
        <Dialog title={t("reset.title")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="reset" class="btn bad fill">{t("reset.yes")}</button></>}>
            <form id="reset" class="in-dlg stack" onSubmit={(event) => void reset(event)}>
                <p class="mut">{t("reset.text")}</p>
                <PasswordField label={t("login.password")} show={t("login.show")} hide={t("login.hide")} autocomplete="current-password" required value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
            </form>
        </Dialog>
    );
}

function Done(): JSX.Element {
    const now = restoring.value;
    return (
        <Quiet>
            <span class="seal ok"><Icon name="shield-check" /></span>
            <div><h1 class="h2">{t("verify.done")}</h1><p class="mut lead-in">{now ? t("verify.opening", { n: now.done, total: now.total }) : t("verify.done-text")}</p></div>
            {now && <progress class="bar-progress" max={now.total} value={now.done} aria-label={t("verify.opening", { n: now.done, total: now.total })} />}
            <button type="button" class="btn go wide tall" onClick={() => { theCrypto()?.endCheck(); home(); }}>{t("verify.to-chats")}</button>
        </Quiet>
    );
}

/** The two screens side by side. */
export function Comparing(): JSX.Element {
    const now = check.value;
    const machine = theCrypto();
    if (!now || !machine) return <Done />;
    const close = (): void => {
        machine.endCheck();
        if (now.room) openRoomById(now.room);
        else if (now.own && !confirmed.value) go({ page: "verify" }, true);
        else home();
    };
    const again = (): void => {
        machine.endCheck();
        void attempt(() => machine.ask(now.own ? (now.device ? { device: now.device } : {}) : { user: now.user, ...(now.room && { room: now.room }) }));
    };
    if (now.phase === "done") return now.own ? <Done /> : <Quiet><span class="seal ok"><Icon name="shield-check" /></span><h1 class="h2">{t("verify.person-done")}</h1><button type="button" class="btn go" onClick={close}>{t("verify.to-chats")}</button></Quiet>;
    if (now.phase === "differ") {
        return (
            <Quiet>
                <span class="seal warn"><Icon name="shield-alert" /></span>
                <div><h1 class="h2">{t("verify.differ")}</h1><p class="mut lead-in">{t("verify.differ-text")}</p></div>
                <div class="row"><button type="button" class="btn go" onClick={again}>{t("verify.again")}</button><button type="button" class="btn plain" onClick={close}>{t("close")}</button></div>
            </Quiet>
        );
    }
    if (now.phase === "cancelled" || now.phase === "nobody") {
        return (
            <Quiet>
                <span class="seal"><Icon name="info" /></span>
                <div><h1 class="h2">{t(now.phase === "nobody" ? "verify.nobody" : "verify.cancelled")}</h1><p class="mut lead-in">{t("verify.nothing")}</p></div>
                <button type="button" class="btn go" onClick={close}>{t("close")}</button>
            </Quiet>
        );
    }
    if (now.phase === "choose") return <Quiet><ByCode check={now} onClose={close} /></Quiet>;
    if (now.phase === "scanned") return <Quiet><Scanned onClose={close} /></Quiet>;
    const step = now.phase === "emoji" || now.phase === "confirming" ? 2 : 1;
    const scanning = now.phase === "confirming" && now.emoji.length === 0;
    return (
        <Quiet>
            <div class="row"><span class="steps grow" role="img" aria-label={t("verify.step", { n: step })}>{[1, 2, 3].map((each) => <i key={each} class={each <= step ? "on" : ""} />)}</span><IconButton icon="x" label={t("cancel")} onClick={close} /></div>
            {scanning ? (
                <div role="status"><h1 class="h2">{t("verify.confirm-there")}</h1><p class="mut lead-in">{t("verify.confirm-there-text")}</p></div>
            ) : step === 1 ? (
                <div><h1 class="h2">{now.own ? t("verify.waiting") : t("verify.waiting-for", { name: personOf(the().engine.room(now.room ?? ""), now.user).name })}</h1><p class="mut lead-in">{t(now.own ? "verify.waiting-text" : "verify.waiting-person")}</p></div>
            ) : (
                <>
                    <div><h1 class="h2">{t("verify.same")}</h1><p class="mut lead-in">{t("verify.compare")}</p></div>
                    <div class="emo7" role="list">
                        {now.emoji.map(([sign, name], at) => <div role="listitem" key={at}><span aria-hidden="true">{sign}</span><b class="plain-b">{emojiName(name, language.value)}</b></div>)}
                    </div>
                    <div class="row wrapping">
                        <button type="button" class="btn go grow tall" disabled={now.phase === "confirming"} onClick={() => void attempt(() => machine.answer(true))}>{t(now.phase === "confirming" ? "verify.confirming" : "verify.match")}</button>
                        <button type="button" class="btn grow tall" disabled={now.phase === "confirming"} onClick={() => void attempt(() => machine.answer(false))}>{t("verify.no-match")}</button>
                    </div>
                    <p class="hint"><Icon name="info" /><span>{t("verify.hint")}</span></p>
                </>
            )}
        </Quiet>
    );
}

/** A file that holds a key is short. */
const LONGEST_FILE = 1_000;
const grouped = (key: string): string => (key.replace(/\s/g, "").match(/.{1,4}/g) ?? []).join(" ");

function Recovery(): JSX.Element {
    const [key, setKey] = useState("");
    const [kept, setKept] = useState(false);
    const [busy, setBusy] = useState(false);
    useEffect(() => {
        void attempt(async () => setKey((await theCrypto()?.newRecoveryKey()) ?? ""));
    }, []);
    // Nothing depends on the key before it is said to be safe: who leaves has the key of before, or none.
    const keep = async (): Promise<void> => {
        setBusy(true);
        const done = await attempt(async () => {
            await theCrypto()?.keepRecoveryKey();
            return true;
        });
        setBusy(false);
        if (done) home();
    };
    const save = (): void => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([`${grouped(key)}\n`], { type: "text/plain" }));
        link.download = `hromada-recovery-key-${the().engine.userId.replace(/\W+/g, "-")}.txt`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    };
    return (
        <Quiet>
            <span class="seal"><Icon name="key-round" /></span>
            <div><h1 class="h2">{t("recovery.title")}</h1><p class="mut lead-in">{t("recovery.text")}</p></div>
            {key ? <div class="key" tabIndex={0} role="group" aria-label={t("recovery.key")}>{grouped(key)}</div> : <div class="key"><span class="bone" /></div>}
            <div class="row wrapping">
                <button type="button" class="btn grow" disabled={!key} onClick={() => copied(grouped(key))}><Icon name="copy" />{t("profile.copy")}</button>
                <button type="button" class="btn grow" disabled={!key} onClick={save}><Icon name="download" />{t("recovery.file")}</button>
                <button type="button" class="btn grow" disabled={!key} onClick={() => print()}><Icon name="printer" />{t("recovery.print")}</button>
            </div>
            <label class="row top"><input type="checkbox" class="chk" checked={kept} onChange={(event) => setKept(event.currentTarget.checked)} /><span>{t("recovery.kept")}</span></label>
            <div class="row"><button type="button" class="btn go grow tall" disabled={!kept || !key || busy} onClick={() => void keep()}>{t(busy ? "loading" : "confirm.yes")}</button><button type="button" class="btn plain tall" disabled={busy} onClick={home}>{t(recovery.value ? "cancel" : "recovery.tomorrow")}</button></div>
        </Quiet>
    );
}

function Unlock(): JSX.Element {
    const [text, setText] = useState("");
    const [wrong, setWrong] = useState(false);
    const [busy, setBusy] = useState(false);
    const [resetting, setResetting] = useState(false);
    const { count, total, group, odd } = recoveryProblem(text);
    const take = ([file]: File[]): void => {
        void file?.slice(0, LONGEST_FILE).text().then((content) => {
            setText(content.trim());
            setWrong(false);
        });
    };
    const open = async (event: Event): Promise<void> => {
        event.preventDefault();
        setBusy(true);
        const good = await theCrypto()?.unlock(text).catch(() => false);
        setBusy(false);
        setWrong(!good);
        if (good) {
            toast(t("verify.done"));
            go({ page: "verify" }, true);
        }
    };
    return (
        <Quiet>
            <IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go({ page: "verify" })} />
            <div><h1 class="h2">{t("unlock.title")}</h1><p class="mut lead-in">{t("unlock.text")}</p></div>
            <form class="stack" onSubmit={(event) => void open(event)}>
                <label class="field"><span class="legend">{t("unlock.key")}</span>
                    <textarea class="in mono" spellcheck={false} autocapitalize="none" value={text} aria-invalid={wrong || odd || group !== undefined} onInput={(event) => { setText(event.currentTarget.value); setWrong(false); }}
                        onDragOver={(event) => event.preventDefault()}
                        onDrop={(event) => {
                            event.preventDefault();
                            take([...(event.dataTransfer?.files ?? [])]);
                        }} />
                    {group !== undefined ? (
                        <span class="hint bad" role="alert"><Icon name="circle-alert" /><span>{t(odd ? "unlock.maybe" : "unlock.group", { n: group.at, text: group.text })}</span></span>
                    ) : wrong || odd ? (
                        <span class="hint bad" role="alert"><Icon name="circle-alert" /><span>{t(odd ? "unlock.odd" : "unlock.wrong")}</span></span>
                    ) : (
                        <span class="hint" role="status">{t("unlock.count", { n: count, total })}</span>
                    )}
                </label>
                <div class="row wrapping">
                    <button class="btn go grow tall" disabled={busy || count < total || odd || group !== undefined}>{t(busy ? "loading" : "unlock.open")}</button>
                    <button type="button" class="btn tall" onClick={() => pickFiles(take, "text/plain")}><Icon name="file-up" />{t("unlock.file")}</button>
                </div>
            </form>
            <p class="small mut"><button type="button" class="linked" onClick={() => setResetting(true)}>{t("unlock.lost")}</button></p>
            {resetting && <ResetDialog onClose={() => setResetting(false)} />}
        </Quiet>
    );
}
