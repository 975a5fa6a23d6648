// The scroller of a conversation (webclient.md 5.1): a bounded real DOM that the browser itself keeps in place.

import type { JSX, RefObject } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t, tt } from "../i18n/t.ts";
import { day as dayText, full } from "../render/dates.ts";
import { group, walled } from "../render/group.ts";
import { copied } from "../pages/Room.tsx";
import { panel } from "../routes.ts";
import type { Happening, Item, Message } from "../sdk/types.ts";
import { app, me } from "../stores/app.ts";
import { withEarly } from "../stores/early.ts";
import { keptRoom, type RoomView } from "../stores/room.ts";
import { settings } from "../stores/settings.ts";
import { type Actions, MessageRow, SealedRow, Seen, written } from "./Message.tsx";
import { TimelineSkeleton } from "./Skeleton.tsx";

const NEAR_PX = 1_500;
const BOTTOM_PX = 80;
const READ_MS = 500;
const FLOAT_MS = 1_200;
/** So many rows are looked at for one that is still there: the first in view may be taken away. */
const HELD = 12;
const ANCHORS = globalThis.CSS?.supports("overflow-anchor", "auto") ?? false;

/** The sentence with the name in it set off. */
function named(text: string, who: string | undefined): JSX.Element {
    const at = who ? text.indexOf(who) : -1;
    if (!who || at < 0) return <>{text}</>;
    return <>{text.slice(0, at)}<b>{who}</b>{text.slice(at + who.length)}</>;
}

function happened(items: readonly Happening[]): JSX.Element {
    // Several of one kind become "Noor and 2 others joined".
    const lines: { item: Happening; others: number }[] = [];
    for (const item of items) {
        const same = lines.find((line) => line.item.text === item.text && (item.text === "happened.joined" || item.text === "happened.left"));
        if (same) same.others++;
        else lines.push({ item, others: 0 });
    }
    const shown = lines.slice(0, 4);
    const more = lines.length - shown.length;
    return (
        <>
            {shown.map(({ item, others }, at) => (
                <span key={item.key} title={full(item.time)}>
                    {at > 0 && " · "}
                    {named(others > 0 ? tt(`${item.text}.many`, { ...item.slots, n: others }) : tt(item.text, item.slots), item.slots["who"])}
                </span>
            ))}
            {more > 0 && ` · ${t("happened.more", { n: more })}`}
        </>
    );
}

const sizeOf = (box: HTMLElement): string => `${box.clientWidth} ${box.clientHeight}`;
/** How much is under the lower edge. */
const under = (box: HTMLElement): number => box.scrollHeight - box.scrollTop - box.clientHeight;

/** All rows, and the number of the first that is in view. */
function inView(box: HTMLElement): [NodeListOf<HTMLElement>, number] {
    const top = box.getBoundingClientRect().top;
    const rows = box.querySelectorAll<HTMLElement>("[data-key]");
    let from = 0;
    for (let to = rows.length; from < to; ) {
        const middle = (from + to) >> 1;
        if ((rows[middle]?.getBoundingClientRect().bottom ?? 0) > top) to = middle;
        else from = middle + 1;
    }
    return [rows, from];
}

/**
 * What one reads stays where it is when rows come, go or change. The browser sees to it while the element that it chose
 * is there and nothing around it changes its margins; where that fails, the scroller is moved before anything is painted.
 */
function useStill(scroller: RefObject<HTMLDivElement | null>, view: RoomView, days: unknown): void {
    const drawn = useRef<unknown>(undefined);
    const stood = useRef<[HTMLElement, number][]>([]);
    if (drawn.current !== days) {
        drawn.current = days;
        const box = scroller.current;
        const [rows, from] = box ? inView(box) : [[], 0];
        stood.current = [...rows].slice(from, from + HELD).map((row) => [row, row.getBoundingClientRect().top]);
    }
    useLayoutEffect(() => {
        const [row, top] = stood.current.find(([each]) => each.isConnected) ?? [];
        stood.current = [];
        if (!row || !scroller.current || view.atBottom) return;
        const off = row.getBoundingClientRect().top - (top ?? 0);
        if (Math.abs(off) >= 1) scroller.current.scrollTop += off;
    }, [days]);
}

