import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useRef } from "preact/hooks";
import { BadgeView, Face, RoomFace, useAnchor } from "./faces.tsx";
import { IconButton, Menu } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { memo } from "../../ui/memo.ts";
import { useScrolled } from "../../ui/scrolled.ts";
import { useRoving } from "../../ui/roving.ts";
import { t } from "../i18n/t.ts";
import { short } from "../render/dates.ts";
import { format, go, openRoom, roomRoute } from "../routes.ts";
import type { RoomRow } from "../sdk/types.ts";
import { app, attempt, loaded, rooms, the } from "../stores/app.ts";
import { reminding } from "../stores/crypto.ts";
import { draftKey, drafts } from "../stores/drafts.ts";
import { begunWith, filter, type Filter, held, invites, sections, shown, space, spaces } from "../stores/list.ts";
import { usePerson } from "../stores/people.ts";
import { useOnline, useSeen } from "../stores/presence.ts";
import { set, settings } from "../stores/settings.ts";
import { newDialog, phone, question, switcher } from "../stores/ui.ts";
import { ListSkeleton } from "./Skeleton.tsx";
import { Spaces, TabBar } from "./Rail.tsx";

const Reminder = lazy(() => import("../pages/Trust.tsx").then(({ Reminder }) => Reminder), null);
const FILTERS: readonly Filter[] = ["all", "unread", "people", "rooms"];

function Preview({ row, current, draft }: { row: RoomRow; current: boolean; draft: string | undefined }): JSX.Element {
    if (row.typing.length > 0) return <span class="pv"><span class="typing">{t("list.typing", { name: row.typing[0]?.name ?? "", n: row.typing.length })}</span></span>;
    if (draft && !current) return <span class="pv"><span class="draft">{t("list.draft")}</span> {draft.slice(0, 80)}</span>;
    const last = row.preview;
    if (!last) return <span class="pv sub">{row.membership === "knock" ? t("list.asked") : row.topic}</span>;
    const name = last.read ? "" : last.mine ? t("list.you") : last.sender;
    return (
        <span class="pv">
            {last.read && <Icon name="check-check" label={t("read.read")} />}
            {last.icon && <Icon name={last.icon} />}
            {name && <b>{name}: </b>}
            {last.text}
        </span>
    );
}

/** Drawn again when its own room changes, is opened or left: opening one draws two rows, not all. */
const Row = memo(function Row({ row }: { row: RoomRow }): JSX.Element {
    const current = useComputed(() => openRoom.value === row.id).value;
    const draft = useComputed(() => drafts.value.get(draftKey(row.id))?.text).value;
    const { badge } = row;
    const unread = badge.count > 0 || (badge.dot && !row.muted);
    const [at, open, close] = useAnchor();
    const box = useRef<HTMLAnchorElement>(null);
    const direct = row.kind === "dm" && !!row.person;
    const online = useOnline(row.person ?? "", useSeen(box, direct) && direct);
    return (
        <>
            <a
                ref={box} class={`rm${unread ? " un" : ""}`} href={format(roomRoute(row.id))} data-room={row.id} aria-current={current ? "page" : undefined}
                onContextMenu={(event) => {
                    event.preventDefault();
                    open({ currentTarget: event.currentTarget });
                }}
            >
                <RoomFace row={row} online={online} />
                <span class="nm"><span>{row.name}</span></span>
                <time dateTime={row.time ? new Date(row.time).toISOString() : undefined}>{short(row.time)}</time>
                <Preview row={row} current={current} draft={draft} />
                <span class="end">
                    {row.muted && <Icon name="bell-off" label={t("list.muted")} />}
                    {draft && !current && <Icon name="pencil" />}
                    <BadgeView {...badge} dm={row.kind === "dm"} />
                    {(badge.count > 0 || badge.dot) && <span class="vh">{badge.count > 0 ? t("list.unread", { n: badge.count }) : t("list.unread-dot")}</span>}
                </span>
            </a>
            {at && app.value && <RowMenu row={row} at={at} onClose={close} />}
        </>
    );
});

/** Nobody has been invited: so far there is what is being written to them. */
function Begun({ user, text }: { user: string; text: string }): JSX.Element {
    const person = usePerson(user);
    return (
        <a class="rm" href={format(roomRoute(user))} aria-current={openRoom.value === user ? "page" : undefined}>
            <Face person={person} />
            <span class="nm"><span>{person.name}</span></span>
            <time />
            <span class="pv"><span class="draft">{t("list.draft")}</span> {text.slice(0, 80)}</span>
            <span class="end"><Icon name="pencil" /></span>
        </a>
    );
}

function RowMenu({ row, at, onClose }: { row: RoomRow; at: DOMRect; onClose: () => void }): JSX.Element {
    const { commands, engine } = the();
    const unread = row.badge.count > 0 || row.badge.dot;
    const read = async (): Promise<void> => {
        const room = engine.room(row.id);
        const last = room?.getLiveTimeline().getEvents().at(-1)?.getId();
        if (last) await commands.markRead(row.id, last, undefined, settings.value.receipts, room?.getLastLiveEvent()?.getId());
        await commands.markUnread(row.id, false);
    };
    return (
        <Menu
            label={row.name} at={at} onClose={onClose}
            items={[
                unread
                    ? { icon: "mail-open", label: t("row.read"), run: () => void attempt(read) }
                    : { icon: "mail", label: t("row.unread"), run: () => void attempt(() => commands.markUnread(row.id, true)) },
                { icon: row.favourite ? "star-off" : "star", label: t(row.favourite ? "row.unfavourite" : "row.favourite"), run: () => void attempt(() => commands.tag(row.id, "m.favourite", !row.favourite)) },
                { icon: "arrow-down", label: t(row.low ? "row.not-low" : "row.low"), run: () => void attempt(() => commands.tag(row.id, "m.lowpriority", !row.low)) },
                { icon: row.muted ? "bell" : "bell-off", label: t(row.muted ? "row.unmute" : "row.mute"), run: () => void attempt(() => commands.setLoudness(row.id, row.muted ? "usual" : "mute")) },
                null,
                { icon: "log-out", label: t("row.leave"), bad: true, run: () => askToLeave(row) },
            ]}
        />
    );
}

