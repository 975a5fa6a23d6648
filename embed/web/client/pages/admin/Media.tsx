import type { JSX } from "preact";
import { Empty } from "../../../ui/controls.tsx";
import { t } from "../../i18n/t.ts";
import { size } from "../../render/dates.ts";
import { a, admin, Finder, hrefOf, type Order, Pager, PersonCell, Table, Top, useAsked, useList, useRest } from "./parts.tsx";
import "../../parts/asked.ts";

interface Uploader { user_id: string; displayname: string | null; media_count: number; media_length: number }

const STEP = 50;
const DAY = 86_400_000;
const TIMES = { always: 0, month: 30 * DAY, week: 7 * DAY } as const;
type Time = keyof typeof TIMES;
const ORDERS = ["media_length", "media_count", "user_id"];

/** Who has uploaded how much; what exactly stands on the person's page, where it can be taken away. */
export function MediaPage(): JSX.Element {
    const { chosen, from, choose, move } = useList<{ term: string; time: Time; order: Order }>("media", { term: "", time: "always", order: { by: "media_length", back: false } });
    const { term, time, order } = chosen;
    const name = useRest(term.trim());
    const { got, error, again } = useAsked(
        () => admin<{ users: Uploader[]; total: number }>("GET", "/v1/statistics/users/media", undefined, {
            from, limit: STEP, order_by: order.by, dir: (order.by === "user_id") !== order.back ? "f" : "b",
            ...(name && { search_term: name }), ...(TIMES[time] && { from_ts: Date.now() - TIMES[time] }),
        }),
        `${time} ${order.by} ${order.back} ${from} ${name}`,
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
                <Finder label={a("user.search")} value={term} onInput={(text) => choose({ term: text })} />
                <div class="pills" role="group" aria-label={t("list.filter")}>
                    {(Object.keys(TIMES) as Time[]).map((one) => <button key={one} type="button" class="pill" aria-pressed={time === one} onClick={() => choose({ time: one })}>{a(`media.${one}`)}</button>)}
                </div>
                <select class="sel" aria-label={a("media.order")} value={order.by} onChange={(event) => choose({ order: { by: event.currentTarget.value, back: false } })}>{ORDERS.map((each) => <option key={each} value={each}>{a(`media.by-${each as "user_id"}`)}</option>)}</select>
            </div>
            <Table order={order} onOrder={(by) => choose({ order: by })} head={[{ label: a("user.person"), by: "user_id" }, { label: a("media.files"), n: true, by: "media_count", down: true }, { label: a("media.size"), n: true, by: "media_length", down: true }]} rows={rows} error={error} again={again} busy={!got} none={<Empty icon="hard-drive" title={a("media.none")} />} />
            <Pager from={from} shown={got?.users.length ?? 0} total={got?.total ?? 0} step={STEP} onMove={move} />
        </>
    );
}
