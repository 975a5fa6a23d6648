import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../../../ui/Icon.tsx";
import { status } from "../../stores/app.ts";
import { a, admin, Top, useAsked } from "./parts.tsx";
import "../../parts/asked.ts";

const EVERY_MS = 10_000;

interface Found {
    version: string;
    spec: string;
    /** Milliseconds until the server had answered a small request that reads its database. */
    answer: number;
    users: number;
    rooms: number;
    reports: number;
}

async function look(): Promise<Found> {
    const [about, spec] = await Promise.all([
        admin<{ server_version: string }>("GET", "/v1/server_version"),
        fetch("/_matrix/client/versions").then((answer) => answer.json() as Promise<{ versions: string[] }>),
    ]);
    const start = performance.now();
    const users = await admin<{ total: number }>("GET", "/v2/users", undefined, { limit: 1 });
    const answer = performance.now() - start;
    const [rooms, reports] = await Promise.all([
        admin<{ total_rooms: number }>("GET", "/v1/rooms", undefined, { limit: 1 }),
        admin<{ total: number }>("GET", "/own/reports", undefined, { limit: 0 }),
    ]);
    return { version: about.server_version, spec: spec.versions.at(-1) ?? "", answer, users: users.total, rooms: rooms.total_rooms, reports: reports.total };
}

/** How the server is: whether it answers, how quickly, what it holds. Looked at anew while the page is open. */
export function HealthPage(): JSX.Element {
    const [round, setRound] = useState(0);
    const { got, error } = useAsked(look, round);
    useEffect(() => {
        const timer = setInterval(() => document.visibilityState === "visible" && setRound((n) => n + 1), EVERY_MS);
        return () => clearInterval(timer);
    }, []);
    const live = status.value === "streaming";
    return (
        <>
            <Top title={a("health")} text={a("health.text")}><button type="button" class="btn" onClick={() => setRound((n) => n + 1)}><Icon name="rotate-ccw" />{a("health.again")}</button></Top>
            {error && <div class="note bad sect" role="alert"><Icon name="circle-alert" /><span>{error}</span></div>}
            <div class="kpis sect" aria-busy={!got && !error}>
                <div class="card kpi"><small>{a("health.answer")}</small><b>{got ? a("health.ms", { n: Math.round(got.answer) }) : "–"}</b>{got && <span class={got.answer < 500 && !error ? "chip ok" : "chip warn"}>{a(error ? "health.away" : got.answer < 500 ? "health.well" : "health.slow")}</span>}</div>
                <div class="card kpi"><small>{a("users")}</small><b>{got?.users.toLocaleString() ?? "–"}</b></div>
                <div class="card kpi"><small>{a("rooms")}</small><b>{got?.rooms.toLocaleString() ?? "–"}</b></div>
                <div class="card kpi"><small>{a("health.reports")}</small><b>{got?.reports.toLocaleString() ?? "–"}</b></div>
            </div>
            <div class="card sect">
                <div class="set"><Icon name="server" /><span class="grow"><b>{a("health.version")}</b><small>{got ? `Hromada ${got.version}` : "–"}</small></span></div>
                <div class="set"><Icon name="file-text" /><span class="grow"><b>{a("health.spec")}</b><small>{got?.spec ?? "–"}</small></span></div>
                <div class="set"><Icon name={live ? "circle-check" : "cloud-off"} /><span class="grow"><b>{a("health.stream")}</b><small>{a(live ? "health.stream-on" : "health.stream-off")}</small></span></div>
            </div>
            <p class="small sub sect">{a("health.more")}</p>
        </>
    );
}
