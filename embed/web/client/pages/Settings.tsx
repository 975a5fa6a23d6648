import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog, Field, IconButton, Segments } from "../../ui/controls.tsx";
import { Avatar, voice } from "../../ui/Avatar.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useScrolled } from "../../ui/scrolled.ts";
import "../i18n/settings.ts";
import { keepLocal, language, LANGUAGES, type Language, speak, t } from "../i18n/t.ts";
import { KeysTable } from "../parts/KeysTable.tsx";
import { useTitle } from "../parts/PageTitle.tsx";
import { TabBar } from "../parts/Rail.tsx";
import { dayName, short } from "../render/dates.ts";
import { go } from "../routes.ts";
import type { Device } from "../sdk/account.ts";
import { admin, attempt, signOut, the } from "../stores/app.ts";
import { confirmed, cryptoState, recovery, strangers, theCrypto } from "../stores/crypto.ts";
import { set, settings } from "../stores/settings.ts";
import { phone, question } from "../stores/ui.ts";
import { Backup } from "./Backup.tsx";
import { ResetDialog } from "./Confirm.tsx";
import { KeysFile } from "./KeysFile.tsx";
import { account, Profile, useConfirmed } from "./Profile.tsx";
import { copied } from "./Room.tsx";
import { Row, Toggle } from "./rows.tsx";
import { Notifications, Privacy } from "./Told.tsx";
import "../parts/asked.ts";

const TABS = [
    ["profile", "user"], ["devices", "monitor-smartphone"], ["encryption", "key-round"], ["notifications", "bell"], ["appearance", "palette"],
    ["language", "languages"], ["privacy", "eye-off"], ["keyboard", "keyboard"], ["about", "info"],
] as const;
type Tab = (typeof TABS)[number][0];

export function SettingsPage({ tab }: { tab: string }): JSX.Element {
    const now: Tab = TABS.find(([each]) => each === tab)?.[0] ?? "profile";
    const box = useRef<HTMLDivElement>(null);
    const scrolled = useScrolled(box, `settings ${now}`);
    useTitle(t("nav.settings"));
    const chosen = tab !== "";
    const menu = (
        <nav class="side" aria-label={t("nav.settings")}>
            <h1>{t("nav.settings")}</h1>
            {TABS.map(([each, icon]) => (
                <a key={each} href={`#/settings/${each}`} aria-current={now === each ? "page" : undefined}>
                    <Icon name={icon} /><span>{t(`settings.${each}`)}</span>
                    {each === "devices" && strangers.value.length > 0 && <span class="dot you" role="img" aria-label={t("stranger.toast")} />}
                    {each === "encryption" && (recovery.value === false || confirmed.value === false) && <span class="dot you" />}
                </a>
            ))}
            {admin.value && <a href="#/admin/users" class="phone-only"><Icon name="server" /><span>{t("nav.admin")}</span></a>}
            <hr />
            <button type="button" class="side-button" onClick={() => void askToSignOut()}><Icon name="log-out" /><span>{t("settings.sign-out")}</span></button>
        </nav>
    );
    return (
        <>
            {menu}
            <main class="main" aria-label={t(`settings.${now}`)}>
                <header class="bar phone-only"><IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go({ page: "home" })} /><select class="sel grow" aria-label={t("nav.settings")} value={now} onChange={(event) => go({ page: "settings", tab: event.currentTarget.value })}>{TABS.map(([each]) => <option key={each} value={each}>{t(`settings.${each}`)}</option>)}</select></header>
                <div class="scroll" ref={box} onScroll={scrolled} tabIndex={0}>
                    <div class="wrap" key={now}>{chosen && PAGES[now]()}</div>
                </div>
                {phone.value && <TabBar />}
            </main>
        </>
    );
}

const PAGES: Record<Tab, () => JSX.Element> = {
    profile: () => <Profile />, devices: () => <Devices />, encryption: () => <Encryption />, notifications: () => <Notifications />, appearance: () => <Appearance />,
    language: () => <LanguageAndTime />, privacy: () => <Privacy />, keyboard: () => <Keyboard />, about: () => <About />,
};

