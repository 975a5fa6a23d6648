import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Bone, Empty } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useKept, useScrolled } from "../../ui/scrolled.ts";
import { t } from "../i18n/t.ts";
import { RoomFace } from "../parts/faces.tsx";
import { useTitle } from "../parts/PageTitle.tsx";
import { TabBar } from "../parts/Rail.tsx";
import { format, go, matrixLink, roomRoute, type Route } from "../routes.ts";
import type { Found } from "../sdk/commands.ts";
import { attempt, openRoomById, rooms, ruleFor, the } from "../stores/app.ts";
import { newDialog } from "../stores/ui.ts";
import "../parts/asked.ts";

type Kind = "all" | "rooms" | "spaces";
const KINDS: readonly Kind[] = ["all", "rooms", "spaces"];

export function RoomCard({ found, extra }: { found: Found; extra?: { label: string; run: () => void } | undefined }): JSX.Element {
    const [busy, setBusy] = useState(false);
    const joined = rooms.value.get(found.id)?.membership === "join";
    const join = async (): Promise<void> => {
        setBusy(true);
        const id = await attempt(() => the().commands.join(found.alias ?? found.id), "error.join");
        setBusy(false);
        if (id) openRoomById(id);
    };
    const name = found.name || found.alias || found.id;
    return (
        <article class="card rc" aria-label={name}>
            <div class="row gap">
                <RoomFace row={{ id: found.id, name, avatar: found.avatar, kind: found.space ? "space" : "room", person: undefined }} />
                <span class="grow"><h2 class="h3 cut">{name}</h2><small class="small sub cut block">{found.alias ?? ""}</small></span>
            </div>
            <p>{found.topic}</p>
            <div class="row">
                <Icon name={found.space ? "layers" : "users"} label={t(found.space ? "explore.space" : "explore.room")} />
                {t("room.members", { n: found.members })}
                <span class="grow" />
                {extra && <button type="button" class="btn s plain" onClick={extra.run}>{extra.label}</button>}
                {joined ? (
                    <button type="button" class="btn s" onClick={() => openRoomById(found.id)}>{t("explore.open")}</button>
                ) : ruleFor(found) === "knock" ? (
                    <button type="button" class="btn s" onClick={() => go(roomRoute(found.alias ?? found.id))}>{t("preview.ask")}</button>
                ) : (
                    <button type="button" class="btn s soft" disabled={busy} onClick={() => void join()}>{t("explore.join")}</button>
                )}
            </div>
        </article>
    );
}

function Loading(): JSX.Element {
    return (
        <div class="rooms" aria-busy="true" role="status" aria-label={t("loading")}>
            {[1, 2, 3, 4, 5, 6].map((each) => (
                <div class="card rc" key={each}>
                    <div class="row gap"><Bone w="3rem" h="3rem" round=".9rem" /><span class="grow"><Bone w="70%" h=".875rem" /></span></div>
                    <Bone w="100%" h=".75rem" />
                    <Bone w="80%" h=".75rem" />
                </div>
            ))}
        </div>
    );
}

