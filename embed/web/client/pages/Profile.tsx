// Settings: how others see the user, and the account itself.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog, Field, IconButton, PasswordField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { language, t } from "../i18n/t.ts";
import { Face } from "../parts/faces.tsx";
import { pickPicture } from "../parts/Uploads.tsx";
import { Account, NeedsPassword } from "../sdk/account.ts";
import type { Way } from "../sdk/mine/collect.ts";
import { type About, aboutOf, here, profileOf, setAbout as change, zones } from "../sdk/profile.ts";
import { attempt, me, signOut, the, toast } from "../stores/app.ts";
import { question } from "../stores/ui.ts";
import { Addresses } from "./Addresses.tsx";
import { copied } from "./Room.tsx";
import { Row, save } from "./rows.tsx";
import "../parts/asked.ts";

export const account = (): Account => {
    const { engine, commands } = the();
    return new Account(engine.userId, commands.request);
};

/** Run what the server wants the password for; ask for it if so. */
export function useConfirmed(): [(run: (password?: string) => Promise<unknown>) => Promise<boolean>, JSX.Element | null] {
    const [waiting, setWaiting] = useState<{ run: (password?: string) => Promise<unknown>; done: (good: boolean) => void }>();
    const [password, setPassword] = useState("");
    const start = async (run: (password?: string) => Promise<unknown>): Promise<boolean> => {
        try {
            await run();
            return true;
        } catch (error) {
            if (error instanceof NeedsPassword) return new Promise((done) => setWaiting({ run, done }));
            await attempt(() => Promise.reject(error as Error));
            return false;
        }
    };
    const close = (good: boolean): void => {
        waiting?.done(good);
        setWaiting(undefined);
        setPassword("");
    };
    const dialog = waiting ? (
        <Dialog title={t("confirm.title")} onClose={() => close(false)} footer={<><button type="button" class="btn" onClick={() => close(false)}>{t("cancel")}</button><button type="submit" form="confirm" class="btn go">{t("confirm.yes")}</button></>}>
            <form id="confirm" class="in-dlg stack" onSubmit={(event) => {
                event.preventDefault();
                void attempt(() => waiting.run(password)).then((done) => done !== undefined && close(true));
            }}>
                <p class="mut">{t("confirm.text")}</p>
                <PasswordField label={t("login.password")} show={t("login.show")} hide={t("login.hide")} autocomplete="current-password" required autofocus value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
            </form>
        </Dialog>
    ) : null;
    return [start, dialog];
}

/** Name, pronouns and time zone. */
function Said(): JSX.Element {
    const { commands, engine } = the();
    const [name, setName] = useState(me.value.name);
    const [before, setBefore] = useState<Record<string, unknown>>();
    const [about, setAbout] = useState<About>({ pronouns: "", zone: "" });
    const read = (found: Record<string, unknown>): void => {
        setBefore(found);
        setAbout(aboutOf(found, language.value));
    };
    useEffect(() => setName(me.value.name), [me.value.name]);
    useEffect(() => void profileOf(commands.request, engine.userId).then(read, () => undefined), []);
    const was = aboutOf(before ?? {}, language.value);
    const other = about.pronouns.trim() !== was.pronouns || about.zone !== was.zone;
    const save = async (event: Event): Promise<void> => {
        event.preventDefault();
        const done = await attempt(async () => {
            if (name.trim() !== me.value.name) await commands.setName(name.trim());
            me.value = { ...me.value, name: name.trim() };
            if (!before || !other) return true;
            await change(commands.request, engine.userId, before, language.value, about);
            read(await profileOf(commands.request, engine.userId));
            return true;
        });
        if (done) toast(t("saved"));
    };
    const zone = (value: string, words = value.replace(/_/g, " ")): JSX.Element => <option key={value} value={value}>{words}</option>;
    const own = here();
    return (
        <form class="sect stack" onSubmit={(event) => void save(event)}>
            <Field label={t("profile.name")} value={name} maxLength={256} onInput={(event) => setName(event.currentTarget.value)} />
            {before && <Field label={t("profile.pronouns")} value={about.pronouns} maxLength={60} onInput={(event) => setAbout({ ...about, pronouns: event.currentTarget.value })} />}
            {before && (
                <label class="field"><span class="legend">{t("profile.zone")}</span>
                    <select class="in" value={about.zone} onChange={(event) => setAbout({ ...about, zone: event.currentTarget.value })}>
                        {zone("", t("profile.zone-none"))}
                        {zone(own, t("profile.zone-here", { zone: own }))}
                        {[...new Set([...zones(), was.zone])].filter((each) => each && each !== own).map((each) => zone(each))}
                    </select>
                    <span class="hint">{t("profile.zone-text")}</span>
                </label>
            )}
            {(name.trim() !== me.value.name || other) && <button class="btn go">{t("save")}</button>}
        </form>
    );
}