/** Without a recovery key, the last confirmed device takes the way to the encrypted messages with it. */
async function isLast(): Promise<boolean> {
    if (cryptoState.value !== "ready" || recovery.value !== false || !confirmed.value) return false;
    const known = await theCrypto()?.confirmedDevices().catch(() => undefined);
    return (known?.size ?? 1) <= 1;
}

async function askToSignOut(): Promise<void> {
    const unsent = the().outbox.size;
    const alone = await isLast();
    question.value = {
        title: t("signout.title"),
        text: t(alone ? "signout.no-key" : unsent ? "signout.unsent" : "signout.text", { n: unsent }),
        first: alone ? { label: t("signout.save"), run: () => go({ page: "recovery" }) } : undefined,
        yes: t("settings.sign-out"), bad: true,
        run: () => void signOut(),
    };
}

function Devices(): JSX.Element {
    const { engine } = the();
    const [list, setList] = useState<readonly Device[]>([]);
    const [good, setGood] = useState<ReadonlySet<string>>(new Set());
    const [confirm, dialog] = useConfirmed();
    const [naming, setNaming] = useState<Device>();
    const load = (): void => {
        void attempt(() => account().devices()).then((found) => found && setList(found.sort((a, b) => b.seen - a.seen)));
        void theCrypto()?.confirmedDevices().then(setGood, () => undefined);
    };
    useEffect(load, [strangers.value]);
    // A device is signed a moment after both sides have said that it is.
    useEffect(() => theCrypto()?.on("change", () => void theCrypto()?.confirmedDevices(false).then(setGood, () => undefined)), []);
    const own = list.find(({ id }) => id === engine.session.deviceId);
    const others = list.filter((device) => device !== own);
    const end = (ids: string[]): void => {
        question.value = {
            title: t("devices.end"), text: t("devices.end-text", { n: ids.length }), yes: t("devices.end"), bad: true,
            run: () => void confirm((password) => account().deleteDevices(ids, password)).then((done) => done && load()),
        };
    };
    const chip = (id: string): JSX.Element | null =>
        cryptoState.value !== "ready" ? null : good.has(id) ? <span class="chip ok"><Icon name="shield-check" /><span>{t("devices.yours")}</span></span> : <span class="chip warn"><Icon name="shield-question" /><span>{t("devices.unconfirmed")}</span></span>;
    const row = (device: Device): JSX.Element => (
        <div class="set" key={device.id}>
            <Icon name={/Android|iPhone|iOS|Pixel/i.test(device.name) ? "smartphone" : "monitor"} />
            <button type="button" class="grow plainly" onClick={() => setNaming(device)} title={t("devices.rename")}><b>{device.name}</b><small>{[device.seen ? short(device.seen) : "", device.ip, device.id].filter(Boolean).join(" · ")}</small></button>
            {chip(device.id)}
            {device !== own && cryptoState.value === "ready" && !good.has(device.id) && confirmed.value && <button type="button" class="btn s" onClick={() => void attempt(async () => theCrypto()?.ask({ device: device.id })).then(() => go({ page: "verify" }))}>{t("verify.accept")}</button>}
            {device !== own && <IconButton icon="log-out" label={t("devices.end-one", { name: device.name })} onClick={() => end([device.id])} />}
        </div>
    );
    return (
        <>
            <h1>{t("settings.devices")}</h1>
            <p class="mut">{t("devices.text")}</p>
            {!engine.tokens.safe && <p class="sect card pad">{t("devices.bare")}</p>}
            {others.filter(({ id }) => strangers.value.includes(id)).map((device) => (
                <div class="sect card pad stranger" key={device.id} role="group" aria-label={t("stranger.title")}>
                    <div class="row top"><span class="seal warn"><Icon name="shield-question" /></span><div class="grow"><h2 class="h3">{t("stranger.title")}</h2><p>{t("stranger.text", { name: device.name, when: device.seen ? short(device.seen) : "—" })}</p></div></div>
                    <div class="row wrapping">
                        <button type="button" class="btn go" onClick={() => void attempt(async () => theCrypto()?.ask({ device: device.id })).then(() => go({ page: "verify" }))}>{t("stranger.yes")}</button>
                        <button type="button" class="btn bad" onClick={() => end([device.id])}>{t("stranger.no")}</button>
                    </div>
                </div>
            ))}
            {own && <div class="sect"><h2 class="h3">{t("devices.this")}</h2><div class="card">{row(own)}</div></div>}
            {others.length > 0 && <div class="sect"><h2 class="h3">{t("devices.others")}</h2><div class="card">{others.map(row)}</div></div>}
            {others.length > 1 && <button type="button" class="btn plain bad above" onClick={() => end(others.map(({ id }) => id))}>{t("devices.end-all")}</button>}
            {dialog}
            {naming && <Rename device={naming} onClose={() => setNaming(undefined)} onDone={load} />}
        </>
    );
}

