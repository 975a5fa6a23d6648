import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Empty, IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { Boundary } from "../parts/Boundary.tsx";
import { EmojiPicker } from "../parts/Emoji.tsx";
import { Composer } from "../parts/Composer.tsx";
import { useDrop } from "../parts/Drop.tsx";
import { Face, RoomFace } from "../parts/faces.tsx";
import { PhoneTitle } from "../parts/PageTitle.tsx";
import { type Actions } from "../parts/Message.tsx";
import { MessageMenu } from "../parts/MessageMenu.tsx";
import { Panel } from "../parts/Panel.tsx";
import { KeptTimeline, TimelineView } from "../parts/Timeline.tsx";
import { TimelineSkeleton } from "../parts/Skeleton.tsx";
import { handFilesOn } from "../stores/uploads.ts";
import { go, panel, route, type Route } from "../routes.ts";
import { personOf } from "../sdk/rooms.ts";
import type { Message, Person, RoomRow } from "../sdk/types.ts";
import { app, attempt, loaded, me, openRoomById, rooms, status, the, toast } from "../stores/app.ts";
import { draftKey, handOn } from "../stores/drafts.ts";
import { keptRoom, noView, rightsOf, RoomView, viewOf } from "../stores/room.ts";
import { ticketOf } from "../stores/ticket.ts";
import { composing, personCard } from "../stores/ui.ts";
import { TrustHere, UnlockBar, useComposerLock } from "../parts/Locked.tsx";

const Preview = lazy(() => import("./Preview.tsx").then(({ Preview }) => Preview));
const FirstWords = lazy(() => import("./FirstWords.tsx").then(({ FirstWords }) => FirstWords));
const SpaceHome = lazy(() => import("./Space.tsx").then(({ SpaceHome }) => SpaceHome));

type RoomRoute = Extract<Route, { page: "room" }>;

/** One is in this room, and it is one to write in. */
export const isTalk = (row: RoomRow | undefined): row is RoomRow => row?.membership === "join" && row.kind !== "space";

/** The room of the route, whatever one's place in it is: a conversation, an invitation, a preview. */
export function RoomPage({ to }: { to: RoomRoute }): JSX.Element {
    useEffect(() => {
        const known = to.room.startsWith("#") && [...rooms.value.values()].find((row) => row.alias === to.room);
        if (known) go({ ...to, room: known.id }, true);
    }, [to.room]);
    if (to.room.startsWith("@")) return <FirstWords key={to.room} user={to.room} />;
    const row = rooms.value.get(to.room);
    if (!row && !loaded.value) return <main class="main"><TimelineSkeleton /></main>;
    if (!row || row.membership !== "join") {
        return <Preview key={to.room} target={to.room} via={to.via} row={row} />;
    }
    if (row.kind === "space") return <SpaceHome key={row.id} row={row} />;
    return <Conversation key={row.id} row={row} to={to} />;
}

export interface Doing {
    reply: Message | undefined;
    edit: Message | undefined;
    setReply: (message: Message | undefined) => void;
    setEdit: (message: Message | undefined) => void;
}