/** Where the reader is, and where the browser cannot hold it itself, hold it. */
function useAnchor(scroller: RefObject<HTMLDivElement | null>, column: RefObject<HTMLOListElement | null>, view: RoomView, items: unknown, shown: boolean, was: RefObject<number>): void {
    const kept = useRef<{ key: string; offset: number } | undefined>(undefined);
    const remember = useCallback(() => {
        const box = scroller.current;
        if (!box) return;
        const [rows, from] = inView(box);
        const row = rows[from];
        if (row) view.place = kept.current = { key: row.dataset["key"] ?? "", offset: row.getBoundingClientRect().top - box.getBoundingClientRect().top };
    }, [view]);
    const restore = useCallback(() => {
        const box = scroller.current;
        if (!box) return;
        if (view.atBottom) {
            box.scrollTop = box.scrollHeight;
            was.current = box.scrollTop; // no reader moved it
            return;
        }
        if (ANCHORS || !kept.current) return;
        const row = box.querySelector<HTMLElement>(`[data-key="${CSS.escape(kept.current.key)}"]`);
        if (row) box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - kept.current.offset;
    }, [view]);
    useLayoutEffect(restore, [items]);
    useEffect(() => {
        const box = scroller.current, inner = column.current;
        if (!box || !inner) return undefined;
        const observer = new ResizeObserver(restore);
        observer.observe(inner);
        observer.observe(box);
        box.addEventListener("scroll", remember, { passive: true });
        return () => {
            observer.disconnect();
            box.removeEventListener("scroll", remember);
        };
    }, [view, shown]);
}

/** Tell of what has been on screen for half a second, while somebody looks. */
function useReading(scroller: RefObject<HTMLDivElement | null>, view: RoomView): () => void {
    const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    const look = useCallback(() => {
        clearTimeout(timer.current);
        timer.current = setTimeout(() => {
            const box = scroller.current;
            if (!box || document.visibilityState !== "visible" || !document.hasFocus()) return;
            const end = box.getBoundingClientRect().bottom + 2;
            const rows = [...box.querySelectorAll<HTMLElement>("[data-id]")].reverse();
            const lowest = rows.find((row) => row.dataset["id"]?.startsWith("$") && row.getBoundingClientRect().bottom <= end);
            const item = lowest && view.items.value.find((each) => each.id === lowest.dataset["id"]);
            if (item) view.seen(item);
        }, READ_MS);
    }, [view]);
    useEffect(() => {
        addEventListener("focus", look);
        document.addEventListener("visibilitychange", look);
        return () => {
            removeEventListener("focus", look);
            document.removeEventListener("visibilitychange", look);
            clearTimeout(timer.current);
        };
    }, [look]);
    return look;
}

function drawn(days: ReturnType<typeof group>, actions: Actions, last?: string, focused?: string, flash?: string): JSX.Element[] {
    return days.map((day) => (
        <li class="dayg" key={day.key}>
            <h3 class="day"><time dateTime={new Date(day.time).toISOString().slice(0, 10)}>{dayText(day.time)}</time></h3>
            <ol>
                {day.rows.map((row) =>
                    row.kind === "line" ? (
                        <li class="new" key="line">{t("timeline.new")}</li>
                    ) : row.kind === "happened" ? (
                        <li class="sys" key={row.key} data-key={row.key} data-id={row.items.at(-1)?.id}>{happened(row.items)}{!actions.dm && <Seen people={row.items.flatMap(({ readers }) => readers)} />}</li>
                    ) : row.kind === "sealed" ? (
                        <SealedRow key={row.key} k={row.key} id={row.items.at(-1)?.id} count={row.items.length} />
                    ) : (
                        <MessageRow
                            key={row.key} message={row.message} first={row.first} next={row.next} last={row.key === last}
                            focused={row.key === focused} flash={row.key === flash} actions={actions}
                        />
                    ),
                )}
            </ol>
        </li>
    ));
}

const nothing = (): void => undefined;

const NONE: readonly Item[] = [];
const FIRST_ITEMS = 12;

/** The end of a conversation as it was when the page went, while the SDK comes. It can be read, not acted on. */
export function KeptTimeline({ room }: { room: string }): JSX.Element {
    const scroller = useRef<HTMLDivElement>(null);
    const kept = keptRoom.value;
    const [, again] = useState({});
    const items = withEarly(room, kept?.room === room ? kept.items : NONE);
    // What is in view comes first, as in the list.
    const [all, setAll] = useState(false);
    useEffect(() => setAll(true), []);
    const { outbox } = app.value ?? {};
    useEffect(() => outbox?.on("change", () => again({})), [outbox]);
    useLayoutEffect(() => {
        if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
    }, [kept, all, items.length]);
    if (items.length === 0) return <TimelineSkeleton />;
    const actions: Actions = {
        context: { me: me.value.id, onPerson: nothing, nameOf: (user) => user }, roomId: room, thread: undefined, dm: false, mayReact: false,
        jump: nothing, react: nothing, pick: nothing, reply: nothing, menu: nothing, retry: nothing, cancel: nothing, person: nothing, unlock: nothing,
    };
    return <div class="tl" ref={scroller} aria-busy="true"><ol class="col">{drawn(group(all ? items : items.slice(-FIRST_ITEMS), undefined), actions)}</ol></div>;
}

