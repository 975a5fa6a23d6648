import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useScrolled } from "../../ui/scrolled.ts";
import { searchEn, type SearchKey } from "../i18n/search.en.ts";
import { searchUk } from "../i18n/search.uk.ts";
import { fill, language, type Slots, t } from "../i18n/t.ts";
import { Face } from "../parts/faces.tsx";
import { PhoneTitle, useTitle } from "../parts/PageTitle.tsx";
import { day, short } from "../render/dates.ts";
import { format, go, roomRoute, type Route } from "../routes.ts";
import { ApiError } from "../sdk/api.ts";
import type { Finder, Progress } from "../sdk/find/finder.ts";
import type { Doc, Found } from "../sdk/find/index.ts";
import { marks } from "../sdk/find/words.ts";
import { personOf } from "../sdk/rooms.ts";
import { attempt, openRoomById, rooms, the } from "../stores/app.ts";

interface Hit {
    room: string;
    event: string;
    sender: string;
    text: string;
    time: number;
    /** Found by the server: words may be parts of others. */
    server: boolean;
}

const PAGE = 20;
const LONGEST = 400;
/** So much of a long text is shown before what was found. */
const BEFORE = 80;

/** As `t`, of the texts that come with this page. */
const s = (key: SearchKey, slots: Slots = {}): string => fill((language.value === "uk" ? searchUk : searchEn)[key], slots, language.value);

/** The text with what was looked for marked; of a long one, what stands around it. */
function Marked({ hit, term }: { hit: Hit; term: string }): JSX.Element {
    const parts = marks(hit.text, term, hit.server);
    const [first = "", ...rest] = parts;
    if (rest.length && first.length > LONGEST / 2) parts[0] = `…${first.slice(-BEFORE)}`;
    let left = LONGEST;
    return (
        <>
            {parts.map((part, at) => {
                const shown = part.slice(0, Math.max(0, left));
                left -= part.length;
                return at % 2 ? <mark key={at}>{shown}</mark> : shown;
            })}
        </>
    );
}

interface Side {
    hits: readonly Hit[];
    count: number;
    /** There are more; undefined if these are all. */
    more: (() => Promise<void>) | undefined;
}
const NOTHING: Side = { hits: [], count: 0, more: undefined };

/** What the server finds, in rooms that are not encrypted. */
function useServer(term: string, here: string | undefined): Side & { error: string; done: boolean } {
    const [side, setSide] = useState<Side>();
    const [error, setError] = useState("");
    useEffect(() => {
        let current = true;
        const load = async (before: readonly Hit[], since?: string): Promise<void> => {
            try {
                const { hits, count, next } = await the().commands.search(term, here, since);
                if (!current) return;
                const all = [...before, ...hits.map((hit) => ({ ...hit, server: true }))];
                setSide({ hits: all, count, more: next === undefined ? undefined : () => load(all, next) });
                setError("");
            } catch (reason) {
                if (!current) return;
                setSide(NOTHING);
                setError(reason instanceof ApiError && reason.status === 404 ? s("off") : (reason as Error).message);
            }
        };
        setSide(undefined);
        if (term) void load([]);
        return () => void (current = false);
    }, [term, here]);
    return { ...(side ?? NOTHING), error, done: side !== undefined };
}

/** What this device finds, in encrypted rooms. Whoever first looks there loads what it takes. */
function useDevice(term: string, scope: readonly string[]): Side & { finder: Finder | null | undefined } {
    const [finder, setFinder] = useState<Finder | null>();
    const [found, setFound] = useState<readonly Found[]>([]);
    const [docs, setDocs] = useState<readonly Doc[]>([]);
    const [shown, setShown] = useState(PAGE);
    const [round, setRound] = useState(0);
    const wanted = Boolean(term) && scope.length > 0;
    useEffect(() => {
        if (wanted && finder === undefined) void (the().following?.finder() ?? import("../stores/finder.ts").then(({ theFinder }) => theFinder(the().engine))).then(setFinder, () => setFinder(null));
    }, [wanted]);
    useEffect(() => {
        const again = (): void => setRound((n) => n + 1);
        finder?.addEventListener("change", again);
        return () => finder?.removeEventListener("change", again);
    }, [finder]);
    useEffect(() => setShown(PAGE), [term, scope.join()]);
    useEffect(() => {
        let current = true;
        if (!finder) return undefined;
        if (!wanted) setFound([]);
        else void finder.find(term, scope).then((all) => current && setFound(all));
        return () => void (current = false);
    }, [finder, term, scope.join(), round]);
    useEffect(() => {
        let current = true;
        void finder?.read(found.slice(0, shown)).then((read) => current && setDocs(read));
        return () => void (current = false);
    }, [finder, found, shown]);
    const hits = docs.map(({ id, ...doc }) => ({ ...doc, event: id, server: false }));
    return { finder, hits, count: found.length, more: found.length > shown ? () => Promise.resolve(setShown(shown + PAGE)) : undefined };
}

