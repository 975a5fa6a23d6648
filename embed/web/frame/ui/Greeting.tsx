import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Refused } from "../api.ts";
import { given, type Field } from "../given.ts";
import { locale, span, t } from "../i18n/t.ts";
import { Close, Faces, own, type Props } from "./App.tsx";
import { later, Row } from "./parts.tsx";

const Hours = later((rare) => rare.Hours);
const BARE: Field = { name: "message", type: "textarea", required: true, label: {}, options: [] };

const labelOf = (field: Field): string =>
    field.label[locale] ?? field.label[given.locale] ?? (field.name === "name" ? t("name") : field.name === "email" ? t("email") : field.name === "message" ? t("message") : field.name);

/** What went wrong, in words for people. */
export function wordsFor(error: unknown): string {
    if (!(error instanceof Refused)) return t("error");
    if (error.status === 429) return t("busy", { when: span(error.retryMs ?? 60_000) });
    if (error.reason === "identity_expired") return t("expired");
    if (error.reason === "identity_required") return t("identity");
    if (error.reason === "blocked") return t("blocked");
    return t("error");
}

/** Greeting and form on one screen; out of hours it says so. */
export function Greeting({ begin, state, notice }: Props & { notice: string }): JSX.Element {
    const fields = given.form.some((field) => field.name === "message") ? given.form : [...given.form, BARE];
    const [values, set] = useState<Record<string, string>>({});
    const [consent, agree] = useState(false);
    const [bad, fault] = useState<{ field: string; text: string } | null>(null);
    const [busy, work] = useState(false);
    const closed = !given.open && given.offline !== "open";
    const value = (name: string): string => values[name] ?? (name === "message" ? state.draft : (state.context.find(([key]) => key === name)?.[1] ?? ""));
    const submit = async (event: Event): Promise<void> => {
        event.preventDefault();
        if (busy) return;
        const missing = fields.find((field) => field.required && !value(field.name).trim());
        if (missing) return fault({ field: missing.name, text: t("required") });
        if (given.consent && !consent) return fault({ field: "consent", text: t("required") });
        work(true);
        fault(null);
        try {
            const others = Object.fromEntries(fields.filter(({ name }) => name !== "message").map(({ name }) => [name, value(name)]));
            await begin(others, consent, value("message").trim());
        } catch (error) {
            const field = error instanceof Refused && error.field ? error.field : "";
            fault({ field, text: field ? t(value(field).trim() ? "wrong" : "required") : wordsFor(error) });
        }
        work(false);
    };
    const input = (field: Field): JSX.Element => {
        const kind = field.type === "email" || field.type === "tel" ? field.type : "text";
        const same = {
            name: field.name,
            class: "in",
            value: value(field.name),
            required: field.required,
            "aria-invalid": bad?.field === field.name,
            maxLength: field.type === "textarea" ? 4000 : 200,
            onInput: (event: { currentTarget: { value: string } }) => set({ ...values, [field.name]: event.currentTarget.value }),
        };
        if (field.type === "textarea" || field.name === "message") return <textarea {...same} rows={3} />;
        if (field.type === "select")
            return (
                <select {...same}>
                    <option value="" />
                    {field.options.map((option) => (
                        <option key={option}>{option}</option>
                    ))}
                </select>
            );
        return <input {...same} {...({ type: kind } as { type: "text" })} autocomplete={field.name === "name" ? "name" : field.type === "email" ? "email" : "off"} />;
    };
    return (
        <div class="scroll">
            <div class="hello">
                <div class="top">
                    <Faces />
                    <Close />
                </div>
                <h1>{closed ? own("away", t("closed")) : own("greeting", t("greeting"))}</h1>
                <p>{closed ? t("closedHint") : own("promise", t("promise"))}</p>
            </div>
            <form class="card" noValidate onSubmit={(event) => void submit(event)}>
                {notice && <p role="status">{notice}</p>}
                {fields.map((field) => (
                    <Row key={field.name} label={labelOf(field)} hint={field.required ? undefined : t("optional")} error={bad?.field === field.name ? bad.text : undefined}>
                        {input(field)}
                    </Row>
                ))}
                {given.consent && <Consent checked={consent} agree={agree} bad={bad?.field === "consent"} />}
                {bad?.field === "" && (
                    <p class="err" role="alert">
                        {bad.text}
                    </p>
                )}
                <button class="btn go" disabled={busy}>
                    {closed ? t("leave") : t("start")}
                </button>
            </form>
            {closed && given.hours && <Hours />}
        </div>
    );
}

function Consent({ checked, agree, bad }: { checked: boolean; agree: (on: boolean) => void; bad: boolean }): JSX.Element {
    const [before, after] = own("consent", t("consent")).split("{link}");
    const link = (
        <a href={given.consent} target="_blank" rel="noopener noreferrer">
            {t("privacy")}
        </a>
    );
    return (
        <label class={bad ? "check bad" : "check"}>
            <input type="checkbox" checked={checked} aria-invalid={bad} onChange={(event) => agree(event.currentTarget.checked)} />
            <span>
                {before}
                {link}
                {after}
            </span>
        </label>
    );
}
