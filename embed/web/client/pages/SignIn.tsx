import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../../ui/Avatar.tsx";
import { Field, PasswordField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { keepLocal, language, LANGUAGES, type Language, speak, t } from "../i18n/t.ts";
import { go, route } from "../routes.ts";
import { ApiError } from "../sdk/api.ts";
import { type Session, type WebConfig, webConfig } from "../sdk/session.ts";
import { available, login, type LoginFlow, loginFlows, loginWithToken, register, type RegistrationNeeds, registrationNeeds } from "../sdk/signin.ts";

const Forgot = lazy(() => import("./Forgot.tsx").then(({ Forgot }) => Forgot), null);

interface Props {
    reason?: "ended" | undefined;
    user?: string | undefined;
    onSession: (session: Session, fresh: "login" | "register") => void;
}

/** The host that people know; until the server has told, the page's own. */
function useServer(): { config: WebConfig | undefined; flows: LoginFlow[]; away: boolean } {
    const [config, setConfig] = useState<WebConfig>();
    const [flows, setFlows] = useState<LoginFlow[]>([]);
    const [away, setAway] = useState(false);
    useEffect(() => {
        let timer: ReturnType<typeof setTimeout>;
        const load = async (): Promise<void> => {
            try {
                const [found, ways] = await Promise.all([webConfig(), loginFlows()]);
                setConfig(found);
                setFlows(ways);
                setAway(false);
            } catch {
                setAway(true);
                timer = setTimeout(() => void load(), 8_000);
            }
        };
        void load();
        return () => clearTimeout(timer);
    }, []);
    return { config, flows, away };
}

export function errorText(error: unknown): string {
    if (!(error instanceof ApiError)) return t("error.unknown", { detail: String(error) });
    switch (error.errcode) {
        case "NETWORK":
            return t("error.network");
        case "M_LIMIT_EXCEEDED":
            return t("error.limit", { n: Math.max(1, Math.ceil((error.retryAfter ?? 5_000) / 1000)) });
        case "M_USER_IN_USE":
            return t("error.taken");
        case "M_INVALID_USERNAME":
            return t("error.username");
        case "M_EXCLUSIVE":
            return t("error.exclusive");
        case "M_WEAK_PASSWORD":
            return t("error.weak");
        case "M_USER_DEACTIVATED":
            return t("error.deactivated");
        case "M_USER_LOCKED":
            return t("error.locked");
        default:
            return error.message;
    }
}

/** Sign in or create an account. */
export function SignIn({ reason, user, onSession }: Props): JSX.Element {
    const { config, flows, away } = useServer();
    const name = config?.server_name ?? location.hostname;
    const registering = route.value.page === "register" && config?.registration !== "closed";
    const forgetting = route.value.page === "forgot" && config?.mail === true;
    const [changed, setChanged] = useState(false);
    const insecure = !globalThis.isSecureContext;
    useEffect(() => {
        // The page of lost passwords has texts of its own.
        if (!forgetting) document.title = `${t(registering ? "register.title" : "login.title")} · Hromada`;
    }, [registering, forgetting, language.value]);
    return (
        <div class="gate">
            <div class="form">
                <header class="row ends">
                    <span class="brand"><img src="/assets/logo.svg" alt="" />Hromada</span>
                    <LanguageChoice />
                </header>
                <main>
                    {insecure ? (
                        <div class="note bad" role="alert"><Icon name="lock" /><span>{t("login.insecure")}</span></div>
                    ) : forgetting ? (
                        <Forgot server={name} errorText={errorText} onDone={() => {
                            setChanged(true);
                            go({ page: "login" }, true);
                        }} />
                    ) : registering ? (
                        <Register server={name} config={config} onSession={onSession} />
                    ) : (
                        <Login server={name} away={away} flows={flows} config={config} user={user} ended={reason === "ended" && !changed} changed={changed} onSession={onSession} />
                    )}
                </main>
                <footer class="links"><a href="/assets/licences.txt" target="_blank" rel="noopener">{t("login.licences")}</a><span class="grow" /><span>{config ? `Hromada ${config.version}` : ""}</span></footer>
            </div>
            <Show />
        </div>
    );
}

function LanguageChoice(): JSX.Element {
    const next: Language = language.value === "en" ? "uk" : "en";
    const change = (): void => {
        keepLocal("hromada.language", next);
        void speak(next);
    };
    return (
        <button type="button" class="btn plain s" onClick={change} lang={next}><Icon name="globe" />{LANGUAGES[next]}</button>
    );
}

function Login({ server, away, flows, config, user, ended, changed, onSession }: {
    server: string; away: boolean; flows: LoginFlow[]; config: WebConfig | undefined; user: string | undefined; ended: boolean; changed: boolean; onSession: Props["onSession"];
}): JSX.Element {
    const [name, setName] = useState(user ?? "");
    const [password, setPassword] = useState("");
    const [error, setError] = useState("");
    const [busy, setBusy] = useState(false);
    const attempt = async (run: () => Promise<Session>): Promise<void> => {
        setBusy(true);
        setError("");
        try {
            const session = await run();
            go({ page: "home" }, true);
            onSession(session, "login");
        } catch (reason) {
            setError(reason instanceof ApiError && reason.errcode === "M_FORBIDDEN" ? t("login.wrong") : errorText(reason));
            setBusy(false);
        }
    };
    const now = route.value;
    useEffect(() => {
        if (now.page === "sso" && now.token) void attempt(() => loginWithToken(now.token));
    }, []);
    const sso = flows.find(({ type }) => type === "m.login.sso");
    const back = `${location.origin}/`;
    return (
        <form
            class="stack loose"
            onSubmit={(event) => {
                event.preventDefault();
                if (!busy) void attempt(() => login(name, password));
            }}
        >
            <div>
                <h1>{t("login.title")}</h1>
                <p class="mut lead-in">{t("login.to")} <b class="strong">{server}</b></p>
            </div>
            {ended && <div class="note warn" role="status"><Icon name="info" /><span>{t("login.ended")}</span></div>}
            {changed && <div class="note info" role="status"><Icon name="circle-check" /><span>{t("login.changed")}</span></div>}
            {away && <div class="note bad" role="alert"><Icon name="cloud-off" /><span><b>{t("login.away")}</b> {t("login.retrying")}</span></div>}
            <Field label={t(config?.mail ? "login.user-mail" : "login.user")} name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required value={name} onInput={(event) => setName(event.currentTarget.value)} />
            <PasswordField label={t("login.password")} name="password" show={t("login.show")} hide={t("login.hide")} autocomplete="current-password" required value={password} error={error || undefined} onInput={(event) => setPassword(event.currentTarget.value)} />
            {config?.mail && <p class="small"><a href="#/forgot">{t("login.forgot")}</a></p>}
            <button class="btn go wide tall" disabled={busy}>{busy ? t("login.busy") : t("login.submit")}</button>
            {sso && <div class="or">{t("login.or")}</div>}
            {sso && (
                <div class="stack tight">
                    {(sso.identity_providers ?? [{ id: "", name: "" }]).map(({ id, name: label }) => (
                        <a key={id} class="btn wide tall" href={`/_matrix/client/v3/login/sso/redirect${id ? `/${encodeURIComponent(id)}` : ""}?redirectUrl=${encodeURIComponent(back)}`}>
                            <Icon name="building-2" />{label ? t("login.with", { name: label }) : t("login.sso")}
                        </a>
                    ))}
                </div>
            )}
            {config && config.registration !== "closed" && (
                <p class="small mut centred">{t("login.new")} <a href="#/register">{t("login.create")}</a></p>
            )}
        </form>
    );
}

/** 0 to 3, by length and variety; the server decides what is allowed. */
function strength(password: string): 0 | 1 | 2 | 3 {
    if (password.length < 8) return 0;
    const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\d/, /[^\p{L}\d]/u].filter((kind) => kind.test(password)).length;
    const score = password.length + kinds * 2;
    return score >= 22 ? 3 : score >= 16 ? 2 : 1;
}

