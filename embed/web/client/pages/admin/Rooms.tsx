import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../../../ui/Avatar.tsx";
import { Dialog, Empty, Switch } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { size } from "../../render/dates.ts";
import { format, go, roomRoute, shareLink } from "../../routes.ts";
import { thumbnail } from "../../sdk/media.ts";
import { attempt, openRoomById, rooms as joined, the } from "../../stores/app.ts";
import { copied } from "../Room.tsx";
import { a, admin, enc, Finder, hrefOf, Pager, PersonCell, RowMenu, Table, Top, useAsked, useList, useRest } from "./parts.tsx";
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
    "chat.hromada.events": number;
    "chat.hromada.bytes": number;
    "chat.hromada.blocked": boolean;
}
interface Capabilities { capabilities: { "m.room_versions"?: { default: string } } }
interface Job { delete_id: string; status: "active" | "complete" | "failed"; error?: string; shutdown_room?: { kicked_users?: string[]; failed_to_kick_users?: string[] } }

const STEP = 50;
const ORDERS = [
    ["joined_members", "rooms.by-members"], ["chat.hromada.events", "rooms.by-events"], ["chat.hromada.bytes", "rooms.by-bytes"],
    ["name", "rooms.by-name"], ["version", "rooms.by-version"], ["state_events", "rooms.by-state"],
] as const;
const addressOf = (room: Listed): string => room.canonical_alias ?? room.room_id;
const nameOf = (room: Listed): string => room.name ?? room.canonical_alias ?? room.room_id;

function Access({ room }: { room: Listed }): JSX.Element {
    if (room["chat.hromada.blocked"]) return <span class="chip bad"><Icon name="ban" />{a("room.shut")}</span>;
    if (room.encryption) return <span class="chip"><Icon name="lock" />{a("room.encrypted")}</span>;
    if (room.public || room.join_rules === "public") return <span class="chip info"><Icon name="globe" />{a("room.public")}</span>;
    return <span class="chip"><Icon name="mail" />{a("room.invited")}</span>;
}

export function RoomsPage(): JSX.Element {
    const { chosen, from, choose, move } = useList("rooms", { term: "", order: { by: "joined_members", back: false } });
    const { term, order } = chosen;
    const search_term = useRest(term.trim());
    const [leaving, setLeaving] = useState<Listed>();
    const { got, error, again } = useAsked(
        () => admin<{ rooms: Listed[]; total_rooms: number }>("GET", "/v1/rooms", undefined, { order_by: order.by, dir: order.back ? "b" : "f", from, limit: STEP, ...(search_term && { search_term }) }),
        `${order.by} ${order.back} ${from} ${search_term}`,
    );
    const { got: newest } = useAsked(async () => ((await the().commands.request("GET", "/capabilities")) as Capabilities).capabilities["m.room_versions"]?.default, "");
    const block = (room: Listed): void => void attempt(() => admin("PUT", `/v1/rooms/${enc(room.room_id)}/block`, { block: !room["chat.hromada.blocked"] })).then(again);
    const rows = (got?.rooms ?? []).map((room) => (
        <tr key={room.room_id}>
            <td><a class="row cell" href={hrefOf("rooms", room.room_id)}><Avatar id={room.room_id} name={nameOf(room)} src={thumbnail(room.avatar ?? undefined, 96)} square /><span class="grow"><b>{nameOf(room)}</b>{addressOf(room) !== nameOf(room) && <small class="sub block">{addressOf(room)}</small>}</span></a></td>
            <td class="n">{room.joined_members.toLocaleString()}</td>
            <td class="n">{room["chat.hromada.events"].toLocaleString()}</td>
            <td class="n">{size(room["chat.hromada.bytes"])}</td>
            <td>{room.version}</td>
            <td><Access room={room} /> {Number(room.version) < Number(newest) && <span class="chip warn"><Icon name="circle-arrow-up" />{a("room.old")}</span>}</td>
            <td>
                <RowMenu name={nameOf(room)} items={[
                    ...(joined.value.get(room.room_id)?.membership === "join" ? [{ icon: "message-square-text", label: t("explore.open"), run: () => openRoomById(room.room_id) }] : []),
                    { icon: "link", label: t("message.link"), run: () => copied(shareLink(room.canonical_alias ?? room.room_id)) },
                    { icon: room["chat.hromada.blocked"] ? "circle-check" : "ban", label: a(room["chat.hromada.blocked"] ? "room.unblock" : "reports.block"), run: () => block(room) },
                    null,
                    { icon: "trash-2", label: a("room.delete"), bad: true, run: () => setLeaving(room) },
                ]} />
            </td>
        </tr>
    ));
    return (
        <>
            <Top title={a("rooms")} />
            <div class="row wrapping tools">
                <Finder label={a("room.search")} value={term} onInput={(text) => choose({ term: text })} />
                <select class="sel" aria-label={a("media.order")} value={order.by} onChange={(event) => choose({ order: { by: event.currentTarget.value, back: false } })}>{ORDERS.map(([value, key]) => <option key={value} value={value}>{a(key)}</option>)}</select>
            </div>
            <Table order={order} onOrder={(by) => choose({ order: by })} rows={rows}
                head={[
                    { label: a("room.room"), by: "name" }, { label: a("room.members"), n: true, by: "joined_members", down: true }, { label: a("room.events"), n: true, by: "chat.hromada.events", down: true },
                    { label: a("room.disk"), n: true, by: "chat.hromada.bytes", down: true }, { label: a("room.version"), by: "version" }, a("room.access"), <span class="vh" key="m">{a("row.actions")}</span>,
                ]} error={error} again={again} busy={!got} none={<Empty icon="hash" title={a("room.none")} />} />
            <Pager from={from} shown={got?.rooms.length ?? 0} total={got?.total_rooms ?? 0} step={STEP} onMove={move} />
            {leaving && <DeleteRoom id={leaving.room_id} name={nameOf(leaving)} onClose={() => setLeaving(undefined)} onBegun={() => go({ page: "admin", tab: "rooms", id: leaving.room_id })} />}
        </>
    );
}

