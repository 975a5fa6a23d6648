import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Chat } from "../chat.ts";
import { given } from "../given.ts";
import { locale, moment, t } from "../i18n/t.ts";
import { tell } from "../port.ts";
import { bodyOf, plain } from "../timeline.ts";
import { Conversation } from "./Conversation.tsx";
import { Greeting } from "./Greeting.tsx";
import { Menu } from "./Menu.tsx";
import { Face, IconButton } from "./parts.tsx";

export interface State {
    page: { url: string; title: string; locale: string; open: boolean };
    draft: string;
    /** What the page has answered already. */
    context: [string, string][];
}
export interface Props {
    chat: Chat;
    state: State;
    begin: (answers: Record<string, string>, consent: boolean, first: string) => Promise<void>;
    reset: () => Promise<void>;
    redraw: () => void;
}

/** The site's own word in this language, or the widget's. */
export const own = (key: "title" | "greeting" | "promise" | "away" | "consent", otherwise: string): string =>
    given.words[locale]?.[key] || given.words[given.locale]?.[key] || otherwise;

export const siteName = (): string => own("title", given.name);

/** Who is there, or when somebody will be. */
export function Presence(): JSX.Element {
    const here = given.staff.filter((person) => person.here).map((person) => person.name);
    const names = new Intl.ListFormat(locale, { type: "conjunction" }).format(here.slice(0, 2));
    const away = given.next ? t("away", { when: moment(given.next) }) : t("offline");
    return (
        <small>
            <span class={here.length && given.open ? "live" : "live off"} />
            <bdi class="cut">{here.length && given.open ? t("here", { names }) : given.open ? own("promise", t("promise")) : away}</bdi>
        </small>
    );
}

export const Faces = (): JSX.Element => (
    <span class="pile">
        {(given.staff.length ? given.staff : [{ name: siteName() }]).slice(0, 3).map(({ name }) => (
            <Face name={name} key={name} />
        ))}
    </span>
);

export const Close = (): JSX.Element => <IconButton icon="x" label={t("close")} onClick={() => tell("close")} />;

export function App(props: Props): JSX.Element {
    const { chat } = props;
    const [, again] = useState(0);
    const [notice, setNotice] = useState("");
    useEffect(() => chat.listen(() => again((n) => n + 1)), [chat]);
    const [news, setNews] = useState("");
    useEffect(() => {
        const { news: last } = chat;
        setNews(last ? t("newMessage", { name: chat.nameOf(last.sender), text: plain(bodyOf(last.content)) }) : "");
    }, [chat.news]);
    return (
        <div class="panel" role="dialog" aria-label={siteName()}>
            {chat.phase === "loading" ? (
                <div class="wait" role="status" aria-label={t("reconnecting")} />
            ) : chat.phase === "chat" ? (
                <>
                    <div class="head">
                        <Faces />
                        <span class="grow">
                            <b>
                                <bdi>{siteName()}</bdi>
                            </b>
                            <Presence />
                        </span>
                        <Menu {...props} notice={setNotice} />
                        <Close />
                    </div>
                    {(chat.status === "waiting" || chat.status === "connecting") && chat.events.length > 0 && <Reconnecting />}
                    <Conversation {...props} notice={notice} setNotice={setNotice} />
                </>
            ) : chat.phase === "form" ? (
                <Greeting {...props} notice={notice} />
            ) : (
                <>
                    <div class="head">
                        <span class="grow">
                            <b>{siteName()}</b>
                        </span>
                        <Close />
                    </div>
                    {chat.phase === "elsewhere" ? (
                        <div class="empty">
                            <p>{t(chat.apart ? "apart" : "elsewhere")}</p>
                            <button type="button" class="btn go" onClick={() => chat.here()}>
                                {t("goOn")}
                            </button>
                        </div>
                    ) : (
                        <p class="empty">{t("blocked")}</p>
                    )}
                </>
            )}
            <p class="foot">
                {t("by")} <b>Hromada</b>
            </p>
            <div class="quiet" aria-live="polite">
                {news}
            </div>
        </div>
    );
}

/** Said only when it lasts: a short break is nobody's business. */
function Reconnecting(): JSX.Element | null {
    const [shown, show] = useState(false);
    useEffect(() => {
        const timer = setTimeout(() => show(true), 1_500);
        return () => clearTimeout(timer);
    }, []);
    return shown ? (
        <div class="strip" role="status">
            {t("reconnecting")}
        </div>
    ) : null;
}