/** What the rows of a timeline can ask for, and the pop-ups that come of it. */
export function useActions(row: RoomRow, view: Pick<RoomView, "items" | "target" | "open">, thread: string | undefined): { actions: Actions; doing: Doing; popups: JSX.Element } {
    const [reply, setReply] = useState<Message>();
    const [edit, setEdit] = useState<Message>();
    const [menu, setMenu] = useState<{ message: Message; at: DOMRect; sheet: boolean }>();
    const [picker, setPicker] = useState<{ message: Message; at: DOMRect }>();
    const rights = rightsOf(row.id);
    const mayReact = rights?.send ?? false;
    const doing = { reply, edit, setReply, setEdit };
    const actions = useMemo<Actions>(() => {
        // Before the client runs nothing can be done with what is shown.
        const [commands, outbox] = [() => the().commands, () => the().outbox];
        return {
            context: {
                me: me.value.id,
                onPerson: (user) => (personCard.value = { user, room: row.id }),
                nameOf: (user) => personOf(the().engine.room(row.id), user).name,
            },
            roomId: row.id,
            thread,
            dm: row.kind === "dm",
            mayReact,
            jump: (event) => {
                const here = view.items.value.find((item) => item.id === event || item.key === event);
                if (here) view.target.value = here.key;
                else if (!event.startsWith("$")) return;
                else if (thread) openRoomById(row.id, event);
                else void view.open(event);
            },
            react: (message, key) => {
                const mine = message.reactions.find((reaction) => reaction.key === key)?.mine;
                if (mine?.startsWith("$")) void attempt(() => commands().redact(row.id, mine));
                else if (mine) outbox().cancel(mine);
                else outbox().add(row.id, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: message.id || message.key, key } });
            },
            pick: (message, at) => setPicker({ message, at }),
            reply: (message) => {
                setEdit(undefined);
                setReply(message);
            },
            menu: (message, at, sheet = false) => setMenu({ message, at, sheet }),
            retry: (message) => outbox().retry(message.change ?? message.key),
            cancel: (message) => void outbox().cancel(message.change ?? message.key),
            person: (user) => (personCard.value = { user, room: row.id }),
            unlock: () => go({ page: "verify" }),
        };
    }, [row.id, row.kind, thread, mayReact, view]);
    const popups = (
        <>
            {menu && <MessageMenu {...menu} actions={actions} rights={rights} doing={doing} onClose={() => setMenu(undefined)} />}
            {picker && <EmojiPicker at={picker.at} onPick={(sign) => actions.react(picker.message, sign)} onClose={() => setPicker(undefined)} />}
        </>
    );
    return { actions, doing, popups };
}

/** Who spoke last, then everybody else: for mentions. */
export function usePeople(row: RoomRow, view: Pick<RoomView, "items">): () => readonly Person[] {
    return () => {
        const found = new Map<string, Person>();
        for (const item of [...view.items.value].reverse()) if (item.kind === "message" && !item.mine) found.set(item.sender.id, item.sender);
        const room = app.value?.engine.room(row.id) ?? null;
        for (const member of room?.getJoinedMembers() ?? []) {
            if (member.userId !== me.value.id && !found.has(member.userId)) found.set(member.userId, personOf(room, member.userId));
            if (found.size > 2_000) break;
        }
        return [...found.values()];
    };
}

function Typing({ row }: { row: RoomRow }): JSX.Element {
    const typing = row.typing;
    return (
        <div class="typ" aria-live="off">
            {typing.length > 0 && (
                <>
                    <span class="pile">{typing.slice(0, 3).map((person) => <Face key={person.id} person={person} size="1.25rem" />)}</span>
                    <span>{t("timeline.typing", { name: typing[0]?.name ?? "", other: typing[1]?.name ?? "", n: typing.length })}</span>
                    <i aria-hidden="true"><span /></i>
                </>
            )}
        </div>
    );
}

function Header({ row, shown }: { row: RoomRow; shown: string | undefined }): JSX.Element {
    const toggle = (value: string): void => panel(shown === value ? undefined : value);
    const sub = row.kind === "dm" ? row.person : [t("room.members", { n: row.members }), row.topic].filter(Boolean).join(" · ");
    return (
        <header class="bar head">
            <IconButton icon="arrow-left" flip class="phone-only" label={t("room.back")} onClick={() => go({ page: "home" })} />
            <button type="button" class="grow row gap" title={t("room.details")} onClick={() => toggle("details")}>
                <RoomFace row={row} size="2.25rem" />
                <span class="grow">
                    <h2 class="cut" tabIndex={-1}><span class="cut">{row.name}</span>{row.encrypted && <Icon name="lock" label={t("room.encrypted")} />}</h2>
                    <span class="sub cut block">{sub}</span>
                </span>
            </button>
            <IconButton icon="search" class="wide-only" label={t("room.search")} onClick={() => go({ page: "search", query: "", room: row.id })} />
            <IconButton icon="message-square-text" class="wide-only noted" label={row.threads ? t("room.threads-new", { n: row.threads }) : t("room.threads")} aria-pressed={shown === "threads"} onClick={() => toggle("threads")}>
                {row.threads > 0 && <span class="badge you" aria-hidden="true">{row.threads}</span>}
            </IconButton>
            <IconButton icon="panel-right" label={t("room.details")} aria-expanded={shown === "details"} onClick={() => toggle("details")} />
        </header>
    );
}