/** What a device is called, here and in the lists of the user's others. */
function Rename({ device, onClose, onDone }: { device: Device; onClose: () => void; onDone: () => void }): JSX.Element {
    const [name, setName] = useState(device.name);
    const save = async (event: Event): Promise<void> => {
        event.preventDefault();
        onClose();
        if (name.trim()) await attempt(() => account().renameDevice(device.id, name.trim())).then(onDone);
    };
    return (
        <Dialog title={t("devices.rename")} onClose={onClose}
            footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="rename" class="btn go" disabled={!name.trim()}>{t("save")}</button></>}
        >
            <form id="rename" class="in-dlg" onSubmit={(event) => void save(event)}><Field label={t("devices.name")} value={name} maxLength={100} autofocus onInput={(event) => setName(event.currentTarget.value)} /></form>
        </Dialog>
    );
}

function Encryption(): JSX.Element {
    // Asked first: a page that is drawn before the machine is there is drawn again.
    const state = cryptoState.value;
    const machine = theCrypto();
    const [fingerprint, setFingerprint] = useState("");
    const [resetting, setResetting] = useState(false);
    useEffect(() => {
        void machine?.fingerprint().then(setFingerprint, () => undefined);
    }, [machine]);
    if (!machine || state !== "ready") return <><h1>{t("settings.encryption")}</h1><p class="mut">{t(state === "loading" ? "loading" : "encryption.off")}</p></>;
    return (
        <>
            <h1>{t("settings.encryption")}</h1>
            <p class="mut">{t(confirmed.value && recovery.value ? "encryption.set" : "encryption.unset")}</p>
            {confirmed.value === false && <div class="note warn sect"><Icon name="shield-question" /><span class="grow">{t("encryption.unconfirmed")}</span><a class="btn s" href="#/verify">{t("locked.confirm-yes")}</a></div>}
            <div class="sect"><div class="card">
                <Row icon="key-round" title={t("recovery.key")} text={t(recovery.value ? "encryption.has-key" : "encryption.no-key")}><a class="btn s" href="#/recovery">{t(recovery.value ? "encryption.replace" : "encryption.make")}</a></Row>
                <Backup machine={machine} />
                <Row icon="fingerprint" title={t("encryption.fingerprint")} text={<span class="mono-s">{fingerprint.match(/.{1,4}/g)?.join(" ")}</span>}><IconButton icon="copy" label={t("profile.copy")} onClick={() => copied(fingerprint)} /></Row>
            </div></div>
            <div class="sect"><h2 class="h3">{t("encryption.advanced")}</h2><div class="card">
                <KeysFile machine={machine} />
                <Row icon="rotate-ccw" title={t("reset.yes")} text={t("encryption.reset-text")}><button type="button" class="btn s bad" onClick={() => setResetting(true)}>{t("encryption.reset")}</button></Row>
            </div></div>
            {resetting && <ResetDialog onClose={() => setResetting(false)} />}
        </>
    );
}

