import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog, Empty, Field, IconButton, Segments, Switch } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { PeoplePicker } from "../../parts/People.tsx";
import { Face } from "../../parts/faces.tsx";
import { ago } from "../../render/dates.ts";
import { format, go, roomRoute } from "../../routes.ts";
import type { Person } from "../../sdk/types.ts";
import { attempt, toast } from "../../stores/app.ts";
import { question } from "../../stores/ui.ts";
import { copied } from "../Room.tsx";
import { a, admin, enc, Once, sayOf, Section, Set, Top, useAsked } from "./parts.tsx";
import { Blocked } from "./SiteBlocked.tsx";
import { HoursDialog, QuestionsDialog, RoomDialog, WordsDialog } from "./SiteDialogs.tsx";
import { changes, FILE_TYPES, type FormField, LOCALES, type Locale, type Settings, textOf, type WholeSite } from "./site-types.ts";
import { Kpis } from "./Sites.tsx";
import "../../parts/asked.ts";

const COLOURS = ["#2B58D8", "#8C3B4A", "#1F7048", "#6B46C1", "#B4540A"];
const MB = 1024 * 1024;

/** A site's settings, kept apart from what is saved until they are saved. */
export function SitePage({ id }: { id: string }): JSX.Element {
    const path = `/own/sites/${enc(id)}`;
    const { got, error, again } = useAsked(() => admin<WholeSite>("GET", path), id);
    const [draft, setDraft] = useState<Settings>();
    const [fault, setFault] = useState("");
    const [removed, setRemoved] = useState(false);
    useEffect(() => {
        // Of several processes another one may answer, which does not know how far the removal is.
        if (!(got?.removing ?? removed) || got?.removing?.error) return undefined;
        const timer = setTimeout(again, 1_000);
        return () => clearTimeout(timer);
    }, [got, removed]);
    useEffect(() => {
        if (error && (got?.removing || removed)) go({ page: "admin", tab: "sites" }, true);
    }, [error]);
    const up = { label: a("sites"), href: "#/admin/sites" };
    if (!got) return <><Top title={id} up={up} />{error && <Empty icon="message-circle-more" title={error} />}</>;
    const now = draft ?? got.settings;
    const changed = changes(got.settings, now) as Settings | undefined;
    const set = (change: Partial<Settings>): void => setDraft({ ...now, ...change });
    const put = async (settings: unknown): Promise<boolean> => {
        try {
            await admin("PUT", path, { settings });
            setFault("");
            setDraft(undefined);
            again();
            return true;
        } catch (reason) {
            setFault(sayOf(reason));
            return false;
        }
    };
    const remove = (): void => {
        question.value = { title: a("site.remove"), text: a("site.remove-text"), yes: a("site.remove"), bad: true, run: () => void attempt(() => admin("DELETE", path)).then((begun) => begun && (setRemoved(true), again())) };
    };
    return (
        <>
            <Top title={got.name} up={up}>
                <span class={got.enabled ? "chip ok" : "chip"}><Icon name={got.enabled ? "circle-check" : "pause"} />{a(got.enabled ? "site.live" : "site.paused")}</span>
                <button type="button" class="btn" disabled={got.removing !== null} onClick={() => void put({ enabled: !got.enabled })}>{a(got.enabled ? "site.pause" : "site.resume")}</button>
                <button type="button" class="btn go" disabled={!changed} onClick={() => void put(changed).then((done) => done && toast(a("site.saved")))}>{a("site.save")}</button>
            </Top>
            {fault && <div class="note warn above-s" role="alert"><Icon name="circle-alert" /><span>{fault}</span></div>}
            {got.removing && <div class="note warn above-s" role="status"><Icon name="hourglass" /><span>{got.removing.error ?? a("site.removing", { n: got.removing.closed })}</span></div>}
            <Kpis of={got.figures} />
            <div class="split sect">
                <div class="stack parts">
                    <Code site={got} now={now} />
                    <Look now={now} set={set} path={path} />
                    <Where now={now} set={set} path={path} again={again} />
                    <Before now={now} set={set} />
                    <Desk site={got} now={now} set={set} path={path} again={again} />
                    <Blocked path={path} />
                    <div class="card"><Set title={a("site.remove")} text={a("site.remove-text")}><button type="button" class="btn s bad" disabled={got.removing !== null && !got.removing.error} onClick={remove}>{a("site.remove")}</button></Set></div>
                </div>
                <Preview path={path} settings={changed} />
            </div>
        </>
    );
}

