import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../../../ui/Avatar.tsx";
import { Dialog, Empty, Switch } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { format, roomRoute } from "../../routes.ts";
import { thumbnail } from "../../sdk/media.ts";
import { attempt, rooms as joined, the } from "../../stores/app.ts";
import { a, admin, enc, Finder, hrefOf, Pager, PersonCell, Table, Top, useAsked, useRest } from "./parts.tsx";
import "../../parts/asked.ts";

interface Listed {
    room_id: string;
    name: string | null;
    canonical_alias: string | null;
    joined_members: number;
    joined_local_members: number;
    version: string;
    creator: string;
    encryption: string | null;
    federatable: boolean;
    public: boolean;
    join_rules: string | null;
    history_visibility: string | null;
    state_events: number;
    avatar?: string | null;
    topic?: string | null;
}
interface Capabilities { capabilities: { "m.room_versions"?: { default: string } } }
interface Job { delete_id: string; status: "active" | "complete" | "failed"; error?: string; shutdown_room?: { kicked_users?: string[]; failed_to_kick_users?: string[] } }

const STEP = 50;
const ORDERS = [["joined_members", "rooms.by-members"], ["name", "rooms.by-name"], ["state_events", "rooms.by-state"]] as const;
const addressOf = (room: Listed): string => room.canonical_alias ?? room.room_id;
const nameOf = (room: Listed): string => room.name ?? room.canonical_alias ?? room.room_id;

function Access({ room }: { room: Listed }): JSX.Element {
    if (room.encryption) return <span class="chip"><Icon name="lock" />{a("room.encrypted")}</span>;
    if (room.public || room.join_rules === "public") return <span class="chip info"><Icon name="globe" />{a("room.public")}</span>;
    return <span class="chip"><Icon name="mail" />{a("room.invited")}</span>;
}

export function RoomsPage(): JSX.Element {
    const [term, setTerm] = useState("");
    const [order, setOrder] = useState<string>("joined_members");
    const [from, setFrom] = useState(0);
    const search_term = useRest(term.trim());
    const { got, error, again } = useAsked(
        () => admin<{ rooms: Listed[]; total_rooms: number }>("GET", "/v1/rooms", undefined, { order_by: order, from, limit: STEP, ...(search_term && { search_term }) }),
        `${order} ${from} ${search_term}`,
    );
    const { got: newest } = useAsked(async () => ((await the().commands.request("GET", "/capabilities")) as Capabilities).capabilities["m.room_versions"]?.default, "");
    const rows = (got?.rooms ?? []).map((room) => (
        <tr key={room.room_id}>
            <td><a class="row cell" href={hrefOf("rooms", room.room_id)}><Avatar id={room.room_id} name={nameOf(room)} square /><span class="grow"><b>{nameOf(room)}</b>{addressOf(room) !== nameOf(room) && <small class="sub block">{addressOf(room)}</small>}</span></a></td>
            <td class="n">{room.joined_members.toLocaleString()}</td>
            <td class="n">{room.state_events.toLocaleString()}</td>
            <td>{room.version} {Number(room.version) < Number(newest) && <span class="chip warn"><Icon name="circle-arrow-up" />{a("room.old")}</span>}</td>
            <td><Access room={room} /></td>
        </tr>
    ));
    return (
        <>
            <Top title={a("rooms")} />
            <div class="row wrapping tools">
                <Finder label={a("room.search")} value={term} onInput={(text) => (setTerm(text), setFrom(0))} />
                <select class="sel" aria-label={t("list.filter")} value={order} onChange={(event) => (setOrder(event.currentTarget.value), setFrom(0))}>{ORDERS.map(([value, key]) => <option key={value} value={value}>{a(key)}</option>)}</select>
            </div>
            <Table head={[a("room.room"), [a("room.members"), "n"], [a("room.state"), "n"], a("room.version"), a("room.access")]} rows={rows} error={error} again={again} busy={!got} none={<Empty icon="hash" title={a("room.none")} />} />
            <Pager from={from} shown={got?.rooms.length ?? 0} total={got?.total_rooms ?? 0} step={STEP} onMove={setFrom} />
        </>
    );
}

