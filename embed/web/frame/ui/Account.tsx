// The visitor's account, made one of their own. Loaded when somebody asks for it, with its words.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.ts";
import { locale, t } from "../i18n/t.ts";
import { wordsFor } from "./Greeting.tsx";
import { Row } from "./parts.tsx";

const WORDS: Record<string, [hint: string, password: string, weak: string, done: string]> = {
    en: [
        "You keep this conversation and go on in any Matrix client. Your user name:",
        "Choose a password",
        "Choose a longer password.",
        "Your account: {id}. Sign in at {place} to go on with the conversation.",
    ],
    uk: [
        "Розмова залишиться у вас: її можна продовжити в будь-якому клієнті Matrix. Ваше ім’я користувача:",
        "Оберіть пароль",
        "Оберіть довший пароль.",
        "Ваш обліковий запис: {id}. Увійдіть на {place}, щоб продовжити розмову.",
    ],
    de: [
        "Sie behalten dieses Gespräch und führen es in jedem Matrix-Programm fort. Ihr Benutzername:",
        "Passwort wählen",
        "Wählen Sie ein längeres Passwort.",
        "Ihr Konto: {id}. Melden Sie sich auf {place} an, um das Gespräch fortzusetzen.",
    ],
    pl: [
        "Zachowasz tę rozmowę i możesz ją kontynuować w dowolnym kliencie Matrix. Twoja nazwa użytkownika:",
        "Wybierz hasło",
        "Wybierz dłuższe hasło.",
        "Twoje konto: {id}. Zaloguj się na {place}, aby kontynuować rozmowę.",
    ],
    ar: [
        "تبقى هذه المحادثة لك ويمكنك متابعتها في أي تطبيق Matrix. اسم المستخدم:",
        "اختر كلمة مرور",
        "اختر كلمة مرور أطول.",
        "حسابك: {id}. سجّل الدخول على {place} لمتابعة المحادثة.",
    ],
};

/** A password, and the account is theirs. `done` is told what to say, nothing if it was given up. */
export function Account({ done }: { done: (text: string) => void }): JSX.Element {
    const dialog = useRef<HTMLDialogElement>(null);
    const [password, set] = useState("");
    const [fault, say] = useState("");
    const [busy, work] = useState(false);
    const [hint, label, weak, made] = WORDS[locale] ?? WORDS.en!;
    const id = api.current()?.user_id ?? "";
    useEffect(() => dialog.current?.showModal(), []);
    const submit = async (event: Event): Promise<void> => {
        event.preventDefault();
        if (busy) return;
        work(true);
        try {
            await api.keep(password);
            done(made.replace("{id}", id).replace("{place}", location.host));
        } catch (error) {
            say(error instanceof api.Refused && error.code === "M_WEAK_PASSWORD" ? weak : wordsFor(error));
        }
        work(false);
    };
    return (
        <dialog ref={dialog} aria-label={t("account")} onClose={() => done("")}>
            <form noValidate onSubmit={(event) => void submit(event)}>
                <p>
                    {hint} <b>{id}</b>
                </p>
                <Row label={label} error={fault || undefined}>
                    <input class="in" type="password" autocomplete="new-password" value={password} maxLength={500} aria-invalid={Boolean(fault)} onInput={(event) => set(event.currentTarget.value)} />
                </Row>
                <div class="row">
                    <button class="btn go" disabled={busy}>
                        {t("account")}
                    </button>
                    <button type="button" class="btn" onClick={() => dialog.current?.close()}>
                        {t("cancel")}
                    </button>
                </div>
            </form>
        </dialog>
    );
}
