import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { Empty, Segments } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { Face } from "../../parts/faces.tsx";
import { clock, short } from "../../render/dates.ts";
import { format, go, roomRoute } from "../../routes.ts";
import { attempt, me, rooms, the, writeTo } from "../../stores/app.ts";
import { question } from "../../stores/ui.ts";
import type { Act } from "./Audit.tsx";
import { copied } from "../Room.tsx";
import { a, admin, enc, hrefOf, Pager, RowMenu, Table, Top, useAsked, useList } from "./parts.tsx";

interface Report {
    id: number;
    received_ts: number;
    room_id: string | null;
    name: string | null;
    canonical_alias: string | null;
    event_id: string | null;
    user_id: string;
    sender: string | null;
    reason: string;
}
interface Whole extends Report { event_json: { content?: { body?: string; msgtype?: string }; sender?: string; origin_server_ts?: number } | null }

const STEP = 20;
const nick = (user: string): string => user.slice(1).split(":")[0] ?? user;

/** What people have reported, and what was done about it. */
export function ReportsPage({ onTotal }: { onTotal: (n: number) => void }): JSX.Element {
    const { chosen: { settled }, from, choose, move } = useList<{ settled: "open" | "settled" }>("reports", { settled: "open" });
    const { got, error, again } = useAsked(() => admin<{ reports: Report[]; total: number }>("GET", "/own/reports", undefined, { from, limit: STEP }), from);
    useEffect(() => {
        if (got) onTotal(got.total);
    }, [got?.total]);
    return (
        <>
            <Top title={a("reports")}><Segments value={settled} label={a("reports")} options={[["open", <>{a("reports.open")} {got?.total ?? ""}</>], ["settled", a("reports.settled")]]} onChange={(now) => choose({ settled: now })} /></Top>
            {settled === "settled" ? <Settled /> : got && got.reports.length > 0 && !error ? (
                <>
                    <div class="stack sect column">{got.reports.map((report) => <Card key={report.id} report={report} onDone={again} />)}</div>
                    <Pager from={from} shown={got.reports.length} total={got.total} step={STEP} onMove={move} />
                </>
            ) : (
                <div class="sect"><Table head={[]} rows={[]} error={error} again={again} busy={!got} none={<Empty icon="flag" title={a("reports.none")} text={a("reports.none-text")} />} /></div>
            )}
        </>
    );
}