/** Both sides by time, as far as neither hides something newer. */
function merged(sides: readonly Side[]): Hit[] {
    const end = Math.max(0, ...sides.map(({ hits, more }) => (more ? (hits.at(-1)?.time ?? 0) : 0)));
    return sides.flatMap(({ hits }) => hits).filter(({ time }) => time >= end).sort((a, b) => b.time - a.time);
}

/** What was searched of encrypted rooms, and the way further back. */
function Searched({ finder, scope }: { finder: Finder | null; scope: readonly string[] }): JSX.Element {
    const [progress, setProgress] = useState<Progress>();
    const [stop, setStop] = useState<AbortController>();
    useEffect(() => () => stop?.abort(), [stop, scope.join()]);
    if (!finder) return <p class="small mut">{s("device-off")}</p>;
    const { count, since } = finder.counted(scope);
    const further = async (): Promise<void> => {
        const control = new AbortController();
        setStop(control);
        setProgress({ read: 0, locked: 0 });
        await attempt(() => finder.further(scope, control.signal, (now) => setProgress({ ...now })).catch((error: unknown) => {
            if (!control.signal.aborted) throw error;
        }));
        setStop(undefined);
    };
    return (
        <div class="note above" role="group" aria-label={s("title")}>
            <Icon name="lock" />
            <span class="grow">
                {since === undefined ? s("device-none") : s("device", { n: count, day: day(since) })}
                {progress && stop && <span class="row" role="status">{s("going", { n: progress.read })}</span>}
                {progress && progress.locked > 0 && <span class="row sub">{s("locked", { n: progress.locked })}</span>}
            </span>
            {stop ? (
                <button type="button" class="btn s" onClick={() => stop.abort()}>{s("stop")}</button>
            ) : (
                finder.canGo(scope) && <button type="button" class="btn s" onClick={() => void further()}>{s("further")}</button>
            )}
        </div>
    );
}

/** Messages by their words, here or everywhere. */
export function Search({ to }: { to: Extract<Route, { page: "search" }> }): JSX.Element {
    useTitle(t("list.search"));
    const [typed, setTyped] = useState(to.query);
    const [term, setTerm] = useState(to.query.trim());
    const [here, setHere] = useState(to.room);
    const input = useRef<HTMLInputElement>(null);
    const scope = [...rooms.value.values()].filter((row) => row.encrypted && row.membership === "join" && (!here || row.id === here)).map(({ id }) => id).sort();
    const server = useServer(term, here);
    const device = useDevice(term, scope);
    useEffect(() => input.current?.focus(), []);
    useEffect(() => {
        const timer = setTimeout(() => {
            if (typed.trim()) go({ page: "search", query: typed, room: here }, true);
            setTerm(typed.trim());
        }, 300);
        return () => clearTimeout(timer);
    }, [typed, here]);
    const box = useRef<HTMLDivElement>(null);
    const scrolled = useScrolled(box, format(to));
    const name = to.room ? rooms.value.get(to.room)?.name : undefined;
    const { error } = server;
    const more = async (): Promise<void> => void (await Promise.all([server.more?.(), device.more?.()]));
    return (
        <main class="main search-page" aria-label={s("title")}>
            <PhoneTitle>{s("title")}</PhoneTitle>
            <header class="bar">
                <IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go(to.room ? roomRoute(to.room) : { page: "home" })} />
                <span class="in slim"><Icon name="search" /><input ref={input} type="search" value={typed} aria-label={s("label")} placeholder={s("label")} onInput={(event) => setTyped(event.currentTarget.value)} /></span>
                {name && (
                    <select class="sel" aria-label={s("where")} value={here ? "here" : "all"} onChange={(event) => setHere(event.currentTarget.value === "here" ? to.room : undefined)}>
                        <option value="here">{s("here")}</option>
                        <option value="all">{s("everywhere")}</option>
                    </select>
                )}
            </header>
            <div class="scroll" ref={box} onScroll={scrolled} tabIndex={0}>
                <div class="wrap">
                    {term && server.done && (!error || device.finder) && <p class="small mut" role="status">{s("found", { n: server.count + device.count })}</p>}
                    {term && error && <div class="note warn" role="alert"><Icon name="info" /><span>{error}</span></div>}
                    {term && device.finder !== undefined && scope.length > 0 && <Searched finder={device.finder} scope={scope} />}
                    <div class="stack hits-list">
                        {merged([server, device]).map((hit) => {
                            const person = personOf(the().engine.room(hit.room), hit.sender);
                            return (
                                <button key={hit.event} type="button" class="it start" onClick={() => openRoomById(hit.room, hit.event)}>
                                    <Face person={person} />
                                    <span class="grow">
                                        <span class="row cut small-gap"><b>{person.name}</b><small class="cut">{rooms.value.get(hit.room)?.name} · {short(hit.time)}</small></span>
                                        <Marked hit={hit} term={term} />
                                    </span>
                                </button>
                            );
                        })}
                    </div>
                    {(server.more ?? device.more) && <button type="button" class="btn above" onClick={() => void more()}>{t("more")}</button>}
                    {!term && <p class="nothing">{s("hint")}</p>}
                </div>
            </div>
        </main>
    );
}