/** Public rooms of this server and of others. */
export function Explore({ to }: { to: Extract<Route, { page: "explore" }> }): JSX.Element {
    useTitle(t("nav.explore"));
    // Whoever comes back finds what they looked for, and where in it they were.
    const here = format(to);
    const [term, setTerm] = useKept(`${here} term`, to.query);
    const [kind, setKind] = useKept<Kind>(`${here} kind`, "all");
    const [server, setServer] = useKept(`${here} server`, to.server ?? "");
    const [list, setList] = useKept<readonly Found[] | undefined>(`${here} list`, undefined);
    const [next, setNext] = useKept<string | undefined>(`${here} next`, undefined);
    const [error, setError] = useState("");
    // Other rooms are being looked for: what is shown is of before, and does not go on.
    const [looking, setLooking] = useState(false);
    const round = useRef(0);
    const load = async (since?: string, before: readonly Found[] = []): Promise<void> => {
        const asked = ++round.current;
        try {
            const found = await the().commands.publicRooms(term.trim(), kind === "all" ? undefined : kind === "spaces", server || undefined, since);
            if (asked !== round.current) return;
            setLooking(false);
            setError("");
            // The first page anew, below it what was there of those that follow.
            const kept = !since && found.next !== undefined && before.length > found.rooms.length;
            const ids = new Set(found.rooms.map(({ id }) => id));
            setList(since ? [...before, ...found.rooms] : kept ? [...found.rooms, ...before.filter(({ id }) => !ids.has(id))] : found.rooms);
            if (!kept) setNext(found.next);
        } catch (reason) {
            if (asked !== round.current) return;
            setLooking(false);
            if (before.length > 0 && !since) return;
            setList([]);
            setError((reason as Error).message);
        }
    };
    const shown = useRef("");
    useEffect(() => {
        const before = shown.current === here ? undefined : list;
        shown.current = here;
        if (!before) setList(undefined);
        setLooking(true);
        const timer = setTimeout(() => void load(undefined, before), before || term === to.query ? 0 : 300);
        return () => clearTimeout(timer);
    }, [here, term, kind, server]);
    const box = useRef<HTMLDivElement>(null);
    const scrolled = useScrolled(box, here);
    const where = useRef<HTMLInputElement>(null);
    const direct = /^[#!][^\s:]+:\S+$/.test(term.trim()) ? term.trim() : undefined;
    const submit = (event: Event): void => {
        event.preventDefault();
        const link = matrixLink(term.trim());
        if (direct) go(roomRoute(direct));
        else if (link?.page === "room") go(link);
    };
    return (
        <main class="main" aria-label={t("explore.title")}>
            <div class="scroll" ref={box} onScroll={scrolled} tabIndex={0}>
                <div class="wrap w">
                    <div class="row"><h1 class="grow cut">{t("explore.title")}</h1><button type="button" class="btn" onClick={() => (newDialog.value = "room")}><Icon name="plus" />{t("explore.create")}</button></div>
                    <form class="row wrapping above" onSubmit={submit} role="search">
                        <span class="in finder"><Icon name="search" /><input type="search" value={term} placeholder={t("explore.search")} aria-label={t("explore.search-label")} onInput={(event) => setTerm(event.currentTarget.value)} /></span>
                        <span class="in server"><Icon name="server" /><input ref={where} value={server} placeholder={the().commands.serverName} aria-label={t("explore.server")} onChange={(event) => setServer(event.currentTarget.value.trim())} /></span>
                    </form>
                    <div class="pills above-s" role="group" aria-label={t("list.filter")}>
                        {KINDS.map((each) => <button key={each} type="button" class="pill" aria-pressed={kind === each} onClick={() => setKind(each)}>{t(`explore.${each}`)}</button>)}
                    </div>
                    {direct && <div class="card above"><button type="button" class="set plainly wide" onClick={() => go(roomRoute(direct))}><Icon name="hash" /><span class="grow"><b>{t("explore.go", { address: direct })}</b></span><Icon name="chevron-right" flip /></button></div>}
                    {!list ? <Loading /> : (
                        <div class="rooms">{list.map((found) => <RoomCard key={found.id} found={found} />)}</div>
                    )}
                    {next && <button type="button" class="btn above" disabled={looking} onClick={() => void load(next, list)}>{t("more")}</button>}
                    {list?.length === 0 && (
                        <Empty icon={error ? "cloud-off" : "search"} title={error ? t("explore.failed") : term ? t("explore.none", { term }) : t("explore.empty")} text={error || t("explore.none-text")}>
                            {error ? (
                                <button type="button" class="btn go" onClick={() => void load()}>{t("error.again")}</button>
                            ) : (
                                <>
                                    {term && <button type="button" class="btn" onClick={() => where.current?.focus()}>{t("explore.other-server")}</button>}
                                    <button type="button" class="btn go" onClick={() => (newDialog.value = { kind: "room", name: term.trim() })}>{term ? t("explore.create-named", { term }) : t("explore.create")}</button>
                                </>
                            )}
                        </Empty>
                    )}
                </div>
            </div>
            <TabBar />
        </main>
    );
}
