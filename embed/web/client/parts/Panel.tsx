import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { copied, useActions, usePeople } from "../pages/Room.tsx";
import { panel, go, route, shareLink } from "../routes.ts";
import { moreThreads, type Threads as Found, threadsOf } from "../sdk/threads.ts";
import { messagesById } from "../sdk/timeline.ts";
import type { Message, RoomRow } from "../sdk/types.ts";
import { attempt, openRoomById, rooms, the } from "../stores/app.ts";
import { draftKey, handOn } from "../stores/drafts.ts";
import { settingsOf, rightsOf, type RoomView, viewOf } from "../stores/room.ts";
import { ticketOf } from "../stores/ticket.ts";
import { handFilesOn } from "../stores/uploads.ts";
import { inviteTo, jumping, personCard, reporting } from "../stores/ui.ts";
import { Composer } from "./Composer.tsx";
import { type Listeners, useDrop } from "./Drop.tsx";
import { RoomFace, useAnchor } from "./faces.tsx";
import type { Counts } from "./Files.tsx";
import { useComposerLock } from "./Locked.tsx";
import { MessageRow } from "./Message.tsx";
import { askToLeave } from "./RoomList.tsx";
import { TimelineView } from "./Timeline.tsx";
import { Menu } from "../../ui/controls.tsx";

/** Whether the SDK has the room: the list is shown before that, as it was kept. */
function useThere(room: string): boolean {
    const { engine } = the();
    const [there, setThere] = useState(engine.room(room) !== null);
    useEffect(() => {
        const look = (): void => setThere(engine.room(room) !== null);
        look();
        return there ? undefined : engine.on("rooms", look);
    }, [room, there]);
    return there;
}

/** The fourth column: what there is to know of the room. All of it is asked for anew once the room is there. */
export function Panel({ row, shown }: { row: RoomRow; shown: string }): JSX.Element {
    const key = String(useThere(row.id));
    if (shown.startsWith("thread:")) return <ThreadPanel row={row} root={shown.slice(7)} />;
    if (shown === "threads") return <Threads row={row} key={key} />;
    if (shown === "pinned") return <Pinned row={row} key={key} />;
    if (shown === "files") return <Frame label={t("panel.files")} title={t("panel.files")} back="details"><Files row={row} key={key} /></Frame>;
    return <Details row={row} tab={shown === "members" || shown === "settings" ? shown : "details"} key={key} />;
}

function Frame({ label, title, back, children, on }: { label: string; title: ComponentChildren; back?: string | undefined; children: ComponentChildren; on?: Listeners }): JSX.Element {
    return (
        <aside class="panel" aria-label={label} {...on}>
            <header class="bar">
                {back && <IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => panel(back)} />}
                <h2>{title}</h2>
                <IconButton icon="x" label={t("close")} onClick={() => panel(undefined)} />
            </header>
            {children}
        </aside>
    );
}

const MediaStrip = lazy(() => import("./Files.tsx").then(({ MediaStrip }) => MediaStrip), null);
const RoomSettings = lazy(() => import("./RoomSettings.tsx").then(({ RoomSettings }) => RoomSettings), null);
const SupportCase = lazy(() => import("./SupportCase.tsx").then(({ SupportCase }) => SupportCase), null);
const Files = lazy(() => import("./Files.tsx").then(({ Files }) => Files), null);
const Members = lazy(() => import("./Members.tsx").then(({ Members }) => Members), null);

const TABS = ["details", "members", "settings"] as const;

function Details({ row, tab }: { row: RoomRow; tab: (typeof TABS)[number] }): JSX.Element {
    return (
        <Frame label={t("room.details")} title={t("room.details")}>
            <div class="tabs" role="tablist" aria-label={t("room.details")}>
                {TABS.map((each) => (
                    <button key={each} type="button" role="tab" id={`tab-${each}`} aria-controls="tabpanel" aria-selected={tab === each} tabIndex={tab === each ? 0 : -1} onClick={() => panel(each)}
                        onKeyDown={(event) => {
                            const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
                            if (!step) return;
                            const next = TABS[(TABS.indexOf(each) + step + TABS.length) % TABS.length] ?? "details";
                            panel(next);
                            requestAnimationFrame(() => document.getElementById(`tab-${next}`)?.focus());
                        }}
                    >
                        {t(`panel.${each}`)}
                    </button>
                ))}
            </div>
            <div class="scroll" role="tabpanel" id="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
                {tab === "details" ? <About row={row} /> : tab === "members" ? <Members row={row} /> : <RoomSettings row={row} />}
            </div>
        </Frame>
    );
}

