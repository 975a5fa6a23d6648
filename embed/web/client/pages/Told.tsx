// Settings: what one is told of, and who may reach one.

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { IconButton, Switch } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { type Key, language, t } from "../i18n/t.ts";
import { whole, type Whole } from "../sdk/loudness.ts";
import { webConfig } from "../sdk/session.ts";
import { Told } from "../sdk/told.ts";
import { canPush, changePushes, endPushes, isPushed, startPushes } from "../sdk/webpush.ts";
import { attempt, the } from "../stores/app.ts";
import { play } from "../stores/notify.ts";
import { settings } from "../stores/settings.ts";
import { Row, Toggle } from "./rows.tsx";
import "../parts/asked.ts";

const LONGEST_WORD = 100;

/** The rules of the account, drawn anew when another device or this one has changed them. */
function useTold(): Told {
    const { engine, commands } = the();
    const [, again] = useState(0);
    useEffect(() => engine.on("account", () => again((n) => n + 1)), [engine]);
    return useMemo(() => new Told(engine, commands.request), [engine]);
}

/** A choice that the server keeps: it shows what was chosen while the server has not answered, then what the server has. */
function Kept({ title, text, now, save, yes, no }: { title: Key; text?: Key; now: boolean; save: (on: boolean) => Promise<unknown>; yes?: Key; no?: Key }): JSX.Element {
    const [chosen, choose] = useState<boolean>();
    useEffect(() => choose(undefined), [now]);
    const shown = chosen ?? now;
    const change = (on: boolean): void => {
        choose(on);
        void attempt(async () => {
            await save(on);
            return true;
        }).then((done) => done === undefined && choose(undefined));
    };
    return (
        <Row title={t(title)} text={text && t(text)}>
            {yes && no ? (
                <select class="sel" aria-label={t(title)} value={shown ? "yes" : "no"} onChange={(event) => change(event.currentTarget.value === "yes")}><option value="yes">{t(yes)}</option><option value="no">{t(no)}</option></select>
            ) : (
                <Switch checked={shown} label={t(title)} onChange={change} />
            )}
        </Row>
    );
}

function Words({ told, words }: { told: Told; words: readonly string[] }): JSX.Element {
    const [word, setWord] = useState("");
    const add = (event: Event): void => {
        event.preventDefault();
        const wanted = word.trim();
        if (!wanted) return;
        void attempt(() => told.addWord(wanted)).then((done) => done !== undefined && setWord(""));
    };
    return (
        <div class="sect"><h2 class="h3">{t("told.words")}</h2><p class="small sub">{t("told.words-text")}</p>
            <div class="card">
                {words.map((each) => <Row key={each} title={each}><IconButton icon="x" label={t("told.remove", { word: each })} onClick={() => void attempt(() => told.removeWord(each))} /></Row>)}
                <form class="set" onSubmit={add}>
                    <input class="in grow" aria-label={t("told.word")} placeholder={t("told.word")} value={word} maxLength={LONGEST_WORD} onInput={(event) => setWord(event.currentTarget.value)} />
                    <button class="btn s" disabled={!word.trim()}>{t("told.add")}</button>
                </form>
            </div>
        </div>
    );
}

/** Pushes to this browser, where it and the server can. */
function Closed({ told, onAsked }: { told: Told; onAsked: () => void }): JSX.Element | null {
    const [key, setKey] = useState<string | null>();
    const [on, setOn] = useState<boolean>(); // not known yet: a switch that says it is off would be left alone
    const text = settings.value.notifyText;
    const lang = language.value;
    useEffect(() => {
        if (!canPush()) return;
        void webConfig().then((config) => setKey(config.push_key));
        void isPushed(told.engine).then(setOn, () => setOn(false));
    }, [told]);
    useEffect(() => {
        if (on) void changePushes(told.engine, lang, text).catch(() => undefined);
    }, [on, lang, text]);
    if (!key || on === undefined) return null;
    const change = (wanted: boolean): void => {
        setOn(wanted);
        void attempt(async () => (wanted ? startPushes(told.engine, key, lang, text) : (await endPushes(told.engine), false)))
            .then((now) => setOn(now ?? !wanted))
            .finally(onAsked);
    };
    return <Row title={t("notifications.closed")} text={t("notifications.closed-text")}><Switch checked={on} label={t("notifications.closed")} onChange={change} /></Row>;
}

