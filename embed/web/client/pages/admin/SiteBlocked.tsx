import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../../i18n/t.ts";
import { full } from "../../render/dates.ts";
import { attempt, toast } from "../../stores/app.ts";
import { a, admin, Section, Set, useAsked } from "./parts.tsx";

interface ShutOut {
    number: number;
    name: string;
    /** Since when, and by whom of staff. */
    blocked_ts: number | null;
    blocked_by: string | null;
    /** Until when nobody new may begin from where they were; null: somebody may. */
    address_until_ts: number | null;
}

const STEP = 50;

const factsOf = ({ blocked_ts, blocked_by, address_until_ts }: ShutOut): string =>
    [
        blocked_ts !== null && a("site.blocked-since", { when: full(blocked_ts) }),
        blocked_by !== null && a("site.blocked-by", { name: blocked_by }),
        a(address_until_ts === null ? "site.blocked-open" : "site.blocked-until", { when: full(address_until_ts ?? 0) }),
    ].filter(Boolean).join(" · ");

/** Whom staff has shut out, to be let in again. */
export function Blocked({ path }: { path: string }): JSX.Element {
    const [limit, setLimit] = useState(STEP);
    const { got, error, again } = useAsked(() => admin<{ blocked: ShutOut[]; next_token?: string }>("GET", `${path}/blocked`, undefined, { limit }), `${path} ${limit}`);
    const letIn = (one: ShutOut): void => void attempt(() => admin("DELETE", `${path}/blocked/${one.number}`)).then((done) => {
        if (done) toast(a("site.unblocked", { name: one.name }));
        again();
    });
    return (
        <Section title={a("site.blocked")}>
            {(error || got?.blocked.length === 0) && <Set title={error || a("site.blocked-none")} text={!error && a("site.blocked-none-text")} />}
            {got?.blocked.map((one) => (
                <Set key={one.number} icon="ban" title={<><bdi>{one.name}</bdi> · #{one.number}</>} text={factsOf(one)}>
                    <button type="button" class="btn s" aria-label={a("site.unblock-whom", { name: one.name, n: one.number })} onClick={() => letIn(one)}>{a("site.unblock")}</button>
                </Set>
            ))}
            {got?.next_token && <div class="set"><button type="button" class="btn s" onClick={() => setLimit(limit + STEP)}>{t("more")}</button></div>}
        </Section>
    );
}