/** The first thing in a room: what it is. */
function Intro({ row }: { row: RoomRow }): JSX.Element {
    return (
        <div class="intro">
            <RoomFace row={row} size="4rem" />
            <h3>{row.name}</h3>
            <p class="mut">{row.kind === "dm" ? t("intro.dm", { name: row.name }) : row.topic || t("intro.room")}</p>
            {row.encrypted && <p class="small sub"><Icon name="lock" size=".875rem" /> {t("room.encrypted-text")}</p>}
        </div>
    );
}

function Conversation({ row, to }: { row: RoomRow; to: RoomRoute }): JSX.Element {
    const runs = app.value !== undefined;
    const view = useMemo(() => (runs ? viewOf(row.id) : noView(keptRoom.value?.room === row.id ? keptRoom.value.items : [])), [row.id, runs]);
    const { actions, doing, popups } = useActions(row, view, undefined);
    const people = usePeople(row, view);
    const rights = rightsOf(row.id);
    const locked = useComposerLock(row);
    useEffect(() => {
        void view.enter(to.event);
    }, [view, to.event]);
    useEffect(() => () => view.leave(), [view]);
    const writes = rights?.send === true && !locked;
    useEffect(() => {
        composing.value = writes;
        return () => void (composing.value = false);
    }, [writes]);
    useEffect(() => {
        if (!to.panel && matchMedia("(width >= 1180px)").matches && ticketOf(row.id)) panel("details");
    }, [row.id, runs]);
    useEffect(() => {
        document.querySelector<HTMLElement>(".head h2")?.blur();
    }, [row.id]);
    useEffect(() => {
        if (!row.successor) return;
        handOn(row.id, row.successor);
        handFilesOn(row.id, row.successor);
    }, [row.successor]);
    const [onFiles, target] = useDrop(draftKey(row.id), row.name, writes);
    return (
        <>
            <main class="main" aria-label={row.name} {...onFiles}>
                <PhoneTitle>{row.name}</PhoneTitle>
                <Strip />
                <Header row={row} shown={to.panel} />
                {row.successor && (
                    <div class="note info flat">
                        <Icon name="circle-arrow-up" />
                        <span class="grow">{t("room.replaced")}</span>
                        <button type="button" class="btn s" onClick={() => void follow(row)}>{t("room.follow")}</button>
                    </div>
                )}
                <UnlockBar row={row} items={view.items.value} />
                {view.state.value === "gone" ? (
                    <Empty icon="unplug" title={t("timeline.gone")} bad><button type="button" class="btn go" onClick={() => void view.open()}>{t("error.again")}</button></Empty>
                ) : view instanceof RoomView && view.begun ? (
                    <TimelineView view={view} actions={actions} label={t("timeline.label", { name: row.name })} intro={<Intro row={row} />} />
                ) : (
                    <KeptTimeline room={row.id} />
                )}
                <Typing row={row} />
                <TrustHere row={row} />
                <Composer row={row} rights={rights} view={view} thread={undefined} {...doing} people={people} locked={locked} />
                {popups}
                {target}
            </main>
            {to.panel && runs && <Boundary pane="panel" of={to.panel}><Panel row={row} shown={to.panel} /></Boundary>}
        </>
    );
}

/** Go on in the room that took this one's place. */
async function follow(row: RoomRow): Promise<void> {
    const next = row.successor;
    if (!next) return;
    const tombstone = the().engine.room(row.id)?.currentState.getStateEvents("m.room.tombstone", "");
    const server = tombstone?.getSender()?.split(":").slice(1).join(":");
    const id = await attempt(() => the().commands.join(next, server ? [server] : []));
    if (id) openRoomById(id);
}

/** A line above the conversation while the connection is away. */
export function Strip(): JSX.Element | null {
    const [late, setLate] = useState(false);
    const away = status.value === "waiting" || status.value === "connecting";
    useEffect(() => {
        setLate(false);
        if (!away) return undefined;
        const timer = setTimeout(() => setLate(true), status.value === "connecting" ? 4_000 : 2_000);
        return () => clearTimeout(timer);
    }, [away]);
    if (!away || !late) return null;
    return <div class="strip" role="status"><Icon name="cloud-off" /><span>{t("offline.strip")}</span></div>;
}

export const isRoomRoute = (): boolean => route.value.page === "room";
export const copied = (text: string): void => {
    void navigator.clipboard.writeText(text).then(() => toast(t("copied")), () => toast(t("error.copy")));
};