export interface Part { now: Settings; set: (change: Partial<Settings>) => void }

function Code({ site: { site_id: id, seen_ts: seen, seen_origin: origin }, now }: { site: WholeSite; now: Settings }): JSX.Element {
    const [esm, setEsm] = useState(false);
    const { accent, side, launcher } = now.theme ?? {};
    // Who is hidden out of hours says who they are before anything is shown.
    const address = `${location.origin}/embed.${esm ? "mjs" : "js"}${now.offline === "hide" ? `?site=${id}` : ""}`;
    const said = [["site", id], ["accent", accent], side === "start" && ["side", side], ["launcher", launcher], now.persist === "host" && ["persist", "host"]].filter((each): each is [string, string] => Boolean(each && each[1]));
    const text = esm
        ? `import(/* webpackIgnore: true */ "${address}").then(({ HromadaChat }) => {\n    const chat = HromadaChat.mount({ ${said.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(", ")} });\n});`
        : `<script async src="${address}"\n        ${said.map(([name, value]) => `data-${name}="${value.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"`).join(" ")}></script>`;
    return (
        <section aria-label={a("site.code")}>
            <h2 class="h3 part-title">{a("site.code")}</h2>
            <pre class="snip" tabIndex={0}>{text}</pre>
            <div class="row wrapping above-s"><button type="button" class="btn s" onClick={() => copied(text)}><Icon name="copy" />{a("site.copy")}</button><button type="button" class="btn s" aria-pressed={esm} onClick={() => setEsm(!esm)}>{a("site.code-esm")}</button><span class="grow" /><span class="small sub">{seen && origin ? a("site.seen", { ago: ago(seen), host: origin.replace(/^.*:\/\//, "") }) : a("site.unseen")}</span></div>
        </section>
    );
}

function Look({ now, set, path }: Part & { path: string }): JSX.Element {
    const accent = now.theme?.accent ?? "#2B58D8";
    const theme = (change: Settings["theme"]): void => set({ theme: { ...now.theme, ...change } });
    const [words, setWords] = useState(false);
    const { got } = useAsked(() => admin<{ contrast: number; readable: string }>("POST", `${path}/preview`, { settings: { theme: { accent } } }), accent);
    const low = got !== undefined && got.contrast < 4.5;
    const shown = Object.keys(now.words ?? {}) as Locale[];
    return (
        <Section title={a("site.look")}>
            <Set title={a("site.name")}><input class="sel" aria-label={a("site.name")} value={now.name} maxLength={100} onInput={(event) => set({ name: event.currentTarget.value })} /></Set>
            <Set title={a("site.colour")} text={got && a(low ? "site.colour-low" : "site.colour-ok", { n: got.contrast, colour: got.readable })}>
                <div class="swatches" role="group" aria-label={a("site.colour")}>
                    {COLOURS.map((each) => <button key={each} type="button" style={{ "--c": each }} aria-label={each} aria-pressed={accent.toUpperCase() === each} onClick={() => theme({ accent: each })} />)}
                    <input type="color" class="swatch" aria-label={a("site.colour-other")} title={a("site.colour-other")} value={accent.toLowerCase()} onInput={(event) => theme({ accent: event.currentTarget.value.toUpperCase() })} />
                </div>
            </Set>
            <Set title={a("site.scheme")}><Segments value={now.theme?.scheme ?? "auto"} label={a("site.scheme")} options={[["auto", a("site.scheme-auto")], ["light", a("site.scheme-light")], ["dark", a("site.preview-dark")]]} onChange={(scheme) => theme({ scheme })} /></Set>
            <Set title={a("site.side")}><Segments value={now.theme?.side ?? "end"} label={a("site.side")} options={[["start", a("site.side-start")], ["end", a("site.side-end")]]} onChange={(side) => theme({ side })} /></Set>
            <Set title={a("site.launcher")} text={a("site.launcher-text")}><input class="sel" aria-label={a("site.launcher")} value={now.theme?.launcher ?? ""} maxLength={40} onInput={(event) => theme({ launcher: event.currentTarget.value })} /></Set>
            <Set title={a("site.words")} text={shown.length ? shown.map((each) => LOCALES[each]).join(", ") : a("site.words-text")}><button type="button" class="btn s" onClick={() => setWords(true)}>{a("edit")}</button></Set>
            <Set title={a("site.language")} text={a("site.language-text")}><select class="sel" aria-label={a("site.language")} value={now.locale ?? "en"} onChange={(event) => set({ locale: event.currentTarget.value as Locale })}>{Object.entries(LOCALES).map(([key, name]) => <option key={key} value={key}>{name}</option>)}</select></Set>
            {words && <WordsDialog now={now} set={set} onClose={() => setWords(false)} />}
        </Section>
    );
}

function Where({ now, set, path, again }: Part & { path: string; again: () => void }): JSX.Element {
    const [secret, setSecret] = useState("");
    const keys = now.identity?.keys ?? [];
    const rotate = (): void => {
        question.value = {
            title: a("site.key-new"), text: a("site.key-text"), yes: a("site.key-new"),
            run: () => void attempt(() => admin<{ kid: string; secret: string }>("POST", `${path}/rotate_key`, {})).then((made) => {
                if (!made) return;
                setSecret(`${made.kid} ${made.secret}`);
                again();
            }),
        };
    };
    return (
        <Section title={a("site.where")}>
            <div class="set column"><label class="grow"><b>{a("site.origins")}</b><small>{a("site.origins-text")}</small><textarea class="in above-s" rows={Math.min(6, now.origins.length + 1)} spellcheck={false} value={now.origins.join("\n")} onChange={(event) => set({ origins: event.currentTarget.value.split(/\s+/).filter(Boolean) })} /></label></div>
            <Set title={a("site.identity")} text={a("site.identity-text")}>
                <select class="sel" aria-label={a("site.identity")} value={now.identity?.mode ?? "optional"} onChange={(event) => set({ identity: { ...now.identity, mode: event.currentTarget.value as "optional" } })}>
                    {(["anonymous", "optional", "required"] as const).map((each) => <option key={each} value={each}>{a(`site.identity-${each}`)}</option>)}
                </select>
            </Set>
            <Set title={a("site.keys", { n: keys.length })} text={a("site.key-text")}>
                {keys.map((key) => <span class="chip" key={key.kid}><Icon name="key-round" />{key.kid} · {key.alg}<button type="button" aria-label={a("site.key-remove", { name: key.kid })} onClick={() => set({ identity: { ...now.identity, keys: keys.filter(({ kid }) => kid !== key.kid) } })}><Icon name="x" /></button></span>)}
                <button type="button" class="btn s" onClick={rotate}>{a("site.key-new")}</button>
            </Set>
            <Set title={a("site.persist")} text={a("site.persist-text")}><Switch checked={now.persist === "host"} label={a("site.persist")} onChange={(on) => set({ persist: on ? "host" : "cookie" })} /></Set>
            <Set title={a("site.encryption")} text={a("site.encryption-text")}><Switch checked={now.encryption === "on"} label={a("site.encryption")} onChange={(on) => set({ encryption: on ? "on" : "off" })} /></Set>
            {secret && <Once title={a("site.key-new")} text={a("site.key-copy")} value={secret} onClose={() => setSecret("")} />}
        </Section>
    );
}

const LIMITS = [["visitors_per_hour", "site.limit-visitors", 10_000], ["messages_per_minute", "site.limit-messages", 10_000], ["files_per_day", "site.limit-files", 1_000]] as const;
const WORK = { 0: "site.work-0", 16: "site.work-16", 18: "site.work-18", 20: "site.work-20" } as const;

function Before({ now, set }: Part): JSX.Element {
    const [asking, setAsking] = useState(false);
    const work = now.proof_of_work ?? 0;
    const fields = now.form?.fields ?? [];
    const form = (change: Settings["form"]): void => set({ form: { ...now.form, ...change } });
    const ask = (name: "name" | "email", on: boolean, required = false): void => {
        const others = fields.filter((field) => field.name !== name);
        const field: FormField = { name, ...(name === "email" && { type: "email" }), ...(required && { required }) };
        const next = on ? [...others, field] : others;
        form({ fields: [...next].sort((x, y) => rank(x) - rank(y)) });
    };
    const others = fields.filter(({ name }) => !["name", "email", "message"].includes(name));
    const row = (name: "name" | "email", title: string): JSX.Element => {
        const field = fields.find((each) => each.name === name);
        return (
            <Set title={title}>
                {field && <label class="row small"><input type="checkbox" class="chk" checked={field.required ?? false} onChange={(event) => ask(name, true, event.currentTarget.checked)} />{a("site.required")}</label>}
                <Switch checked={field !== undefined} label={title} onChange={(on) => ask(name, on)} />
            </Set>
        );
    };
    return (
        <Section title={a("site.form")}>
            {row("name", a("site.name-ask"))}
            {row("email", a("site.email"))}
            <Set title={a("site.questions")} text={others.length ? others.map(({ name }) => name).join(", ") : a("site.questions-text")}><button type="button" class="btn s" onClick={() => setAsking(true)}>{a("edit")}</button></Set>
            <Set title={a("site.consent")} text={a("site.consent-text")}><input class="sel" type="url" aria-label={a("site.consent")} placeholder="https://…" value={now.form?.consent_url ?? ""} maxLength={500} onInput={(event) => form({ consent_url: event.currentTarget.value })} /></Set>
            <Set title={a("site.files")} text={a("site.files-text")}><input class="sel short" type="number" min={0} max={100} aria-label={a("site.files")} value={Math.round((now.files?.max_bytes ?? 10 * MB) / MB)} onInput={(event) => set({ files: { ...now.files, max_bytes: Math.round(event.currentTarget.valueAsNumber || 0) * MB } })} /></Set>
            <Set title={a("site.types")} text={a("site.types-text")}><textarea class="sel" rows={2} spellcheck={false} aria-label={a("site.types")} value={(now.files?.types ?? FILE_TYPES).join("\n")} onChange={(event) => set({ files: { ...now.files, types: event.currentTarget.value.split(/[\s,]+/).filter(Boolean) } })} /></Set>
            <Set title={a("site.accounts")} text={a("site.accounts-text")}><Switch checked={now.accounts ?? false} label={a("site.accounts")} onChange={(accounts) => set({ accounts })} /></Set>
            <Set title={a("site.work")} text={a("site.work-text")}><select class="sel" aria-label={a("site.work")} value={work} onChange={(event) => set({ proof_of_work: Number(event.currentTarget.value) })}>
                {[0, 16, 18, 20, work].filter((bits, at, all) => all.indexOf(bits) === at).map((bits) => <option key={bits} value={bits}>{bits in WORK ? a(WORK[bits as 0]) : a("site.work-other", { n: bits })}</option>)}
            </select></Set>
            <Set title={a("site.limits")} text={a("site.limits-text")} />
            {LIMITS.map(([name, label, most]) => <Set key={name} title={a(label)}><input class="sel short" type="number" min={0} max={most} step={1} aria-label={a(label)} value={now.limits?.[name] ?? 0} onInput={(event) => set({ limits: { ...now.limits, [name]: Math.min(most, Math.max(0, Math.round(event.currentTarget.valueAsNumber || 0))) } })} /></Set>)}
            <Set title={a("site.query")} text={a("site.query-text")}><Switch checked={now.keep_query ?? false} label={a("site.query")} onChange={(on) => set({ keep_query: on })} /></Set>
            <Set title={a("site.rating")}><Switch checked={now.rating ?? true} label={a("site.rating")} onChange={(rating) => set({ rating })} /></Set>
            {asking && <QuestionsDialog now={now} set={set} onClose={() => setAsking(false)} />}
        </Section>
    );
}

const rank = (field: FormField): number => ["name", "email"].indexOf(field.name) + (["name", "email"].includes(field.name) ? 0 : 10);

function Desk({ site, now, set, path, again }: Part & { site: WholeSite; path: string; again: () => void }): JSX.Element {
    const [adding, setAdding] = useState(false);
    const [chosen, choose] = useState<readonly Person[]>([]);
    const [hours, setHours] = useState(false);
    const [room, setRoom] = useState(false);
    const weekly = Object.entries(now.hours?.weekly ?? {}).filter(([, spans]) => spans.length > 0);
    const invite = async (): Promise<void> => {
        for (const { id } of chosen) if (!(await attempt(() => admin("POST", `${path}/agents`, { user_id: id })))) break;
        setAdding(false);
        choose([]);
        again();
    };
    return (
        <Section title={a("site.desk")}>
            <Set icon="messages-square" title={<span class="mono-s break">{site.desk_id}</span>} text={a("site.desk-text")}><a class="btn s" href={format(roomRoute(site.desk_id))}>{a("site.open")}</a></Set>
            <Set title={a("site.agents")} text={site.agents.length === 0 && a("site.agents-none")}><button type="button" class="btn s" onClick={() => setAdding(true)}>{t("add")}</button></Set>
            {site.agents.map((one) => (
                <div class="set" key={one.user_id}><Face person={{ id: one.user_id, name: one.name, avatar: undefined }} size="2rem" /><span class="grow"><b>{one.name}</b><small>{one.user_id}</small></span>
                    {one.membership === "invite" && <span class="chip">{t("members.invited")}</span>}
                    <IconButton icon="user-minus" label={a("site.agents-remove", { name: one.name })} onClick={() => void attempt(() => admin("DELETE", `${path}/agents/${enc(one.user_id)}`)).then(again)} />
                </div>
            ))}
            <Set title={a("site.routing")}><select class="sel" aria-label={a("site.routing")} value={now.routing?.mode ?? "broadcast"} onChange={(event) => set({ routing: { ...now.routing, mode: event.currentTarget.value as "broadcast" } })}>{(["broadcast", "round_robin", "least_open"] as const).map((each) => <option key={each} value={each}>{a(`site.routing-${each}`)}</option>)}</select></Set>
            {(now.routing?.mode ?? "broadcast") !== "broadcast" && <Set title={a("site.requeue")} text={a("site.requeue-text")}><input class="sel short" type="number" min={10} max={86_400} aria-label={a("site.requeue")} value={now.routing?.requeue_seconds ?? 120} onInput={(event) => set({ routing: { ...now.routing, requeue_seconds: event.currentTarget.valueAsNumber || 120 } })} /></Set>}
            <Set title={a("site.room")} text={a("site.room-text")}><button type="button" class="btn s" onClick={() => setRoom(true)}>{a("edit")}</button></Set>
            <Set title={a("site.auto")} text={a("site.auto-text")}><input class="sel short" type="number" min={0} max={8760} aria-label={a("site.auto")} value={now.routing?.auto_resolve_hours ?? 72} onInput={(event) => set({ routing: { ...now.routing, auto_resolve_hours: event.currentTarget.valueAsNumber || 0 } })} /></Set>
            <Set title={a("site.anew")} text={a("site.anew-text")}><input class="sel short" type="number" min={0} max={8760} aria-label={a("site.anew")} value={now.routing?.new_case_after_hours ?? 24} onInput={(event) => set({ routing: { ...now.routing, new_case_after_hours: event.currentTarget.valueAsNumber || 0 } })} /></Set>
            <Set title={a("site.hours")} text={weekly.length ? `${weekly.map(([day, spans]) => `${day} ${textOf(spans)}`).join(" · ")} · ${now.hours?.tz ?? "UTC"}` : a("site.hours-always")}><button type="button" class="btn s" onClick={() => setHours(true)}>{a("edit")}</button></Set>
            <Set title={a("site.away")}><Segments value={now.offline ?? "form"} label={a("site.away")} options={[["form", a("site.away-form")], ["open", a("site.away-open")], ["hide", a("site.away-hide")]]} onChange={(offline) => set({ offline })} /></Set>
            <Set title={a("site.letters")} text={a("site.letters-text")}><Switch checked={now.letters?.enabled ?? false} label={a("site.letters")} onChange={(enabled) => set({ letters: { ...now.letters, enabled } })} /></Set>
            {now.letters?.enabled && <Set title={a("site.letters-after")} text={a("site.letters-after-text")}><input class="sel short" type="number" min={0} max={1440} aria-label={a("site.letters-after")} value={now.letters.after_minutes ?? 5} onInput={(event) => set({ letters: { ...now.letters, after_minutes: event.currentTarget.valueAsNumber || 0 } })} /></Set>}
            <Set title={a("site.block")} text={a("site.block-text")}><input class="sel short" type="number" min={0} max={720} aria-label={a("site.block")} value={now.block_hours ?? 24} onInput={(event) => set({ block_hours: event.currentTarget.valueAsNumber || 0 })} /></Set>
            <Set title={a("site.kept-visitors")} text={a("site.kept-visitors-text")}><input class="sel short" type="number" min={1} max={3650} aria-label={a("site.kept-visitors")} value={now.visitor_idle_days ?? 365} onInput={(event) => set({ visitor_idle_days: event.currentTarget.valueAsNumber || 365 })} /></Set>
            <Set title={a("site.kept")} text={a("site.kept-text")}><input class="sel short" type="number" min={0} max={3650} aria-label={a("site.kept")} value={now.conversation_days ?? 0} onInput={(event) => set({ conversation_days: event.currentTarget.valueAsNumber || 0 })} /></Set>
            <Canned now={now} set={set} />
            {room && <RoomDialog now={now} set={set} onClose={() => setRoom(false)} />}
            {hours && <HoursDialog now={now} set={set} onClose={() => setHours(false)} />}
            {adding && (
                <Dialog title={a("site.agents-add")} onClose={() => setAdding(false)} footer={<><button type="button" class="btn" onClick={() => setAdding(false)}>{t("cancel")}</button><button type="button" class="btn go" disabled={chosen.length === 0} onClick={() => void invite()}>{t("add")}</button></>}>
                    <div class="in-dlg"><PeoplePicker chosen={chosen} onChange={choose} label={a("site.agents-name")} /></div>
                </Dialog>
            )}
        </Section>
    );
}

function Canned({ now, set }: Part): JSX.Element {
    const [open, setOpen] = useState(false);
    const [rows, setRows] = useState<readonly (readonly [string, string])[]>([]);
    const canned = now.canned ?? {};
    const save = (): void => {
        set({ canned: Object.fromEntries(rows.map(([name, text]) => [name.trim(), text.trim()] as const).filter(([name, text]) => name && text)) });
        setOpen(false);
    };
    const change = (at: number, row: readonly [string, string]): void => setRows(rows.map((each, index) => (index === at ? row : each)));
    return (
        <Set title={a("site.canned")} text={a("site.canned-text", { n: Object.keys(canned).length })}>
            <button type="button" class="btn s" onClick={() => (setRows([...Object.entries(canned), ["", ""]]), setOpen(true))}>{a("edit")}</button>
            {open && (
                <Dialog title={a("site.canned")} onClose={() => setOpen(false)} wide footer={<><button type="button" class="btn" onClick={() => setOpen(false)}>{t("cancel")}</button><button type="button" class="btn go" onClick={save}>{t("save")}</button></>}>
                    <div class="in-dlg stack">
                        {rows.map(([name, text], at) => (
                            <div class="row top" key={at}>
                                <Field label={a("site.name")} value={name} maxLength={32} autocapitalize="none" onInput={(event) => change(at, [event.currentTarget.value, text])} />
                                <label class="field grow"><span class="legend">{t("composer.message")}</span><textarea class="in" value={text} maxLength={4000} onInput={(event) => change(at, [name, event.currentTarget.value])} /></label>
                            </div>
                        ))}
                        <button type="button" class="btn s" onClick={() => setRows([...rows, ["", ""]])}><Icon name="plus" />{t("add")}</button>
                    </div>
                </Dialog>
            )}
        </Set>
    );
}

const VIEWS = [["desk", "monitor"], ["phone", "smartphone"], ["dark", "moon"]] as const;

/** The widget itself with the settings as they would be, in a frame of our own; it speaks to nobody. */
function Preview({ path, settings }: { path: string; settings: Settings | undefined }): JSX.Element {
    const [view, setView] = useState<"desk" | "phone" | "dark">("desk");
    const frame = useRef<HTMLIFrameElement>(null);
    const key = JSON.stringify(settings ?? {});
    const [rested, setRested] = useState(key);
    useEffect(() => {
        const timer = setTimeout(() => setRested(key), 250);
        return () => clearTimeout(timer);
    }, [key]);
    const { got } = useAsked(() => admin<{ given: Record<string, unknown> }>("POST", `${path}/preview`, { settings: JSON.parse(rested) as Record<string, unknown> }), rested);
    const show = (): void => {
        if (got) frame.current?.contentWindow?.postMessage({ preview: got.given, theme: view === "dark" || got.given.scheme === "dark" ? "dark" : "light" }, location.origin);
    };
    useEffect(show, [got, view]);
    useEffect(() => {
        const hear = (event: MessageEvent): void => {
            if (event.source === frame.current?.contentWindow && event.origin === location.origin && event.data === "hromada:preview") show();
        };
        addEventListener("message", hear);
        return () => removeEventListener("message", hear);
    });
    return (
        <aside class="sticky" aria-label={a("site.preview")}>
            <div class="row wrapping part-title"><h2 class="h3 grow">{a("site.preview")}</h2><div class="seg" role="group" aria-label={a("site.preview")}>{VIEWS.map(([each, icon]) => <button key={each} type="button" aria-pressed={view === each} aria-label={a(`site.preview-${each}`)} title={a(`site.preview-${each}`)} onClick={() => setView(each)}><Icon name={icon} /></button>)}</div></div>
            <div class="stage"><iframe ref={frame} class={view === "phone" ? "widget slim" : "widget"} src="/_embed/preview" title={a("site.preview")} /></div>
        </aside>
    );
}