/** Stands for what is not loaded yet, always as high. It comes when one scrolls near, or at a click. */
const Filler = ({ view, direction }: { view: RoomView; direction: "b" | "f" }): JSX.Element => (
    <li class="filler"><span class="bone" aria-hidden="true" /><button type="button" class="btn s plain" onClick={() => void view.more(direction)}>{t(direction === "b" ? "timeline.earlier" : "timeline.later")}</button></li>
);

export function TimelineView({ view, actions, label, intro }: { view: RoomView; actions: Actions; label: string; intro?: JSX.Element | undefined }): JSX.Element {
    const scroller = useRef<HTMLDivElement>(null);
    const column = useRef<HTMLOListElement>(null);
    const [flash, setFlash] = useState<string>();
    const [focused, setFocused] = useState<string>();
    const [bottom, setBottom] = useState(true);
    const items = view.items.value;
    const line = view.line.value;
    const state = view.state.value;
    const days = useMemo(() => {
        if (items[0]) view.apart.add(items[0].key);
        return group(items, line, view.apart);
    }, [items, line, view]);
    const newestOwn = useMemo(() => items.findLast((item): item is Message => item.kind === "message" && item.mine && item.state === "sent")?.key, [items]);
    const newest = items.at(-1)?.key;
    const look = useReading(scroller, view);
    const shown = view.begun;
    const was = useRef(0);
    useAnchor(scroller, column, view, items, shown, was);
    useStill(scroller, view, days);
    const resting = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    const size = useRef("");
    // Who has scrolled away from the end is not taken back by what comes before the page is told of the scrolling.
    const left = (box: HTMLElement): boolean => box.scrollTop < was.current && size.current.startsWith(sizeOf(box)) && under(box) > BOTTOM_PX;
    if (scroller.current && left(scroller.current)) view.atBottom = false;

    useEffect(() => {
        const box = scroller.current;
        if (!box || !matchMedia("(any-pointer: coarse)").matches) return undefined;
        let stop = nothing, gone = false;
        void import("./touch.ts").then(({ listen }) => !gone && (stop = listen(box, view, actions)));
        return () => {
            gone = true;
            stop();
        };
    }, [view, actions, shown]);

    // Pages come until there is enough above and below. Who waits at the very end does not scroll any more.
    const want = useCallback((): void => {
        const box = scroller.current;
        if (!box) return;
        const up = box.scrollTop < NEAR_PX && !view.atStart.value && !walled(view.items.value);
        if (!up && (under(box) >= NEAR_PX || view.atEnd.value)) return;
        void view.more(up ? "b" : "f").then((came) => came && requestAnimationFrame(want));
    }, [view]);
    const scrolled = useCallback(() => {
        const box = scroller.current;
        if (!box) return;
        // A window that was turned, a keyboard that came up, a picture that takes more room: that is no reader who
        // scrolled, so the end stays the end.
        const measure = `${sizeOf(box)} ${box.scrollHeight}`;
        if (size.current !== measure) {
            if (view.atBottom && !left(box)) box.scrollTop = box.scrollHeight;
            size.current = measure;
        }
        was.current = box.scrollTop;
        const wasBottom = view.atBottom;
        // A gap may come while the room opens: the end is fetched then, and who waits for it has not left it.
        view.atBottom = (view.atEnd.value || (wasBottom && view.state.value === "loading")) && under(box) <= BOTTOM_PX;
        setBottom(view.atBottom);
        if (view.atBottom !== wasBottom) view.schedule();
        if (box.scrollTop === 0 && ANCHORS && box.scrollHeight > box.clientHeight) box.scrollTop = 1; // at 0 the browser does not anchor
        want();
        box.classList.add("moving");
        clearTimeout(resting.current);
        resting.current = setTimeout(() => box.classList.remove("moving"), FLOAT_MS);
        const top = box.getBoundingClientRect().top;
        for (const pill of box.querySelectorAll(".day")) pill.classList.toggle("stuck", pill.getBoundingClientRect().top < top + 14);
        look();
    }, [view, look, want]);

    // After opening: the end, the line of new messages at a third of the height, the event asked for, or the old place.
    const target = view.target.value;
    const reached = useRef(false);
    useLayoutEffect(() => {
        const box = scroller.current;
        if (!box || state !== "ready") return;
        // What was reached is a target no more: one stays there.
        const stay = !target && reached.current;
        reached.current = Boolean(target);
        if (stay) return;
        const row = target && box.querySelector<HTMLElement>(`[data-key="${CSS.escape(target)}"], [data-id="${CSS.escape(target)}"]`);
        if (row) {
            const lineHere = view.line.value === target;
            view.atBottom = false;
            setBottom(false);
            box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight * (lineHere ? 0.3 : 0.45);
            if (!lineHere) {
                setFlash(row.dataset["key"]);
                setTimeout(() => setFlash(undefined), 1_700);
            }
        } else if (!view.atBottom && view.place) {
            const there = box.querySelector<HTMLElement>(`[data-key="${CSS.escape(view.place.key)}"]`);
            if (there) box.scrollTop += there.getBoundingClientRect().top - box.getBoundingClientRect().top - view.place.offset;
        } else {
            view.atBottom = view.atEnd.value;
            box.scrollTop = box.scrollHeight;
        }
        view.target.value = undefined;
        scrolled();
    }, [state, target, view]);
    useEffect(() => look(), [items, look]);
    useEffect(() => () => clearTimeout(resting.current), []);
    useEffect(() => {
        if (state === "ready") want();
    }, [state, want]);

    const toEnd = async (): Promise<void> => {
        if (!view.atEnd.value) {
            view.atBottom = true;
            await view.open();
        }
        const box = scroller.current;
        if (!box) return;
        view.atBottom = true;
        view.refresh();
        const near = under(box) < box.clientHeight * 1.5;
        const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        box.scrollTo({ top: box.scrollHeight, behavior: near && !calm ? "smooth" : "auto" });
    };

    view.toEnd = toEnd;

    if (!shown) return <TimelineSkeleton />;
    return (
        <>
            <div class="tl" ref={scroller} role="log" aria-live="off" aria-label={label} tabIndex={-1} onScroll={scrolled} onKeyDown={(event) => keys(event, view, actions, setFocused)}
                onFocusCapture={(event) => {
                    const key = (event.target as Element).closest<HTMLElement>("[data-key]")?.dataset["key"];
                    if (key) setFocused(key);
                }}
            >
                <ol class="col" ref={column}>
                    {!view.atStart.value ? <Filler view={view} direction="b" /> : intro && <li>{intro}</li>}
                    {drawn(days, actions, newestOwn, focused ?? newest, flash)}
                    {!view.atEnd.value && <Filler view={view} direction="f" />}
                </ol>
            </div>
            {!bottom && (
                <button type="button" class="jump" aria-label={view.fresh.value ? t("timeline.jump-new", { n: view.fresh.value }) : t("timeline.jump")} onClick={() => void toEnd()}>
                    <Icon name="arrow-down" />
                    {view.fresh.value > 0 && <span class="badge you">{view.fresh.value}</span>}
                </button>
            )}
        </>
    );
}