/** What is pinned in a room, as that changes. */
function usePinned(room: string): readonly string[] {
    const [pins, setPins] = useState<readonly string[]>(settingsOf(room)?.pinned ?? []);
    useEffect(() => {
        const look = (): void => setPins((before) => {
            const now = settingsOf(room)?.pinned ?? [];
            return now.join() === before.join() ? before : now;
        });
        look();
        return the().engine.on("timeline", (of) => {
            if (of === room) look();
        });
    }, [room]);
    return pins;
}

const LOUD = ["all", "mentions", "mute"] as const;

function About({ row }: { row: RoomRow }): JSX.Element {
    const { commands } = the();
    const rights = rightsOf(row.id);
    const pins = usePinned(row.id);
    const [loudness, setLoudness] = useState(commands.loudness(row.id));
    const [at, open, close] = useAnchor();
    const [counts, setCounts] = useState<Counts>({ files: "", threads: "" });
    const link = shareLink(row.alias ?? row.id, undefined, row.alias ? [] : [commands.serverName]);
    return (
        <>
            <div class="hero">
                <RoomFace row={row} />
                <h3>{row.name}</h3>
                <span class="small sub">{row.person ?? row.alias}</span>
                {row.topic && <p class="small mut">{row.topic}</p>}
            </div>
            {ticketOf(row.id) && <SupportCase row={row} />}
            <div class="quick">
                <button type="button" aria-haspopup="menu" aria-label={t("loud.label", { now: t(`loud.${loudness}`) })} onClick={open}><Icon name={loudness === "mute" ? "bell-off" : "bell"} /><span>{t(`loud.${loudness}`)}</span></button>
                <button type="button" onClick={() => go({ page: "search", query: "", room: row.id })}><Icon name="search" /><span>{t("list.search")}</span></button>
                <button type="button" disabled={!rights?.invite} onClick={() => (inviteTo.value = row.id)}><Icon name="user-plus" /><span>{t("panel.invite")}</span></button>
                <button type="button" onClick={() => copied(link)}><Icon name="link" /><span>{t("panel.share")}</span></button>
            </div>
            <button type="button" class="it" onClick={() => panel("pinned")}><Icon name="pin" /><span>{t("panel.pinned")}</span><span class="val">{pins.length || ""}<Icon name="chevron-right" flip /></span></button>
            <button type="button" class="it" onClick={() => panel("files")}><Icon name="folder-down" /><span>{t("panel.files")}</span><span class="val">{counts.files}<Icon name="chevron-right" flip /></span></button>
            <button type="button" class="it" onClick={() => (jumping.value = row.id)}><Icon name="calendar" /><span>{t("jump.title")}</span></button>
            <button type="button" class="it" onClick={() => panel("threads")}><Icon name="message-square-text" /><span>{t("room.threads")}</span><span class="val">{counts.threads}<Icon name="chevron-right" flip /></span></button>
            <button type="button" class="it" onClick={() => panel("members")}><Icon name="users" /><span>{t("panel.members")}</span><span class="val">{row.members}<Icon name="chevron-right" flip /></span></button>
            <MediaStrip row={row} onCounts={setCounts} />
            <div class="rule" />
            <div class="it"><Icon name={row.encrypted ? "lock" : "lock-open"} /><span>{t(row.encrypted ? "room.encrypted" : "room.plain")}<small>{t(row.encrypted ? "room.encrypted-text" : "room.plain-text")}</small></span></div>
            {row.kind === "dm" && row.person && <button type="button" class="it" onClick={() => (personCard.value = { user: row.person ?? "", room: row.id })}><Icon name="user" /><span>{t("panel.person")}</span></button>}
            <button type="button" class="it" onClick={() => (reporting.value = { room: row.id, message: undefined })}><Icon name="flag" /><span>{t("panel.report")}</span></button>
            <button type="button" class="it bad" onClick={() => askToLeave(row)}><Icon name="log-out" /><span>{t("row.leave")}</span></button>
            {at && (
                <Menu label={t("settings.notifications")} at={at} onClose={close} items={LOUD.map((each) => ({
                    icon: each === loudness ? "check" : each === "mute" ? "bell-off" : each === "mentions" ? "at-sign" : "bell",
                    label: t(`loud.${each}-long`),
                    run: () => void attempt(() => commands.setLoudness(row.id, each)).then(() => setLoudness(each)),
                }))} />
            )}
        </>
    );
}

