import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Empty } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { isTalk, RoomPage, Strip } from "../pages/Room.tsx";
import { go, panel, type Route, route } from "../routes.ts";
import { announced, app, loaded, me, rooms, the, toasts } from "../stores/app.ts";
import { check } from "../stores/crypto.ts";
import { begun } from "../stores/list.ts";
import { composing, newDialog, personCard, switcher } from "../stores/ui.ts";
import { Boundary } from "./Boundary.tsx";
import { Dialogs } from "./Dialogs.tsx";
import { RoomFace } from "./faces.tsx";
import { PageTitle } from "./PageTitle.tsx";
import { Rail, TabBar } from "./Rail.tsx";
import { RoomList } from "./RoomList.tsx";
import { KeptTimeline } from "./Timeline.tsx";

const Explore = lazy(() => import("../pages/Explore.tsx").then(({ Explore }) => Explore));
const Invites = lazy(() => import("../pages/Preview.tsx").then(({ Invites }) => Invites));
const Settings = lazy(() => import("../pages/Settings.tsx").then(({ SettingsPage }) => SettingsPage));
const Search = lazy(() => import("../pages/Search.tsx").then(({ Search }) => Search));
const Confirm = lazy(() => import("../pages/Confirm.tsx").then(({ ConfirmPage }) => ConfirmPage));
const CheckCard = lazy(() => import("../pages/Trust.tsx").then(({ CheckCard }) => CheckCard), null);
const Admin = lazy(() => import("../pages/Admin.tsx").then(({ AdminPage }) => AdminPage));

const isNew = (): boolean => loaded.value && rooms.value.size === 0;

/** No chat is chosen: a new account is told where to begin. */
function Home(): JSX.Element {
    if (isNew()) return <Welcome />;
    return (
        <main class="main">
            <Strip />
            <Empty icon="messages-square" title={t("home.choose")} text={t("home.find")}>
                <button type="button" class="btn" onClick={() => (switcher.value = true)}><Icon name="search" />{t("list.search")}<kbd>Ctrl K</kbd></button>
            </Empty>
        </main>
    );
}

function Welcome(): JSX.Element {
    const [open, setOpen] = useState(0);
    useEffect(() => void the().commands.publicRooms("", undefined).then(({ total }) => setOpen(total), () => undefined), []);
    const card = (icon: string, title: string, text: string, press: JSX.Element | (() => void) | string): JSX.Element => {
        const inner = <><Icon name={icon} /><span class="h4">{title}</span><span class="small mut">{text}</span></>;
        return typeof press === "string" ? <a class="card pad start-card" href={press}>{inner}</a> : <button type="button" class="card pad start-card" onClick={press as () => void}>{inner}</button>;
    };
    return (
        <main class="main">
            <div class="empty broad">
                <img src="/assets/logo.svg" alt="" class="big-mark" />
                <PageTitle>{t("home.welcome", { name: me.value.name })}</PageTitle>
                <p>{t("home.begin")}</p>
                <div class="start-cards">
                    {card("user-plus", t("home.write"), t("home.write-text"), () => (newDialog.value = "people"))}
                    {card("compass", t("home.room"), open > 0 ? t("home.room-open", { n: open }) : t("home.room-text"), "#/explore")}
                    {card("image-up", t("home.photo"), t("home.photo-text"), "#/settings/profile")}
                </div>
            </div>
            <TabBar />
        </main>
    );
}

/** What stands before the client runs in the place of what it takes that to show. */
function Kept({ room }: { room: string }): JSX.Element {
    const row = rooms.value.get(room);
    return (
        <main class="main" aria-busy="true" aria-label={row?.name}>
            {row && <header class="bar head"><RoomFace row={row} size="2.25rem" /><h2 class="cut">{row.name}</h2></header>}
            <KeptTimeline room={room} />
        </main>
    );
}