/** What the user has here, as an archive that is made in this browser: what is encrypted can be opened only here. */
function MyData(): JSX.Element {
    const [stop, setStop] = useState<AbortController>();
    const [way, setWay] = useState<Way>();
    useEffect(() => () => stop?.abort(), [stop]);
    const make = async (): Promise<void> => {
        const { commands, engine } = the();
        const control = new AbortController();
        setStop(control);
        await attempt(async () => {
            const [{ collect }, { archive }] = await Promise.all([import("../sdk/mine/collect.ts"), import("../sdk/mine/archive.ts")]);
            const made = await archive(collect(engine, commands.request, control.signal, setWay)).catch((error: unknown) => {
                if (!control.signal.aborted) throw error;
            });
            if (made) save(made, `hromada-${new Date().toISOString().slice(0, 10)}.zip`);
        });
        setStop(undefined);
        setWay(undefined);
    };
    return (
        <Row icon="download" title={t("profile.data")} text={way ? <span role="status">{t("profile.data-room", { n: way.room, total: way.rooms })}</span> : t("profile.data-text")}>
            <button type="button" class="btn s" onClick={() => (stop ? stop.abort() : void make())}>{t(stop ? "cancel" : "profile.prepare")}</button>
        </Row>
    );
}

export function Profile(): JSX.Element {
    const { commands } = the();
    const [changing, setChanging] = useState(false);
    const [confirm, dialog] = useConfirmed();
    const [next, setNext] = useState("");
    const picture = (): void =>
        pickPicture(async (avatar) => {
            await commands.setAvatar(avatar);
            me.value = { ...me.value, avatar };
        });
    const changePassword = async (event: Event): Promise<void> => {
        event.preventDefault();
        if (!(await confirm((password) => account().setPassword(next, password)))) return;
        setChanging(false);
        setNext("");
        toast(t("profile.password-done"));
    };
    const remove = (): void => {
        question.value = {
            title: t("profile.delete"), text: t("profile.delete-text"), yes: t("profile.delete"), bad: true,
            run: () => void confirm((password) => account().deactivate(password)).then((done) => done && void signOut()),
        };
    };
    return (
        <>
            <h1>{t("settings.profile")}</h1>
            <p class="mut">{t("profile.text")}</p>
            <div class="sect row wrapping"><Face person={me.value} size="6rem" /><div class="stack tight"><div class="row"><button type="button" class="btn" onClick={picture}><Icon name="image-up" />{t("profile.photo")}</button>{me.value.avatar && <button type="button" class="btn plain bad" onClick={() => void attempt(() => commands.setAvatar("")).then(() => (me.value = { ...me.value, avatar: undefined }))}>{t("remove")}</button>}</div><p class="small sub">{t("profile.photo-text")}</p></div></div>
            <Said />
            <div class="sect"><h2 class="h3">{t("profile.account")}</h2><div class="card">
                <Row icon="at-sign" title={me.value.id} text={t("profile.address")}><IconButton icon="copy" label={t("profile.copy")} onClick={() => copied(me.value.id)} /></Row>
                <Addresses account={account()} confirm={confirm} />
                <Row icon="lock" title={t("login.password")}><button type="button" class="btn s" aria-expanded={changing} onClick={() => setChanging(!changing)}>{t("profile.change")}</button></Row>
                {changing && <form class="set" onSubmit={(event) => void changePassword(event)}><div class="grow stack"><PasswordField label={t("profile.new-password")} show={t("login.show")} hide={t("login.hide")} autocomplete="new-password" minLength={8} required value={next} onInput={(event) => setNext(event.currentTarget.value)} /><button class="btn go">{t("save")}</button></div></form>}
            </div></div>
            <div class="sect"><div class="card"><MyData /><Row icon="user-x" title={t("profile.delete")} text={t("profile.delete-text")}><button type="button" class="btn s bad" onClick={remove}>{t("delete.yes")}</button></Row></div></div>
            {dialog}
        </>
    );
}