/** Arrows walk through the messages; letters act on the one that has the focus. */
function keys(event: KeyboardEvent, view: RoomView, actions: Actions, setFocused: (key: string) => void): void {
    const row = (event.target as Element).closest<HTMLElement>("li.msg");
    if (!row || event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).matches("input, textarea")) return;
    const rows = [...(event.currentTarget as Element).querySelectorAll<HTMLElement>("li.msg")];
    const at = rows.indexOf(row);
    const to: Record<string, number> = { ArrowUp: Math.max(0, at - 1), ArrowDown: Math.min(rows.length - 1, at + 1), Home: 0, End: rows.length - 1 };
    const next = rows[to[event.key] ?? -1];
    if (next) {
        event.preventDefault();
        setFocused(next.dataset["key"] ?? "");
        next.querySelector<HTMLElement>(".b")?.focus();
        return;
    }
    const message = view.items.value.find((item): item is Message => item.kind === "message" && item.key === row.dataset["key"]);
    if (!message || !(event.target as Element).matches(".b")) return;
    const rect = row.querySelector(".bub")?.getBoundingClientRect() ?? row.getBoundingClientRect();
    const text = written(message.body);
    const there = settings.value.letters && message.body.type !== "gone";
    const run: Record<string, () => void> = {
        Enter: () => actions.menu(message, rect),
        ...(there && actions.mayReact && { KeyR: () => actions.reply(message), KeyE: () => actions.pick(message, rect) }),
        ...(there && { KeyT: () => actions.thread || panel(`thread:${message.id || message.key}`) }),
        ...(there && text && { KeyC: () => copied(text) }),
    };
    const act = run[event.code];
    if (!act) return;
    event.preventDefault();
    act();
}
