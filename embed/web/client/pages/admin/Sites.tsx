import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog, Empty, Field, type MenuItem } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { short } from "../../render/dates.ts";
import { go } from "../../routes.ts";
import { attempt, me, openRoomById } from "../../stores/app.ts";
import { question } from "../../stores/ui.ts";
import { copied } from "../Room.tsx";
import { a, admin, enc, hrefOf, RowMenu, sayOf, span, Table, Top, useAsked } from "./parts.tsx";
import { SitePage } from "./Site.tsx";
import type { Figures, Site, WholeSite } from "./site-types.ts";
import "../../parts/asked.ts";

export function SitesPage({ id }: { id: string | undefined }): JSX.Element {
    return id ? <SitePage id={id} key={id} /> : <SiteList />;
}

/** A line of the last days. */
export function Spark({ values }: { values: readonly number[] }): JSX.Element {
    const most = Math.max(1, ...values);
    const points = values.map((value, at) => `${(at / Math.max(1, values.length - 1)) * 100} ${22 - (value / most) * 20}`).join(" ");
    return <svg class="sp" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true"><polyline points={points} fill="none" stroke="var(--accent)" stroke-width="1.5" vector-effect="non-scaling-stroke" /></svg>;
}

export function Kpis({ of }: { of: Figures }): JSX.Element {
    const change = of.week_before ? Math.round(((of.week - of.week_before) / of.week_before) * 100) : 0;
    return (
        <div class="kpis sect">
            <div class="card kpi"><small>{a("sites.cases")}</small><b>{of.week.toLocaleString()}</b>{change !== 0 && <span class={change > 0 ? "chip ok" : "chip"}>{change > 0 ? "+" : ""}{change} %</span>}<Spark values={of.by_day} /></div>
            <div class="card kpi"><small>{a("sites.answer")}</small><b>{of.first_answer_ms === null ? "–" : span(of.first_answer_ms)}</b></div>
            <div class="card kpi"><small>{a("sites.rating")}</small><b>{of.rating === null ? "–" : of.rating.toLocaleString(undefined, { maximumFractionDigits: 1 })}</b><small class="sub">{a("sites.of", { n: of.ratings })}</small></div>
            <div class="card kpi"><small>{a("sites.waiting")}</small><b>{of.waiting.toLocaleString()}</b>{of.waiting > 0 && <span class="chip warn">{a("sites.longest", { time: span(of.longest_ms) })}</span>}</div>
        </div>
    );
}