/** A root that has no id yet is named by its transaction: go on with its id as soon as it has one, and away if it is taken back. */
function useRoot(room: string, root: string, view: RoomView): void {
    const there = useRef("");
    const { items } = view;
    useEffect(() => {
        if (root.startsWith("$")) return;
        const { engine, outbox } = the();
        const id = outbox.idOf(root) ?? viewOf(room).items.value.find((item) => item.key === root && item.id)?.id;
        if (id && engine.room(room)?.findEventById(id)) {
            handOn(draftKey(room, root), draftKey(room, id), true);
            handFilesOn(draftKey(room, root), draftKey(room, id));
            if (route.value.page === "room") go({ ...route.value, panel: `thread:${id}` }, true, history.state);
        } else if (outbox.of(room).some(({ txn }) => txn === root)) {
            there.current = root;
        } else if (there.current === root && !id) {
            panel(undefined);
        }
    }, [room, root, items.value]);
}

function ThreadPanel({ row, root }: { row: RoomRow; root: string }): JSX.Element {
    const view = useMemo(() => viewOf(row.id, root), [row.id, root]);
    const { actions, doing, popups } = useActions(row, view, root);
    const people = usePeople(row, view);
    const locked = useComposerLock(row);
    useEffect(() => {
        void view.enter();
        return () => view.leave();
    }, [view]);
    useRoot(row.id, root, view);
    const rights = rightsOf(row.id);
    const [onFiles, target] = useDrop(draftKey(row.id, root), t("thread.label"), rights?.send === true && !locked);
    return (
        <Frame label={t("thread.label")} title={<>{t("thread.label")} <span class="small sub light">· {row.name}</span></>} back="threads" on={onFiles}>
            <TimelineView view={view} actions={actions} label={t("thread.messages")} />
            <Composer row={row} rights={rights} view={view} thread={root} {...doing} people={people} locked={locked} />
            {popups}
            {target}
        </Frame>
    );
}

/** A list of messages that lead somewhere. */
function Hits({ row, list, onOpen }: { row: RoomRow; list: readonly Message[] | undefined; onOpen: (message: Message) => void }): JSX.Element {
    const view = useMemo(() => viewOf(row.id), [row.id]);
    const { actions } = useActions(row, view, undefined);
    if (!list) return <p class="nothing" role="status">{t("loading")}</p>;
    return (
        <ol class="hits">
            {list.map((message) => (
                <li key={message.key} class="hit">
                    <ol><MessageRow message={message} first next={false} last={false} focused={false} flash={false} actions={{ ...actions, mayReact: false }} /></ol>
                    <button type="button" class="btn plain s" onClick={() => onOpen(message)}>{t("message.go")}</button>
                </li>
            ))}
        </ol>
    );
}

function Threads({ row }: { row: RoomRow }): JSX.Element {
    const [mine, setMine] = useState(false);
    const [list, setList] = useState<Found>();
    const { engine } = the();
    const current = useRef(0);
    const load = async (): Promise<void> => {
        const asked = ++current.current;
        const found = await threadsOf(engine, row.id, mine);
        if (asked === current.current) setList(found);
    };
    useEffect(() => {
        setList(undefined);
        void load();
        const stop = engine.on("timeline", (room) => void (room === row.id && load()));
        return () => {
            current.current++;
            stop();
        };
    }, [row.id, mine]);
    const pill = (own: boolean): JSX.Element => <button type="button" class="pill" aria-pressed={mine === own} onClick={() => setMine(own)}>{t(own ? "thread.mine" : "filter.all")}</button>;
    return (
        <Frame label={t("room.threads")} title={t("room.threads")} back="details">
            <div class="scroll" tabIndex={0}>
                <div class="pills inset" role="group" aria-label={t("list.filter")}>{pill(false)}{pill(true)}</div>
                {list?.found.length === 0 && !list.more ? <p class="nothing">{t(mine ? "thread.none-mine" : "thread.none")}</p> : <Hits row={row} list={list?.found} onOpen={({ id }) => panel(`thread:${id}`)} />}
                {list?.more && <div class="inset"><button type="button" class="btn" onClick={() => void attempt(() => moreThreads(engine, row.id, mine)).then(load)}>{t("more")}</button></div>}
            </div>
        </Frame>
    );
}

function Pinned({ row }: { row: RoomRow }): JSX.Element {
    const [list, setList] = useState<readonly Message[]>();
    const pins = usePinned(row.id);
    useEffect(() => {
        let current = true;
        void messagesById(the().engine, row.id, [...pins].reverse()).then((found) => current && setList(found));
        return () => void (current = false);
    }, [row.id, pins.join()]);
    return (
        <Frame label={t("panel.pinned")} title={t("panel.pinned")} back="details">
            <div class="scroll" tabIndex={0}>{list?.length === 0 ? <p class="nothing">{t("panel.no-pins")}</p> : <Hits row={row} list={list} onOpen={({ id }) => openRoomById(row.id, id)} />}</div>
        </Frame>
    );
}

export const rowOf = (id: string): RoomRow | undefined => rooms.value.get(id);