function Register({ server, config, onSession }: { server: string; config: WebConfig | undefined; onSession: Props["onSession"] }): JSX.Element {
    const [name, setName] = useState("");
    const [password, setPassword] = useState("");
    const [email, setEmail] = useState("");
    const [token, setToken] = useState("");
    const [agreed, setAgreed] = useState(false);
    const [needs, setNeeds] = useState<RegistrationNeeds>();
    const [error, setError] = useState("");
    const [taken, setTaken] = useState("");
    const [free, setFree] = useState("");
    const [busy, setBusy] = useState(false);
    useEffect(() => {
        registrationNeeds(language.value).then(setNeeds, (reason: unknown) => setError(errorText(reason)));
    }, []);
    useEffect(() => {
        setTaken("");
        setFree("");
        if (!name) return undefined;
        const abort = new AbortController();
        const timer = setTimeout(() => {
            available(name, abort.signal).then(
                (problem) => (problem ? setTaken(problem.status === 404 ? "" : errorText(problem)) : setFree(name)),
                () => undefined,
            );
        }, 400);
        return () => {
            abort.abort();
            clearTimeout(timer);
        };
    }, [name]);
    const submit = async (event: Event): Promise<void> => {
        event.preventDefault();
        if (busy) return;
        setBusy(true);
        setError("");
        try {
            const session = await register(name, password, token.trim(), email.trim());
            go({ page: "home" }, true);
            onSession(session, "register");
        } catch (reason) {
            setError(reason instanceof ApiError && reason.status === 401 ? t("register.token-wrong") : errorText(reason));
            setBusy(false);
        }
    };
    const level = strength(password);
    const hints = ["register.short", "register.fair", "register.good", "register.strong"] as const;
    return (
        <form class="stack loose" onSubmit={(event) => void submit(event)}>
            <div>
                <h1>{t("register.title")}</h1>
                <p class="mut lead-in">{t("register.on")} <b class="strong">{server}</b></p>
            </div>
            {needs?.unknown && <div class="note warn" role="alert"><Icon name="info" /><span>{t("register.unknown")}</span></div>}
            <Field
                label={t("login.user")} name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required pattern="[a-z0-9._=\/+\-]+" value={name}
                error={taken || undefined} good={free !== ""}
                hint={t(free ? "register.free" : "register.address", { address: `@${name || "…"}:${server}` })}
                end={free ? <span class="fine"><Icon name="circle-check" /></span> : undefined}
                onInput={(event) => setName(event.currentTarget.value.toLowerCase())}
            />
            <PasswordField
                label={t("login.password")} name="password" show={t("login.show")} hide={t("login.hide")} autocomplete="new-password" required minLength={8} value={password}
                hint={password ? t(hints[level]) : t("register.advice")} good={level >= 2}
                onInput={(event) => setPassword(event.currentTarget.value)}
            />
            {config?.mail && (
                <Field label={t("register.email")} optional={t("register.optional")} name="email" type="email" autocomplete="email" value={email} hint={t("register.email-hint")} onInput={(event) => setEmail(event.currentTarget.value)} />
            )}
            {(needs?.token ?? config?.registration === "token") && (
                <Field label={t("register.token")} name="token" autocomplete="off" required value={token} hint={t("register.token-hint")} onInput={(event) => setToken(event.currentTarget.value)} />
            )}
            {needs && needs.policies.length > 0 && (
                <label class="row top">
                    <input type="checkbox" class="chk" required checked={agreed} onChange={(event) => setAgreed(event.currentTarget.checked)} />
                    <span class="small mut">
                        {t("register.agree")}{" "}
                        {needs.policies.map(({ name: policy, url }, at) => (
                            <span key={url}>{at > 0 && ", "}<a href={/^https?:/.test(url) ? url : "#"} target="_blank" rel="noopener noreferrer">{policy}</a></span>
                        ))}
                    </span>
                </label>
            )}
            {error && <div class="note bad" role="alert"><Icon name="circle-alert" /><span>{error}</span></div>}
            <button class="btn go wide tall" disabled={busy || Boolean(needs?.unknown)}>{busy ? t("register.busy") : t("register.submit")}</button>
            <p class="small mut centred">{t("register.have")} <a href="#/login">{t("login.submit")}</a></p>
        </form>
    );
}

/** What a conversation looks like here, beside the form. Decoration: hidden from screen readers. */
function Show(): JSX.Element {
    return (
        <div class="show" aria-hidden="true" inert>
            <div class="msgs">
                <ol class="flow">
                    <li class="msg first"><Avatar id="1" name="Олена Коваль" src="/assets/olena.svg" /><div class="b"><div class="who">Олена Коваль</div><div class="bub pale">Хто відчинить хвіртку в суботу?</div></div></li>
                    <li class="msg own first"><div class="b"><div class="bub">I can, from half past eight.</div></div></li>
                    <li class="msg first"><Avatar id="2" name="Yusuf Demir" src="/assets/yusuf.svg" /><div class="b"><div class="who">Yusuf Demir</div><div class="bub pic"><img class="art" src="/assets/garden.svg" alt="" loading="lazy" /></div><div class="rx"><button tabIndex={-1}><span>🌱</span>12</button><button tabIndex={-1}><span>💙</span>8</button></div></div></li>
                </ol>
            </div>
            <div class="slogan"><h2>{t("login.slogan")}</h2><p class="mut">{t("login.slogan-text")}</p></div>
        </div>
    );
}