function Appearance(): JSX.Element {
    const now = settings.value;
    return (
        <>
            <h1>{t("settings.appearance")}</h1>
            <div class="sect"><h2 class="h3">{t("look.theme")}</h2>
                <Segments label={t("look.theme")} value={now.theme} onChange={(value) => set("theme", value)} options={[["", <><Icon name="monitor" />{t("look.system")}</>], ["light", <><Icon name="sun" />{t("look.light")}</>], ["dark", <><Icon name="moon" />{t("look.dark")}</>]]} />
            </div>
            <div class="sect"><h2 class="h3">{t("look.conversation")}</h2>
                <div class="card pad" aria-hidden="true"><ol class="flow">
                    <li class="msg first"><Avatar id="1" name="Олена Коваль" src="/assets/olena.svg" /><div class="b"><div class="who" style={{ "--vc": voice("1") }}>Олена Коваль<time>18:12</time></div><div class="bub">Хто відчинить хвіртку в суботу?</div></div></li>
                    <li class="msg own first"><div class="b"><div class="bub">I can, from half past eight.</div></div></li>
                </ol></div>
                <div class="card above-s">
                    <Row title={t("look.style")}><Segments label={t("look.style")} value={now.style} onChange={(value) => set("style", value)} options={[["bubbles", t("look.bubbles")], ["lines", t("look.lines")]]} /></Row>
                    <Row title={t("look.density")}><Segments label={t("look.density")} value={now.density} onChange={(value) => set("density", value)} options={[["roomy", t("look.roomy")], ["compact", t("look.compact")]]} /></Row>
                    <Row title={t("look.size")}><span class="row small-gap"><Icon name="a-arrow-down" /><input type="range" class="range" min={13} max={22} value={now.textSize} aria-label={t("look.size")} onInput={(event) => set("textSize", Number(event.currentTarget.value))} /><Icon name="a-arrow-up" /></span></Row>
                    <Row title={t("look.send")}><Segments label={t("look.send")} value={now.sendWith} onChange={(value) => set("sendWith", value)} options={[["enter", "Enter"], ["ctrl-enter", "Ctrl Enter"]]} /></Row>
                    <Toggle name="autoplay" title="look.gif" text="look.gif-text" />
                </div>
            </div>
        </>
    );
}

/** What weeks begin with somewhere. */
const STARTS = [1, 6, 7];

function LanguageAndTime(): JSX.Element {
    const change = (value: Language): void => {
        keepLocal("hromada.language", value);
        void speak(value);
    };
    return (
        <>
            <h1>{t("settings.language")}</h1>
            <div class="sect card">
                <Row title={t("lang.language")}><select class="sel" value={language.value} aria-label={t("lang.language")} onChange={(event) => change(event.currentTarget.value as Language)}>{Object.entries(LANGUAGES).map(([code, name]) => <option key={code} value={code}>{name}</option>)}</select></Row>
                <Row title={t("lang.time")}><Segments label={t("lang.time")} value={settings.value.hour12 ? "12" : "24"} onChange={(value) => set("hour12", value === "12")} options={[["24", "18:05"], ["12", "6:05 pm"]]} /></Row>
                <Row title={t("lang.week")}><select class="sel" value={settings.value.weekStart} aria-label={t("lang.week")} onChange={(event) => set("weekStart", Number(event.currentTarget.value))}>{STARTS.map((day) => <option key={day} value={day}>{dayName(day)}</option>)}</select></Row>
                <Toggle name="spellcheck" title="lang.spell" />
            </div>
        </>
    );
}

const Keyboard = (): JSX.Element => (
    <>
        <h1>{t("settings.keyboard")}</h1>
        <p class="mut">{t("keys.text")}</p>
        <div class="sect"><KeysTable /></div>
        <div class="sect card"><Toggle name="letters" title="keys.letters" /></div>
    </>
);

const About = (): JSX.Element => (
    <>
        <h1>{t("settings.about")}</h1>
        <div class="sect card">
            <Row title="Hromada" text={`build ${BUILD}`} />
            <Row title={t("about.server")} text={the().commands.serverName} />
            <Row title={t("about.device")} text={the().engine.session.deviceId} />
            <a class="set" href="/assets/licences.txt" target="_blank" rel="noopener"><span class="grow">{t("login.licences")}</span><Icon name="chevron-right" flip /></a>
        </div>
    </>
);