/** Making everybody leave is asked for, and begun. */
function DeleteRoom({ id, name, onClose, onBegun }: { id: string; name: string; onClose: () => void; onBegun: (job: string) => void }): JSX.Element {
    const [also, setAlso] = useState(true);
    const start = async (): Promise<void> => {
        onClose();
        const begun = await attempt(() => admin<{ delete_id: string }>("DELETE", `/v2/rooms/${enc(id)}`, { block: also }));
        if (begun) onBegun(begun.delete_id);
    };
    return (
        <Dialog title={a("room.delete")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn bad fill" onClick={() => void start()}>{a("room.delete")}</button></>}>
            <div class="in-dlg stack"><p class="mut">{a("room.all-leave", { name })}</p><label class="row"><input type="checkbox" class="chk" checked={also} onChange={(event) => setAlso(event.currentTarget.checked)} /><span>{a("room.block-and")}</span></label></div>
        </Dialog>
    );
}

/** One room: who is in it, blocking it, and making everybody leave. */
export function RoomPage({ id }: { id: string }): JSX.Element {
    const path = `/v1/rooms/${enc(id)}`;
    const { got: room, error, again } = useAsked(() => admin<Listed>("GET", path), id);
    const members = useAsked(() => admin<{ members: string[]; total: number }>("GET", `${path}/members`), id);
    const block = useAsked(() => admin<{ block: boolean; user_id?: string }>("GET", `${path}/block`), id);
    const [asking, setAsking] = useState(false);
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
    const gone = job?.shutdown_room?.kicked_users?.length ?? 0;
    const list = (members.got?.members ?? []).filter((user) => user.toLowerCase().includes(term.toLowerCase()));
    return (
        <>
            <Top title={nameOf(room)} up={up} text={room.topic}><Access room={room} /></Top>
            <div class="row gap above-s"><Avatar id={id} name={nameOf(room)} src={thumbnail(room.avatar ?? undefined, 96)} square size="4rem" /><span class="small mut break">{[room.canonical_alias, id].filter(Boolean).join(" · ")}<br />{a("room.creator")}: {room.creator} · {a("room.version")} {room.version} · {a("room.events")} {room["chat.hromada.events"].toLocaleString()} · {size(room["chat.hromada.bytes"])} · {room.federatable ? `${a("room.federated")} · ` : ""}{a("room.history")}: {room.history_visibility ?? "–"}</span></div>
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
            {asking && <DeleteRoom id={id} name={nameOf(room)} onClose={() => setAsking(false)} onBegun={(begun) => setJob({ delete_id: begun, status: "active" })} />}
        </>
    );
}