/** One room: who is in it, blocking it, and making everybody leave. */
export function RoomPage({ id }: { id: string }): JSX.Element {
    const path = `/v1/rooms/${enc(id)}`;
    const { got: room, error, again } = useAsked(() => admin<Listed>("GET", path), id);
    const members = useAsked(() => admin<{ members: string[]; total: number }>("GET", `${path}/members`), id);
    const block = useAsked(() => admin<{ block: boolean; user_id?: string }>("GET", `${path}/block`), id);
    const [asking, setAsking] = useState(false);
    const [also, setAlso] = useState(true);
    const [job, setJob] = useState<Job>();
    const [term, setTerm] = useState("");
    useEffect(() => {
        void admin<{ results: Job[] }>("GET", `/v2/rooms/${enc(id)}/delete_status`).then(({ results }) => setJob(results.at(-1)), () => undefined);
    }, [id]);
    useEffect(() => {
        if (job?.status !== "active") return undefined;
        const timer = setTimeout(() => {
            admin<Job>("GET", `/v2/rooms/delete_status/${enc(job.delete_id)}`).then(
                (next) => {
                    setJob({ ...next, delete_id: job.delete_id });
                    if (next.status !== "active") for (const part of [again, members.again, block.again]) part();
                },
                () => setJob({ ...job }),
            );
        }, 700);
        return () => clearTimeout(timer);
    }, [job]);
    const up = { label: a("rooms"), href: "#/admin/rooms" };
    if (!room) return <><Top title={id} up={up} />{error && <Empty icon="hash" title={error} />}</>;
    const start = async (): Promise<void> => {
        setAsking(false);
        const begun = await attempt(() => admin<{ delete_id: string }>("DELETE", `/v2/rooms/${enc(id)}`, { block: also }));
        if (begun) setJob({ delete_id: begun.delete_id, status: "active" });
    };
    const gone = job?.shutdown_room?.kicked_users?.length ?? 0;
    const list = (members.got?.members ?? []).filter((user) => user.toLowerCase().includes(term.toLowerCase()));
    return (
        <>
            <Top title={nameOf(room)} up={up} text={room.topic}><Access room={room} /></Top>
            <div class="row gap above-s"><Avatar id={id} name={nameOf(room)} src={thumbnail(room.avatar ?? undefined, 96)} square size="4rem" /><span class="small mut break">{[room.canonical_alias, id].filter(Boolean).join(" · ")}<br />{a("room.creator")}: {room.creator} · {a("room.version")} {room.version} · {room.federatable ? `${a("room.federated")} · ` : ""}{a("room.history")}: {room.history_visibility ?? "–"}</span></div>
            {job && (
                <div class={`note above-s${job.status === "failed" ? " warn" : ""}`} role="status">
                    <Icon name={job.status === "active" ? "loader" : job.status === "failed" ? "circle-alert" : "circle-check"} />
                    <span class="grow">{job.status === "active" ? a("room.left", { n: gone }) : job.status === "failed" ? a("room.failed", { why: job.error ?? "" }) : a("room.gone", { n: gone })}{job.status === "active" && <progress class="bar-progress" max={Math.max(1, room.joined_local_members)} value={gone} aria-label={a("room.delete")} />}</span>
                </div>
            )}
            <div class="sect"><div class="card">
                {joined.value.get(id)?.membership === "join" && <div class="set"><span class="grow"><b>{t("explore.open")}</b></span><a class="btn s" href={format(roomRoute(id))}>{t("explore.open")}</a></div>}
                <div class="set"><span class="grow"><b>{a("room.blocked")}</b><small>{block.got?.user_id ?? a("room.block-text")}</small></span><Switch checked={block.got?.block ?? false} label={a("room.blocked")} disabled={!block.got} onChange={(on) => void attempt(() => admin("PUT", `${path}/block`, { block: on })).then(block.again)} /></div>
                <div class="set"><span class="grow"><b>{a("room.delete")}</b><small>{a("room.all-leave", { name: nameOf(room) })}</small></span><button type="button" class="btn s bad" disabled={job?.status === "active"} onClick={() => setAsking(true)}>{a("room.delete")}</button></div>
            </div></div>
            <section class="sect" aria-label={a("room.members")}>
                <div class="row wrapping"><h2 class="h3 grow">{a("room.members")} <span class="num sub">{members.got?.total.toLocaleString()}</span></h2>{(members.got?.total ?? 0) > 10 && <Finder label={t("members.search", { n: members.got?.total ?? 0 })} value={term} onInput={setTerm} />}</div>
                <div class="card above-s">{list.slice(0, 200).map((user) => <div class="set" key={user}><PersonCell id={user} name={undefined} href={hrefOf("users", user)} /></div>)}{list.length === 0 && members.got && <p class="nothing">{a("none")}</p>}</div>
            </section>
            {asking && (
                <Dialog title={a("room.delete")} onClose={() => setAsking(false)} footer={<><button type="button" class="btn" onClick={() => setAsking(false)}>{t("cancel")}</button><button type="button" class="btn bad fill" onClick={() => void start()}>{a("room.delete")}</button></>}>
                    <div class="in-dlg stack"><p class="mut">{a("room.all-leave", { name: nameOf(room) })}</p><label class="row"><input type="checkbox" class="chk" checked={also} onChange={(event) => setAlso(event.currentTarget.checked)} /><span>{a("room.block-and")}</span></label></div>
                </Dialog>
            )}
        </>
    );
}