function Page(): JSX.Element {
    const to = route.value;
    // The list is there before what opens a room is, and so is a conversation: it stays the same when the client runs.
    if (!app.value && !(to.page === "room" && isTalk(rooms.value.get(to.room)))) return <Kept room={to.page === "room" ? to.room : ""} />;
    switch (to.page) {
        case "room":
            return <RoomPage to={to} />;
        case "explore":
            return <Explore to={to} />;
        case "invites":
            return <Invites />;
        case "search":
            return <Search to={to} />;
        case "settings":
            return <Settings tab={to.tab} />;
        case "admin":
            return <Admin tab={to.tab} id={to.id} />;
        default:
            return <Home />;
    }
}

/** Addresses of what is shown above a page: it is opened, and the page below it keeps the address. */
function useAbove(to: Route): void {
    const ready = app.value !== undefined && loaded.value;
    useEffect(() => {
        if (!ready) return;
        if (to.page === "new") {
            newDialog.value = "people";
            go({ page: "home" }, true);
        } else if (to.page === "room" && to.panel?.startsWith("person:")) {
            const row = rooms.value.get(to.room) ?? [...rooms.value.values()].find(({ alias }) => alias === to.room);
            personCard.value = { user: to.panel.slice("person:".length), room: row?.id };
            panel(undefined);
        }
    }, [to, ready]);
}

const WITHOUT_LIST = new Set(["explore"]);

export function Client(): JSX.Element {
    const to = route.value;
    useAbove(to);
    const listed = loaded.value && rooms.value.size > 0;
    useEffect(() => void (begun.value ||= listed), [listed]);
    useEffect(() => {
        // On a new page the focus goes to its heading, so that a screen reader says where one is.
        if (to.page === "room" || to.page === "home") return undefined;
        const look = (): void => {
            if (document.querySelector("dialog[open]")) return;
            const heading = document.querySelector<HTMLElement>(".main h1, .main h2");
            heading?.setAttribute("tabindex", "-1");
            heading?.focus({ preventScroll: true });
            // The page's code may be on its way.
            if (!heading) again = setTimeout(look, 50);
        };
        let again: ReturnType<typeof setTimeout> | undefined;
        look();
        return () => clearTimeout(again);
    }, [to.page, "tab" in to ? to.tab : ""]);
    // Another device asks. What a person asks stands in the chat with them.
    const asked = check.value?.phase === "asked" && !check.value.room;
    if (to.page === "verify" || to.page === "recovery" || to.page === "unlock") {
        return <><Boundary pane="main"><Confirm page={to.page} /></Boundary><Dialogs />{asked && <CheckCard />}<Announcer /></>;
    }
    const two = to.page === "settings" || to.page === "admin";
    const shape = two ? "app two" : WITHOUT_LIST.has(to.page) ? "app one" : "app";
    return (
        <>
            {composing.value && <a class="skip" href="#composer" onClick={(event) => {
                event.preventDefault();
                document.getElementById("composer")?.focus();
            }}>{t("nav.skip")}</a>}
            <div class={shape} data-pane={to.page === "home" && !isNew() ? "list" : "main"}>
                <Rail />
                {shape === "app" && <Boundary pane="list"><RoomList /></Boundary>}
                <Boundary pane="main" key={to.page}><Page /></Boundary>
            </div>
            <Dialogs />
            {asked && <CheckCard />}
            <div class="toasts" role="region" aria-label={t("nav.toasts")}>
                {toasts.value.map(({ id, text, action, details }) => (
                    <div class="toast" key={id}><span>{text}</span>{details && <details><summary>{t("crash.details")}</summary><code>{details}</code></details>}{action && <button type="button" onClick={action.run}>{action.label}</button>}</div>
                ))}
            </div>
            <Announcer />
        </>
    );
}

/** The one voice for screen readers. */
function Announcer(): JSX.Element {
    const { text, urgent } = announced.value;
    return (
        <>
            <div class="vh" role="status" aria-live="polite">{urgent ? "" : text}</div>
            <div class="vh" role="alert" aria-live="assertive">{urgent ? text : ""}</div>
        </>
    );
}
