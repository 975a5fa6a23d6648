import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Field, IconButton } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { language, t } from "../../i18n/t.ts";
import { a } from "./parts.tsx";
import type { Part } from "./Site.tsx";
import { DAYS, type FormField, LOCALES, type Locale, spansOf, textOf, type Words } from "./site-types.ts";

const WORDS = [["title", "site.words-title", 100], ["greeting", "site.greeting", 100], ["promise", "site.promise", 500], ["away", "site.words-away", 500]] as const;

/** The site's own words, a language at a time. */
export function WordsDialog({ now, set, onClose }: Part & { onClose: () => void }): JSX.Element {
    const [locale, setLocale] = useState<Locale>(now.locale ?? "en");
    const [words, setWords] = useState(now.words ?? {});
    const own: Words = words[locale] ?? {};
    const save = (): void => {
        const kept = Object.entries(words).map(([each, texts]) => [each, Object.fromEntries(Object.entries(texts).filter(([, text]) => text))] as const);
        set({ words: Object.fromEntries(kept.filter(([, texts]) => Object.keys(texts).length > 0)) });
        onClose();
    };
    return (
        <Dialog title={a("site.words")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn go" onClick={save}>{t("save")}</button></>}>
            <div class="in-dlg stack">
                <p class="mut">{a("site.words-text")}</p>
                <select class="sel" aria-label={a("site.language")} value={locale} onChange={(event) => setLocale(event.currentTarget.value as Locale)}>{Object.entries(LOCALES).map(([key, name]) => <option key={key} value={key}>{name}</option>)}</select>
                {WORDS.map(([key, label, most]) => <Field key={`${locale} ${key}`} label={a(label)} value={own[key] ?? ""} maxLength={most} onInput={(event) => setWords({ ...words, [locale]: { ...own, [key]: event.currentTarget.value } })} />)}
            </div>
        </Dialog>
    );
}

const zones = (): string[] => (Intl as unknown as { supportedValuesOf?: (key: string) => string[] }).supportedValuesOf?.("timeZone") ?? [];

/** A day as it is written, 2026-12-25, and as there is one. */
const isDate = (day: string): boolean => /^\d{4}-\d\d-\d\d$/.test(day) && new Date(`${day}T00:00Z`).toJSON()?.slice(0, 10) === day;

/** When staff is there. */
export function HoursDialog({ now, set, onClose }: Part & { onClose: () => void }): JSX.Element {
    const [tz, setTz] = useState(now.hours?.tz ?? Intl.DateTimeFormat().resolvedOptions().timeZone);
    const [texts, setTexts] = useState<Record<string, string>>(Object.fromEntries(DAYS.map((day) => [day, textOf(now.hours?.weekly?.[day])])));
    const [days, setDays] = useState((now.hours?.holidays ?? []).join(", "));
    const holidays = days.split(/[\s,]+/).filter(Boolean);
    const badDay = holidays.find((day) => !isDate(day));
    const bad = DAYS.filter((day) => spansOf(texts[day] ?? "") === undefined);
    const save = (): void => {
        const weekly = Object.fromEntries(DAYS.map((day) => [day, spansOf(texts[day] ?? "") ?? []] as const).filter(([, spans]) => spans.length > 0));
        set({ hours: { ...now.hours, tz, weekly, holidays } });
        onClose();
    };
    const name = (at: number): string => new Intl.DateTimeFormat(language.value, { weekday: "long", timeZone: "UTC" }).format((at + 4) * 86_400_000);
    return (
        <Dialog title={a("site.hours")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn go" disabled={bad.length > 0 || badDay !== undefined} onClick={save}>{t("save")}</button></>}>
            <div class="in-dlg stack">
                <p class="mut">{a("site.hours-format")}</p>
                <Field label={a("site.tz")} value={tz} list="zones" onInput={(event) => setTz(event.currentTarget.value)} />
                <datalist id="zones">{zones().map((zone) => <option key={zone} value={zone} />)}</datalist>
                {DAYS.map((day, at) => <Field key={day} label={name(at)} value={texts[day] ?? ""} error={bad.includes(day) ? a("site.hours-format") : undefined} onInput={(event) => setTexts({ ...texts, [day]: event.currentTarget.value })} />)}
                <Field label={a("site.holidays")} value={days} placeholder="2026-12-25, 2027-01-01" hint={a("site.holidays-format")} error={badDay && a("site.holidays-format")} onInput={(event) => setDays(event.currentTarget.value)} />
            </div>
        </Dialog>
    );
}

/** JSON of one kind, or nothing where nothing is written; undefined if it is neither. */
function jsonOf(text: string, isList: boolean): unknown {
    if (!text.trim()) return null;
    try {
        const value = JSON.parse(text) as unknown;
        return typeof value === "object" && value !== null && Array.isArray(value) === isList ? value : undefined;
    } catch {
        return undefined;
    }
}
const shownAs = (value: unknown): string => (value ? JSON.stringify(value, null, 2) : "");
const SLOTS = "{number} {name} {page} {path} {title} {site}";
const SAMPLES = { levels: '{ "invite": 100, "events": { "m.room.topic": 100 } }', state: '[{ "type": "org.example.desk", "content": { "shelf": 7 } }]' } as const;

/** What the room of a new case is made with. */
export function RoomDialog({ now, set, onClose }: Part & { onClose: () => void }): JSX.Element {
    const before = now.room_template ?? {};
    const [name, setName] = useState(before.name ?? "");
    const [topic, setTopic] = useState(before.topic ?? "");
    const [levels, setLevels] = useState(shownAs(before.power_levels));
    const [state, setState] = useState(shownAs(before.initial_state));
    const [power, pieces] = [jsonOf(levels, false), jsonOf(state, true)];
    const save = (): void => {
        const said = Object.entries({ name: name.trim(), topic: topic.trim(), power_levels: power, initial_state: pieces });
        set({ room_template: Object.fromEntries(said.filter(([, value]) => value)) });
        onClose();
    };
    const text = (label: string, sample: string, value: string, isBad: boolean, change: (value: string) => void): JSX.Element => (
        <label class="field"><span class="legend">{label}</span><textarea class="in mono" spellcheck={false} autocapitalize="none" rows={4} placeholder={sample} value={value} aria-invalid={isBad} onInput={(event) => change(event.currentTarget.value)} />{isBad && <span class="hint bad" role="alert">{a("site.room-json")}</span>}</label>
    );
    return (
        <Dialog title={a("site.room")} onClose={onClose} wide footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn go" disabled={power === undefined || pieces === undefined} onClick={save}>{t("save")}</button></>}>
            <div class="in-dlg stack">
                <p class="mut">{a("site.room-text")}</p>
                <Field label={a("site.room-name")} value={name} maxLength={200} hint={a("site.room-slots", { slots: SLOTS })} onInput={(event) => setName(event.currentTarget.value)} />
                <Field label={a("site.room-topic")} value={topic} maxLength={200} onInput={(event) => setTopic(event.currentTarget.value)} />
                {text(a("site.room-levels"), SAMPLES.levels, levels, power === undefined, setLevels)}
                {text(a("site.room-state"), SAMPLES.state, state, pieces === undefined, setState)}
            </div>
        </Dialog>
    );
}

const KINDS = ["text", "textarea", "email", "tel", "select"] as const;
const NAMED = /^[a-z][a-z0-9_]{0,31}$/;
/** What has a place of its own on the page; `message` is the first message. */
const KNOWN = ["name", "email", "message"];

/** What else is asked before the chat. */
export function QuestionsDialog({ now, set, onClose }: Part & { onClose: () => void }): JSX.Element {
    const before = now.form?.fields ?? [];
    const locale = now.locale ?? "en";
    const [rows, setRows] = useState<readonly FormField[]>(before.filter(({ name }) => !KNOWN.includes(name)));
    const change = (at: number, some: FormField): void => setRows(rows.map((each, index) => (index === at ? some : each)));
    const faultOf = (row: FormField): string | undefined =>
        !NAMED.test(row.name) || KNOWN.includes(row.name) || rows.filter(({ name }) => name === row.name).length > 1 ? a("site.question-bad") : undefined;
    const lacksChoices = (row: FormField): boolean => row.type === "select" && optionsOf(row).length === 0;
    const save = (): void => {
        // The message is asked for last.
        const [known, message] = [before.filter(({ name }) => name === "name" || name === "email"), before.filter(({ name }) => name === "message")];
        set({ form: { ...now.form, fields: [...known, ...rows.map(cleaned), ...message] } });
        onClose();
    };
    return (
        <Dialog title={a("site.questions")} onClose={onClose} wide footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn go" disabled={rows.some((row) => faultOf(row) !== undefined || lacksChoices(row))} onClick={save}>{t("save")}</button></>}>
            <div class="in-dlg stack">
                <p class="mut">{a("site.questions-hint")}</p>
                {rows.map((row, at) => (
                    <div class="stack" role="group" aria-label={a("site.question", { n: at + 1 })} key={at}>
                        <div class="row top wrapping">
                            <Field label={a("site.question-name")} value={row.name} maxLength={32} autocapitalize="none" error={row.name ? faultOf(row) : undefined} onInput={(event) => change(at, { ...row, name: event.currentTarget.value.trim() })} />
                            <Field label={`${a("site.question-label")} · ${LOCALES[locale]}`} value={row.label?.[locale] ?? ""} maxLength={100} onInput={(event) => change(at, { ...row, label: labelled(row, locale, event.currentTarget.value) })} />
                            <label class="field"><span class="legend">{a("site.question-kind")}</span><select class="sel" value={row.type ?? "text"} onChange={(event) => change(at, { ...row, type: event.currentTarget.value })}>{KINDS.map((kind) => <option key={kind} value={kind}>{a(`site.question-${kind}`)}</option>)}</select></label>
                            <IconButton icon="trash-2" label={a("site.question-remove", { n: at + 1 })} onClick={() => setRows(rows.filter((_, index) => index !== at))} />
                        </div>
                        {row.type === "select" && <label class="field"><span class="legend">{a("site.question-options")}</span><textarea class="in" rows={3} value={(row.options ?? []).join("\n")} onInput={(event) => change(at, { ...row, options: event.currentTarget.value.split("\n") })} /></label>}
                        <label class="row small"><input type="checkbox" class="chk" checked={row.required ?? false} onChange={(event) => change(at, { ...row, required: event.currentTarget.checked })} />{a("site.required")}</label>
                    </div>
                ))}
                <button type="button" class="btn s" disabled={before.length - before.filter(({ name }) => !KNOWN.includes(name)).length + rows.length >= MOST_FIELDS} onClick={() => setRows([...rows, { name: "" }])}><Icon name="plus" />{t("add")}</button>
            </div>
        </Dialog>
    );
}

const MOST_FIELDS = 10;
const optionsOf = ({ options = [] }: FormField): string[] => options.map((each) => each.trim()).filter(Boolean);
const cleaned = ({ options: _options, ...row }: FormField): FormField => (row.type === "select" ? { ...row, options: optionsOf({ ...row, options: _options ?? [] }) } : row);
const labelled = ({ label = {} }: FormField, locale: Locale, text: string): Record<string, string> =>
    Object.fromEntries(Object.entries({ ...label, [locale]: text }).filter(([, each]) => each));
