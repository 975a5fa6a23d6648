import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Field } from "../../../ui/controls.tsx";
import { language, t } from "../../i18n/t.ts";
import { a } from "./parts.tsx";
import type { Part } from "./Site.tsx";
import { DAYS, LOCALES, type Locale, spansOf, textOf, type Words } from "./site-types.ts";

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

/** When staff is there. */
export function HoursDialog({ now, set, onClose }: Part & { onClose: () => void }): JSX.Element {
    const [tz, setTz] = useState(now.hours?.tz ?? Intl.DateTimeFormat().resolvedOptions().timeZone);
    const [texts, setTexts] = useState<Record<string, string>>(Object.fromEntries(DAYS.map((day) => [day, textOf(now.hours?.weekly?.[day])])));
    const bad = DAYS.filter((day) => spansOf(texts[day] ?? "") === undefined);
    const save = (): void => {
        const weekly = Object.fromEntries(DAYS.map((day) => [day, spansOf(texts[day] ?? "") ?? []] as const).filter(([, spans]) => spans.length > 0));
        set({ hours: { ...now.hours, tz, weekly } });
        onClose();
    };
    const name = (at: number): string => new Intl.DateTimeFormat(language.value, { weekday: "long", timeZone: "UTC" }).format((at + 4) * 86_400_000);
    return (
        <Dialog title={a("site.hours")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="button" class="btn go" disabled={bad.length > 0} onClick={save}>{t("save")}</button></>}>
            <div class="in-dlg stack">
                <p class="mut">{a("site.hours-format")}</p>
                <Field label={a("site.tz")} value={tz} list="zones" onInput={(event) => setTz(event.currentTarget.value)} />
                <datalist id="zones">{zones().map((zone) => <option key={zone} value={zone} />)}</datalist>
                {DAYS.map((day, at) => <Field key={day} label={name(at)} value={texts[day] ?? ""} error={bad.includes(day) ? a("site.hours-format") : undefined} onInput={(event) => setTexts({ ...texts, [day]: event.currentTarget.value })} />)}
            </div>
        </Dialog>
    );
}