function Card({ report, onDone }: { report: Report; onDone: () => void }): JSX.Element {
    const kind = report.event_id ? "event" : report.room_id ? "room" : "user";
    const { got } = useAsked(() => (report.event_id ? admin<Whole>("GET", `/own/reports/${report.id}`) : Promise.resolve(undefined)), report.id);
    const sender = report.sender ?? got?.event_json?.sender ?? undefined;
    const room = report.name ?? report.canonical_alias ?? report.room_id ?? "";
    const local = sender?.endsWith(`:${the().commands.serverName}`) ?? false;
    const inside = report.room_id !== null && rooms.value.get(report.room_id)?.membership === "join";
    const done = (): void => void attempt(() => admin("DELETE", `/own/reports/${report.id}`)).then(onDone);
    const ask = (title: string, text: string, run: () => Promise<unknown>): void =>
        void (question.value = { title, text, yes: title, bad: true, run: () => void attempt(run) });
    const block = (): void => ask(a("reports.block"), a("reports.block-text"), () => admin("PUT", `/v1/rooms/${enc(report.room_id ?? "")}/block`, { block: true }));
    const body = got?.event_json?.content?.body;
    return (
        <article class="card pad stack break" aria-label={`${a(`reports.kind-${kind}`)} #${report.id}`}>
            <div class="row wrapping">
                <span class={`chip ${kind === "event" ? "bad" : kind === "user" ? "warn" : ""}`}><Icon name={kind === "event" ? "flag" : kind === "user" ? "user" : "hash"} />{a(`reports.kind-${kind}`)}</span>
                <span class="small sub grow">{room ? a("reports.about", { room, name: nick(report.user_id), when: short(report.received_ts) }) : a("reports.about-none", { name: nick(report.user_id), when: short(report.received_ts) })}</span>
                <span class="small sub">#{report.id}</span>
                <RowMenu name={`#${report.id}`} items={[
                    ...(report.room_id && kind !== "room" ? [{ icon: "hash", label: a("reports.room"), run: () => go({ page: "admin", tab: "rooms", id: report.room_id ?? "" }) }] : []),
                    ...(sender && local ? [{ icon: "user", label: a("reports.person"), run: () => go({ page: "admin", tab: "users", id: sender }) }] : []),
                    { icon: "copy", label: a("reports.copy"), run: () => copied(report.event_id ?? report.room_id ?? sender ?? "") },
                    ...(kind === "event" ? [null, { icon: "ban", label: a("reports.block"), bad: true, run: block }] : []),
                ]} />
            </div>
            {kind === "event" && sender && (
                <div class="note top"><Face person={{ id: sender, name: nick(sender), avatar: undefined }} size="2rem" /><span class="grow"><b>{nick(sender)}</b> <span class="sub small">{got?.event_json?.origin_server_ts ? clock(got.event_json.origin_server_ts) : ""}</span><br /><span class="plain">{got === undefined ? "…" : body ?? a("reports.gone")}</span></span></div>
            )}
            {kind === "user" && sender && <div class="row"><Face person={{ id: sender, name: nick(sender), avatar: undefined }} size="2.25rem" /><span class="grow"><b class="strong">{nick(sender)}</b><br /><span class="small sub">{sender}</span></span></div>}
            {kind === "room" && <p>{room}</p>}
            {report.reason && <p class="small mut"><b class="strong">{nick(report.user_id)}:</b> {report.reason}</p>}
            <div class="row wrapping">
                {kind === "event" && inside && body && <button type="button" class="btn s bad" onClick={() => ask(a("reports.delete"), body, () => the().commands.redact(report.room_id ?? "", report.event_id ?? ""))}>{a("reports.delete")}</button>}
                {sender && local && <button type="button" class="btn s bad" onClick={() => ask(a("reports.suspend"), a("reports.suspend-text", { name: sender }), () => admin("PUT", `/v1/suspend/${enc(sender)}`, { suspend: true }))}>{a("reports.suspend")}</button>}
                {kind === "room" && <button type="button" class="btn s bad" onClick={block}>{a("reports.block")}</button>}
                {kind === "room" && <a class="btn s" href={hrefOf("rooms", report.room_id ?? "")}>{a("reports.room")}</a>}
                {inside && report.event_id && <a class="btn s" href={format(roomRoute(report.room_id ?? "", report.event_id))}>{a("reports.see")}</a>}
                {report.user_id !== me.value.id && <button type="button" class="btn s" onClick={() => writeTo(report.user_id)}>{a("reports.write", { name: nick(report.user_id) })}</button>}
                <span class="grow" />
                <button type="button" class="btn s plain" onClick={done}>{a("reports.dismiss")}</button>
            </div>
        </article>
    );
}

function Settled(): JSX.Element {
    const { got, error, again } = useAsked(() => admin<{ acts: Act[] }>("GET", "/own/audit", undefined, { action: "report.delete", limit: 100 }), "");
    const rows = (got?.acts ?? []).map((act) => (
        <tr key={act.id}><td>#{act.target}</td><td class="mono-s">{typeof act.detail["about"] === "string" ? act.detail["about"] : ""}</td><td>{a("reports.settled-by", { name: nick(act.admin), when: short(act.ts) })}</td></tr>
    ));
    return <div class="sect"><Table head={["#", a("audit.of"), a("audit.when")]} rows={rows} error={error} again={again} busy={!got} none={<Empty icon="flag" title={a("none")} />} /></div>;
}
