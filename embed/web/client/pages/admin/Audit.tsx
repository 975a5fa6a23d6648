import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Empty } from "../../../ui/controls.tsx";
import { t } from "../../i18n/t.ts";
import { full } from "../../render/dates.ts";
import { a, admin, hrefOf, sayOf, Table, Top } from "./parts.tsx";
import "../../parts/asked.ts";

export interface Act {
    id: number;
    ts: number;
    admin: string;
    action: string;
    target: string;
    detail: Record<string, unknown>;
}

const TAB: Record<string, string> = { "@": "users", "!": "rooms" };

/** Every act of an administrator. */
export function AuditPage(): JSX.Element {
    const [list, setList] = useState<readonly Act[]>();
    const [next, setNext] = useState<string>();
    const [error, setError] = useState("");
    const load = async (from?: string): Promise<void> => {
        try {
            const page = await admin<{ acts: Act[]; next_token?: string }>("GET", "/own/audit", undefined, { limit: 50, ...(from && { from }) });
            setList((before) => [...(from ? (before ?? []) : []), ...page.acts]);
            setNext(page.next_token);
            setError("");
        } catch (reason) {
            setError(sayOf(reason));
        }
    };
    useEffect(() => void load(), []);
    const rows = (list ?? []).map((act) => {
        const tab = act.action.startsWith("site.") ? "sites" : TAB[act.target[0] ?? ""];
        const detail = Object.entries(act.detail).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
        return (
            <tr key={act.id}>
                <td class="sub nowrap">{full(act.ts)}</td>
                <td><a class="plain-link" href={hrefOf("users", act.admin)}>{act.admin}</a></td>
                <td><span class="chip">{act.action}</span></td>
                <td><span class="break">{tab ? <a class="plain-link" href={hrefOf(tab, act.target)}>{act.target}</a> : act.target}{detail && <small class="sub block">{detail}</small>}</span></td>
            </tr>
        );
    });
    return (
        <>
            <Top title={a("audit")} text={a("audit.text")} />
            <div class="sect">
                <Table head={[a("audit.when"), a("audit.by"), a("audit.what"), a("audit.of")]} rows={rows} error={error} again={() => void load()} busy={!list} none={<Empty icon="history" title={a("audit.none")} text={a("audit.none-text")} />} />
                {next && <button type="button" class="btn above" onClick={() => void load(next)}>{t("more")}</button>}
            </div>
        </>
    );
}
