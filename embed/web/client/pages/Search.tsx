import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { Face } from "../parts/faces.tsx";
import { short } from "../render/dates.ts";
import { go, roomRoute, type Route } from "../routes.ts";
import { ApiError } from "../sdk/api.ts";
import { personOf } from "../sdk/rooms.ts";
import { openRoomById, rooms, the } from "../stores/app.ts";

type Hit = Awaited<ReturnType<ReturnType<typeof the>["commands"]["search"]>>["hits"][number];

/** The text with the words that were looked for marked. */
export function Marked({ text, term }: { text: string; term: string }): JSX.Element {
    const words = term.trim().split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    if (words.length === 0) return <>{text}</>;
    const parts = text.split(new RegExp(`(${words.join("|")})`, "giu"));
    return <>{parts.map((part, at) => (at % 2 ? <mark key={at}>{part}</mark> : part))}</>;
}

/** Messages by their words, here or everywhere. */
export function Search({ to }: { to: Extract<Route, { page: "search" }> }): JSX.Element {
    const [term, setTerm] = useState(to.query);
    const [here, setHere] = useState(to.room);
    const [hits, setHits] = useState<readonly Hit[]>();
    const [count, setCount] = useState(0);
    const [next, setNext] = useState<string>();
    const [error, setError] = useState("");
    const input = useRef<HTMLInputElement>(null);
    const load = async (since?: string): Promise<void> => {
        try {
            const found = await the().commands.search(term.trim(), here, since);
            setHits((before) => (since ? [...(before ?? []), ...found.hits] : found.hits));
            setCount(found.count);
            setNext(found.next);
            setError("");
        } catch (reason) {
            setHits([]);
            setError(reason instanceof ApiError && reason.status === 404 ? t("search.off") : (reason as Error).message);
        }
    };
    useEffect(() => input.current?.focus(), []);
    useEffect(() => {
        if (!term.trim()) {
            setHits(undefined);
            return undefined;
        }
        const timer = setTimeout(() => {
            go({ page: "search", query: term, room: here }, true);
            void load();
        }, 300);
        return () => clearTimeout(timer);
    }, [term, here]);
    const name = to.room ? rooms.value.get(to.room)?.name : undefined;
    return (
        <main class="main search-page" aria-label={t("search.title")}>
            <header class="bar">
                <IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go(to.room ? roomRoute(to.room) : { page: "home" })} />
                <span class="in slim"><Icon name="search" /><input ref={input} type="search" value={term} aria-label={t("search.label")} placeholder={t("search.label")} onInput={(event) => setTerm(event.currentTarget.value)} /></span>
                {name && (
                    <select class="sel" aria-label={t("search.where")} value={here ? "here" : "all"} onChange={(event) => setHere(event.currentTarget.value === "here" ? to.room : undefined)}>
                        <option value="here">{t("search.here")}</option>
                        <option value="all">{t("search.everywhere")}</option>
                    </select>
                )}
            </header>
            <div class="scroll" tabIndex={0}>
                <div class="wrap">
                    {hits && !error && <p class="small mut" role="status">{t("search.found", { n: count })}</p>}
                    {error && <div class="note warn" role="alert"><Icon name="info" /><span>{error}</span></div>}
                    <div class="stack hits-list">
                        {hits?.map((hit) => {
                            const person = personOf(the().engine.room(hit.room), hit.sender);
                            return (
                                <button key={hit.event} type="button" class="it start" onClick={() => openRoomById(hit.room, hit.event)}>
                                    <Face person={person} />
                                    <span class="grow">
                                        <span class="row cut small-gap"><b>{person.name}</b><small class="cut">{rooms.value.get(hit.room)?.name} · {short(hit.time)}</small></span>
                                        <Marked text={hit.text.slice(0, 400)} term={term} />
                                    </span>
                                </button>
                            );
                        })}
                    </div>
                    {next && <button type="button" class="btn above" onClick={() => void load(next)}>{t("more")}</button>}
                    {!term && <p class="nothing">{t("search.hint")}</p>}
                </div>
            </div>
        </main>
    );
}