function SiteList(): JSX.Element {
    const { got, error, again } = useAsked(() => admin<{ sites: Site[] }>("GET", "/own/sites"), "");
    const [making, setMaking] = useState(false);
    const [gone, setGone] = useState<ReadonlySet<string>>(new Set());
    useEffect(() => {
        // What was removed here may be listed once more by an answer that was begun before, and says nothing of it.
        if (!got?.sites.some(({ site_id, removing }) => (removing ?? gone.has(site_id)) && !removing?.error)) return undefined;
        const timer = setTimeout(again, 1_000);
        return () => clearTimeout(timer);
    }, [got, gone]);
    const make = <button type="button" class="btn go" onClick={() => setMaking(true)}><Icon name="plus" />{a("sites.make")}</button>;
    const pathOf = (site: Site): string => `/own/sites/${enc(site.site_id)}`;
    const menu = (site: Site): (MenuItem | null)[] => [
        { icon: "messages-square", label: a("sites.desk"), run: () => void attempt(() => admin<WholeSite>("GET", pathOf(site))).then((whole) => whole && openRoomById(whole.desk_id)) },
        { icon: "copy", label: `${a("site.copy")}: ${site.site_id}`, run: () => copied(site.site_id) },
        ...(site.removing ? [] : [
            { icon: site.enabled ? "pause" : "play", label: a(site.enabled ? "site.pause" : "site.resume"), run: () => void attempt(() => admin("PUT", pathOf(site), { settings: { enabled: !site.enabled } })).then(again) },
            null,
            { icon: "trash-2", label: a("site.remove"), bad: true, run: () => (question.value = { title: a("site.remove"), text: a("site.remove-text"), yes: a("site.remove"), bad: true, run: () => void attempt(() => admin("DELETE", pathOf(site))).then((begun) => begun && (setGone(new Set([...gone, site.site_id])), again())) }) },
        ]),
    ];
    const rows = (got?.sites ?? []).map((site) => (
        <tr key={site.site_id}>
            <td><a class="row cell" href={hrefOf("sites", site.site_id)}><span class="soft-icon"><Icon name="message-circle-more" /></span><span class="grow"><b>{site.name}</b><small class="sub block">{site.origins.join(", ")}</small></span></a></td>
            <td>{site.removing ? <span class="chip warn">{a("site.removing", { n: site.removing.closed })}</span> : <span class={site.enabled ? "chip ok" : "chip"}>{a(site.enabled ? "site.live" : "site.paused")}</span>}</td>
            <td class="n">{site.figures.open.toLocaleString()}</td>
            <td class="n">{site.figures.waiting.toLocaleString()}</td>
            <td class="n">{site.figures.week.toLocaleString()}</td>
            <td class="n">{site.figures.rating ?? "–"}</td>
            <td class="sub">{short(site.created_ts)}</td>
            <td><RowMenu name={site.name} items={menu(site)} /></td>
        </tr>
    ));
    return (
        <>
            <Top title={a("sites")} text={a("sites.text")}>{rows.length > 0 && make}</Top>
            <div class="sect">
                <Table head={[a("site.name"), a("user.state"), { label: a("site.open"), n: true }, { label: a("sites.waiting"), n: true }, { label: a("sites.cases"), n: true }, { label: a("sites.rating"), n: true }, a("user.created"), <span class="vh" key="m">{a("row.actions")}</span>]} rows={rows} error={error} again={again} busy={!got}
                    none={<Empty icon="message-circle-more" title={a("site.none")} text={a("site.none-text")}>{make}</Empty>} />
            </div>
            {making && <NewSite onClose={() => setMaking(false)} />}
        </>
    );
}

function NewSite({ onClose }: { onClose: () => void }): JSX.Element {
    const [name, setName] = useState("");
    const [own, setOwn] = useState<string>();
    const [origin, setOrigin] = useState("");
    const [error, setError] = useState("");
    const id = own ?? `s_${name.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 28) || "site"}`;
    const make = async (event: Event): Promise<void> => {
        event.preventDefault();
        try {
            await admin("POST", "/own/sites", { site_id: id, settings: { name: name.trim(), origins: origin.split(/\s+/).filter(Boolean) }, agents: [me.value.id] });
            onClose();
            go({ page: "admin", tab: "sites", id });
        } catch (reason) {
            setError(sayOf(reason));
        }
    };
    return (
        <Dialog title={a("sites.make")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="new-site" class="btn go">{a("sites.make")}</button></>}>
            <form id="new-site" class="in-dlg stack" onSubmit={(event) => void make(event)}>
                <Field label={a("site.name")} value={name} required autofocus maxLength={100} onInput={(event) => setName(event.currentTarget.value)} />
                <Field label={a("site.id")} value={id} hint={a("site.id-text")} required pattern="[a-z0-9][a-z0-9_\-]{1,31}" maxLength={32} autocapitalize="none" spellcheck={false} onInput={(event) => setOwn(event.currentTarget.value)} />
                <Field label={a("site.origins")} value={origin} placeholder="https://shop.example.org" required maxLength={300} autocapitalize="none" spellcheck={false} onInput={(event) => setOrigin(event.currentTarget.value)} />
                {error && <p class="hint bad" role="alert"><Icon name="circle-alert" />{error}</p>}
            </form>
        </Dialog>
    );
}
