import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Empty } from "../../../ui/controls.tsx";
import { t } from "../../i18n/t.ts";
import { clock, full, short } from "../../render/dates.ts";
import { a, admin, Finder, hrefOf, sayOf, Table, Top, useList, useRest } from "./parts.tsx";
import "../../parts/asked.ts";

export interface Act {
    id: number;
    ts: number;
    admin: string;
    action: string;
    target: string;
    detail: Record<string, unknown>;
}
interface Page { acts: Act[]; next_token?: string }

const STEP = 50;
/** So many are asked for at most when somebody comes back to where they were. */
const MOST = 500;
const TAB: Record<string, string> = { "@": "users", "!": "rooms" };
const KINDS = [["user", "users"], ["device", "user.devices"], ["room", "rooms"], ["media", "media"], ["report", "reports"], ["registration_token", "tokens"], ["site", "sites"]] as const;

/** When a day begins here, so many days after the one that is written as 2026-11-30; undefined if none is. */
function begin(day: string, after = 0): number | undefined {
    const [year, month, date] = day.split("-").map(Number);
    return year && month && date ? Math.max(0, new Date(year, month - 1, date + after).getTime()) : undefined;
}

/** Every act of an administrator. */
export function AuditPage(): JSX.Element {
    const { chosen, from, choose, move } = useList("audit", { by: "", of: "", kind: "", since: "", until: "" });
    const { by, of, kind, since, until } = chosen;
    const [list, setList] = useState<readonly Act[]>();
    const [next, setNext] = useState<string>();
    const [error, setError] = useState("");
    const [round, again] = useState(0);
    const latest = useRef("");
    const wanted = useRest(JSON.stringify({
        ...(by.trim() && { admin_term: by.trim() }), ...(of.trim() && { target_term: of.trim() }), ...(kind && { action: `${kind}.` }),
        ...(begin(since) !== undefined && { from_ts: begin(since) }), ...(begin(until, 1) !== undefined && { until_ts: begin(until, 1) }),
    }));
    // What ends before it begins is not asked: nothing was done then.
    const never = since && until && until < since;
    const ask = async (query: object): Promise<Page> => never ? { acts: [] } : admin<Page>("GET", "/own/audit", undefined, { ...(JSON.parse(wanted) as object), ...query });
    useEffect(() => {
        let current = true;
        latest.current = wanted;
        ask({ limit: Math.min(STEP + from, MOST) }).then((page) => {
            if (!current) return;
            setList(page.acts);
            setNext(page.next_token);
            setError("");
        }, (reason: unknown) => current && setError(sayOf(reason)));
        return () => void (current = false);
    }, [wanted, round]);
    const more = async (): Promise<void> => {
        try {
            const page = await ask({ limit: STEP, from: next });
            if (latest.current !== wanted) return;
            setList((before) => [...(before ?? []), ...page.acts]);
            setNext(page.next_token);
            move(from + STEP);
        } catch (reason) {
            setError(sayOf(reason));
        }
    };
    const rows = (list ?? []).map((act) => {
        const tab = act.action.startsWith("site.") ? "sites" : TAB[act.target[0] ?? ""];
        const detail = Object.entries(act.detail).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
        return (
            <tr key={act.id}>
                <td class="sub nowrap" title={full(act.ts)}>{short(act.ts) === clock(act.ts) ? "" : `${short(act.ts)}, `}{clock(act.ts)}</td>
                <td><a class="plain-link" href={hrefOf("users", act.admin)}>{act.admin}</a></td>
                <td><span class="chip">{act.action}</span></td>
                <td><span class="break block" style={{ minInlineSize: "14rem" }}>{tab ? <a class="plain-link" href={hrefOf(tab, act.target)}>{act.target}</a> : act.target}{detail && <small class="sub block">{detail}</small>}</span></td>
            </tr>
        );
    });
    const day = (name: "since" | "until", label: string): JSX.Element => (
        <label class="row small-gap small">{label}<input type="date" class="sel" value={chosen[name]} {...(name === "until" ? since && { min: since } : until && { max: until })} onInput={(event) => choose({ [name]: event.currentTarget.value })} /></label>
    );
    const narrow = wanted !== "{}";
    return (
        <>
            <Top title={a("audit")} text={a("audit.text")} />
            <div class="row wrapping tools" role="search">
                <Finder label={a("audit.by")} value={by} onInput={(text) => choose({ by: text })} />
                <Finder label={a("audit.of")} value={of} onInput={(text) => choose({ of: text })} />
                <select class="sel" aria-label={a("audit.kind")} value={kind} onChange={(event) => choose({ kind: event.currentTarget.value })}>
                    <option value="">{a("audit.kinds")}</option>
                    {KINDS.map(([value, key]) => <option key={value} value={value}>{a(key)}</option>)}
                </select>
                <span class="row wrapping">{day("since", a("audit.since"))}{day("until", a("audit.until"))}</span>
            </div>
            <Table head={[a("audit.when"), a("audit.by"), a("audit.what"), a("audit.of")]} rows={rows} error={error} again={() => again(round + 1)} busy={!list}
                none={<Empty icon="history" title={a(narrow ? "audit.none-found" : "audit.none")} text={narrow ? "" : a("audit.none-text")} />} />
            {next && <button type="button" class="btn above" onClick={() => void more()}>{t("more")}</button>}
        </>
    );
}
