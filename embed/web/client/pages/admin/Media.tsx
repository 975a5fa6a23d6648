import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Empty } from "../../../ui/controls.tsx";
import { t } from "../../i18n/t.ts";
import { size } from "../../render/dates.ts";
import { a, admin, Finder, hrefOf, Pager, PersonCell, Table, Top, useAsked, useRest } from "./parts.tsx";
import "../../parts/asked.ts";

interface Uploader { user_id: string; displayname: string | null; media_count: number; media_length: number }

const STEP = 50;
const DAY = 86_400_000;
const TIMES = { always: 0, month: 30 * DAY, week: 7 * DAY } as const;
type Time = keyof typeof TIMES;
const ORDERS = ["media_length", "media_count", "user_id"] as const;

/** Who has uploaded how much; what exactly stands on the person's page, where it can be taken away. */
export function MediaPage(): JSX.Element {
    const [term, setTerm] = useState("");
    const [time, setTime] = useState<Time>("always");
    const [order, setOrder] = useState<(typeof ORDERS)[number]>("media_length");
    const [from, setFrom] = useState(0);
    const name = useRest(term.trim());
    const { got, error, again } = useAsked(
        () => admin<{ users: Uploader[]; total: number }>("GET", "/v1/statistics/users/media", undefined, {
            from, limit: STEP, order_by: order, dir: order === "user_id" ? "f" : "b",
            ...(name && { search_term: name }), ...(TIMES[time] && { from_ts: Date.now() - TIMES[time] }),
        }),
        `${time} ${order} ${from} ${name}`,
    );
    const rows = (got?.users ?? []).map((one) => (
        <tr key={one.user_id}>
            <td><PersonCell id={one.user_id} name={one.displayname} href={hrefOf("users", one.user_id)} /></td>
            <td class="n">{one.media_count.toLocaleString()}</td>
            <td class="n">{size(one.media_length)}</td>
        </tr>
    ));
    return (
        <>
            <Top title={a("media")} text={a("media.text")} />
            <div class="row wrapping tools">
                <Finder label={a("user.search")} value={term} onInput={(text) => (setTerm(text), setFrom(0))} />
                <div class="pills" role="group" aria-label={t("list.filter")}>
                    {(Object.keys(TIMES) as Time[]).map((one) => <button key={one} type="button" class="pill" aria-pressed={time === one} onClick={() => (setTime(one), setFrom(0))}>{a(`media.${one}`)}</button>)}
                </div>
                <select class="sel" aria-label={a("media.order")} value={order} onChange={(event) => (setOrder(event.currentTarget.value as "user_id"), setFrom(0))}>{ORDERS.map((each) => <option key={each} value={each}>{a(`media.by-${each}`)}</option>)}</select>
            </div>
            <Table head={[a("user.person"), [a("media.files"), "n"], [a("media.size"), "n"]]} rows={rows} error={error} again={again} busy={!got} none={<Empty icon="hard-drive" title={a("media.none")} />} />
            <Pager from={from} shown={got?.users.length ?? 0} total={got?.total ?? 0} step={STEP} onMove={setFrom} />
        </>
    );
}