export function Notifications(): JSX.Element {
    const told = useTold();
    const [permission, setPermission] = useState(globalThis.Notification?.permission ?? "denied");
    // The browser's own settings may change it while this page is open, and before that is listened to.
    useEffect(() => {
        const asked = navigator.permissions?.query({ name: "notifications" }).catch(() => undefined);
        const read = (): void => setPermission(Notification.permission);
        void asked?.then((found) => {
            if (!found) return;
            found.onchange = read;
            read();
        });
        return () => void asked?.then((found) => found && (found.onchange = null));
    }, []);
    const messages = (which: Whole, title: Key, text?: Key): JSX.Element =>
        <Kept title={title} {...(text && { text })} now={whole(told.engine, which)} save={(on) => told.setWhole(which, on)} yes="loud.all-long" no="loud.mentions-long" />;
    return (
        <>
            <h1>{t("settings.notifications")}</h1>
            <p class="mut">{t("notifications.text")}</p>
            {permission !== "granted" && (
                <div class="note info sect"><Icon name="bell-ring" /><span class="grow">{t(permission === "denied" ? "notifications.denied" : "notifications.ask")}</span>
                    {permission === "default" && <button type="button" class="btn s" onClick={() => void Notification.requestPermission().then(setPermission)}>{t("notifications.allow")}</button>}</div>
            )}
            <div class="sect"><h2 class="h3">{t("told.title")}</h2><div class="card">
                {messages("direct", "told.direct")}
                {messages("rooms", "told.rooms", "told.rooms-text")}
                <Kept title="told.everybody" text="told.everybody-text" now={told.everybody()} save={told.setEverybody} />
                <Kept title="told.invites" now={told.invites()} save={told.setInvites} />
            </div></div>
            <Words told={told} words={told.words()} />
            <div class="sect"><h2 class="h3">{t("notifications.how")}</h2><div class="card">
                <Toggle name="notify" title="notifications.show" />
                <Toggle name="notifyText" title="notifications.body" text="notifications.body-text" />
                <Toggle name="sound" title="notifications.sound"><button type="button" class="btn s plain" onClick={() => play(true)}><Icon name="play" />{t("notifications.listen")}</button></Toggle>
                <Closed told={told} onAsked={() => setPermission(globalThis.Notification?.permission ?? "denied")} />
                <Toggle name="quiet" title="notifications.quiet" text="notifications.quiet-text" />
            </div></div>
        </>
    );
}

export function Privacy(): JSX.Element {
    const { commands } = the();
    const told = useTold();
    const [ignored, setIgnored] = useState(commands.ignored());
    return (
        <>
            <h1>{t("settings.privacy")}</h1>
            <div class="sect card">
                <Toggle name="receipts" title="privacy.receipts" />
                <Toggle name="typing" title="privacy.typing" />
                <Kept title="privacy.invite" text="privacy.invite-text" now={told.mayInvite()} save={(may) => told.setMayInvite(may)} yes="privacy.everybody" no="privacy.no-one" />
                <Toggle name="previews" title="privacy.previews" text="privacy.previews-text" />
                {settings.value.previews && <Toggle name="previewsEncrypted" title="privacy.previews-encrypted" text="privacy.previews-encrypted-text" />}
            </div>
            <div class="sect"><h2 class="h3">{t("privacy.ignored")}</h2>
                {ignored.length === 0 ? <p class="small sub">{t("privacy.nobody")}</p> : (
                    <div class="card">{ignored.map((user) => <Row key={user} icon="user-x" title={user}><button type="button" class="btn s" onClick={() => void attempt(() => commands.ignore(user, false)).then(() => setIgnored(ignored.filter((each) => each !== user)))}>{t("person.unignore")}</button></Row>)}</div>
                )}
            </div>
        </>
    );
}
