// The visitor's account, made one of their own. Loaded when somebody asks for it, with its words. It imports nothing,
// so that the frame stays in one piece.

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

export interface Wanted {
    id: string;
    locale: string;
    title: string;
    cancel: string;
    keep: (password: string) => Promise<void>;
    wordsFor: (error: unknown) => string;
}

/** Ask for a password, and the account is theirs. What to say of it; nothing if it was given up. */
export function offer({ id, locale, title, cancel, keep, wordsFor }: Wanted): Promise<string> {
    const [hint, label, weak, made] = WORDS[locale] ?? WORDS.en!;
    const make = <K extends keyof HTMLElementTagNameMap>(tag: K, kind: string, ...inside: (Node | string)[]): HTMLElementTagNameMap[K] => {
        const element = document.createElement(tag);
        element.className = kind;
        element.append(...inside);
        return element;
    };
    const input = make("input", "in");
    Object.assign(input, { type: "password", autocomplete: "new-password", maxLength: 500, required: true });
    const fault = make("span", "err");
    fault.setAttribute("role", "alert");
    const field = make("label", "field", make("span", "", label), input, fault);
    const go = make("button", "btn go", title);
    const away = make("button", "btn", cancel);
    away.type = "button";
    const form = make("form", "", make("p", "", `${hint} `, make("b", "", id)), field, make("div", "row", go, away));
    form.noValidate = true;
    const dialog = make("dialog", "", form);
    dialog.setAttribute("aria-label", title);
    document.body.append(dialog);
    dialog.showModal();
    return new Promise((done) => {
        let text = "";
        away.onclick = () => dialog.close();
        dialog.onclose = () => {
            dialog.remove();
            done(text);
        };
        form.onsubmit = (event) => {
            event.preventDefault();
            if (go.disabled) return;
            go.disabled = true;
            keep(input.value)
                .then(() => {
                    text = made.replace("{id}", id).replace("{place}", location.host);
                    dialog.close();
                })
                .catch((error: unknown) => {
                    fault.textContent = (error as { code?: string }).code === "M_WEAK_PASSWORD" ? weak : wordsFor(error);
                    field.className = "field bad";
                    input.setAttribute("aria-invalid", "true");
                    go.disabled = false;
                });
        };
    });
}