export function askToLeave(row: RoomRow): void {
    question.value = {
        title: t("leave.title", { name: row.name }),
        text: t(row.joinRule === "public" ? "leave.public" : "leave.private"),
        yes: t("leave.yes"),
        bad: true,
        run: () =>
            void attempt(() => the().commands.leave(row.id)).then(() => {
                if (openRoom.value === row.id) go({ page: "home" }, true);
            }),
    };
}

const NARROW = 260, WIDE = 420;
const widen = (px: number): void => set("listWidth", Math.round(Math.max(NARROW, Math.min(WIDE, px))));

/** The edge of the list, to be drawn by a pointer or moved by arrows. */
function Grip(): JSX.Element {
    const width = settings.value.listWidth;
    return (
        <div
            class="grip" role="separator" tabIndex={0} aria-orientation="vertical" aria-label={t("list.width")} aria-valuenow={width} aria-valuemin={NARROW} aria-valuemax={WIDE}
            onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
            onPointerMove={(event) => {
                const box = event.currentTarget.parentElement?.getBoundingClientRect();
                if (!box || !event.currentTarget.hasPointerCapture(event.pointerId)) return;
                widen(document.dir === "rtl" ? box.right - event.clientX : event.clientX - box.left);
            }}
            onKeyDown={({ key }) => (key === "ArrowLeft" || key === "ArrowRight") && widen(width + (key === "ArrowRight" ? 10 : -10))}
        />
    );
}

export function RoomList(): JSX.Element {
    const [at, open, close] = useAnchor();
    const box = useRef<HTMLDivElement>(null);
    const roving = useRoving(box, "a.rm, a.inv");
    const scrolled = useScrolled(box, `list ${filter.value} ${space.value}`);
    const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    const hold = (): void => {
        held.value ??= shown.value.map((row) => row.id);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => (held.value = undefined), 1_000);
    };
    const inside = space.value ? rooms.value.get(space.value) : undefined;
    // On a telephone it is all there is of the page.
    const Pane = phone.value ? "main" : "nav";
    return (
        <Pane class="list" aria-label={t("list.title")}>
            <div class="top">
                <div class="row">
                    <h1 class="grow cut">{inside?.name ?? t("list.title")}</h1>
                    {inside && <IconButton icon="panel-right" label={t("list.space")} onClick={() => go(roomRoute(inside.id))} />}
                    <IconButton icon="list-filter" label={t("list.order")} aria-haspopup="menu" onClick={open} />
                    <IconButton icon="square-pen" label={t("nav.new")} onClick={() => (newDialog.value = "people")} />
                </div>
                <button type="button" class="find" onClick={() => (switcher.value = true)}>
                    <Icon name="search" />
                    <span class="grow">{t("list.search")}</span>
                    <kbd class="wide-only">Ctrl K</kbd>
                </button>
            </div>
            {spaces.value.length > 0 && <div class="spaces phone-only" role="group" aria-label={t("list.spaces")}><Spaces /></div>}
            <div class="pills" role="group" aria-label={t("list.filter")}>
                {FILTERS.map((each) => (
                    <button key={each} type="button" class="pill" aria-pressed={filter.value === each} onClick={() => (filter.value = each)}>{t(`filter.${each}`)}</button>
                ))}
            </div>
            {loaded.value ? (
                <div class="scroll" ref={box} {...roving} onScroll={scrolled} onPointerMove={hold} onPointerLeave={() => (held.value = undefined)}>
                    {invites.value.length > 0 && (
                        <a class="inv" href="#/invites">
                            <Icon name="mail" />
                            <span class="grow">{t("list.invites", { n: invites.value.length })}</span>
                            <span class="badge you">{invites.value.length}</span>
                        </a>
                    )}
                    {begunWith.value.map(({ user, text }) => <Begun key={user} user={user} text={text} />)}
                    {sections.value.map(({ key, rows }) => (
                        <section key={key} aria-label={t(`section.${key}`)}>
                            {(sections.value.length > 1 || key !== "all") && <div class="sec">{key === "favourites" && <Icon name="star" />}{t(`section.${key}`)}</div>}
                            {rows.map((row) => <Row key={row.id} row={row} />)}
                        </section>
                    ))}
                    {sections.value.length === 0 && begunWith.value.length === 0 && <p class="nothing">{t(filter.value === "all" ? "list.empty" : "list.none")}</p>}
                </div>
            ) : (
                <ListSkeleton />
            )}
            {reminding.value && <Reminder />}
            <TabBar />
            <Grip />
            {at && (
                <Menu
                    label={t("list.order")} at={at} onClose={close}
                    items={[
                        { icon: settings.value.order === "recent" ? "check" : "clock", label: t("list.by-time"), run: () => set("order", "recent") },
                        { icon: settings.value.order === "name" ? "check" : "a-large-small", label: t("list.by-name"), run: () => set("order", "name") },
                    ]}
                />
            )}
        </Pane>
    );
}
