import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { memo } from "../../ui/memo.ts";
import { Avatar, voice } from "../../ui/Avatar.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { clock, full, list } from "../render/dates.ts";
import { type Context, Html, isBig, Plain } from "../render/Rich.tsx";
import { panel } from "../routes.ts";
import type { Body, Message, Person, Quote, Reaction, ThreadSummary } from "../sdk/types.ts";
import { thumbnail } from "../sdk/media.ts";
import { ROOT_REFUSED } from "../sdk/refers.ts";
import { awaySince, notSent } from "../stores/app.ts";
import { Face } from "./faces.tsx";
import { MediaBody } from "./Media.tsx";
import { settings } from "../stores/settings.ts";

/** What rows ask of whoever holds them; the same object for all rows, so that they are drawn only when they change. */
export interface Actions {
    context: Context;
    roomId: string;
    thread: string | undefined;
    dm: boolean;
    mayReact: boolean;
    jump: (event: string) => void;
    react: (message: Message, key: string) => void;
    pick: (message: Message, at: DOMRect) => void;
    reply: (message: Message) => void;
    /** `sheet`: at the foot of the page, for fingers. */
    menu: (message: Message, at: DOMRect, sheet?: boolean) => void;
    retry: (message: Message) => void;
    cancel: (message: Message) => void;
    person: (user: string) => void;
    unlock: () => void;
}

const rect = (event: { currentTarget: EventTarget | null }): DOMRect => (event.currentTarget as Element).getBoundingClientRect();

const BONE = <span class="utd" aria-hidden="true"><span class="bone" /></span>;
const Locked = lazy(() => import("../pages/Locked.tsx").then(({ Locked }) => Locked), BONE);
const Sealed = lazy(() => import("../pages/Locked.tsx").then(({ Sealed }) => Sealed), BONE);

/** A run of messages from before this device. */
export const SealedRow = ({ id, k, count }: { id: string | undefined; k: string; count: number }): JSX.Element => <li class="sys" data-key={k} data-id={id}><Sealed count={count} /></li>;

function BodyView({ body, message, actions }: { body: Body; message: Message; actions: Actions }): JSX.Element {
    switch (body.type) {
        case "gone":
            return <>{t("message.gone")}</>;
        case "locked":
            return <Locked body={body} unlock={actions.unlock} />;
        case "text": {
            const emote = body.style === "emote" ? <b>{message.sender.name} </b> : null;
            if (body.html) return <>{emote}<Html html={body.html} context={actions.context} /></>;
            return <span class="plain">{emote}<Plain text={body.text} context={actions.context} /></span>;
        }
        case "place":
            return <span class="plain"><Icon name="globe" /> {body.text}</span>;
        case "other":
            return <span class="sub">{t("message.other", { type: body.text })}</span>;
        default:
            return <MediaBody body={body} message={message} actions={actions} />;
    }
}

/** What is answered. One that came with older history after its row was drawn keeps to one line: no row grows in view. */
function QuoteView({ quote, jump }: { quote: Quote; jump: Actions["jump"] }): JSX.Element {
    const [late] = useState(!quote.name);
    return (
        <button type="button" class={late ? "quote late" : "quote"} style={quote.sender ? { "--vc": voice(quote.sender) } : undefined} onClick={() => jump(quote.id)}>
            <b>{quote.name || t("message.earlier")}</b><span>{quote.text || t("message.show-it")}</span>
        </button>
    );
}

function Reactions({ message, actions }: { message: Message; actions: Actions }): JSX.Element | null {
    if (message.reactions.length === 0) return null;
    const label = ({ key, count, mine, who }: Reaction): string => t(mine ? "reaction.with-you" : "reaction.label", { n: count, key, names: list(who.slice(0, 8)) });
    return (
        <div class="rx">
            {message.reactions.map((reaction) => (
                <button key={reaction.key} type="button" aria-pressed={reaction.mine !== undefined} aria-label={label(reaction)} title={list(reaction.who.slice(0, 20))} disabled={!actions.mayReact} onClick={() => actions.react(message, reaction.key)}>
                    <span>{reaction.key}</span>{reaction.count}
                </button>
            ))}
            {actions.mayReact && <button type="button" class="add" aria-label={t("message.react")} onClick={(event) => actions.pick(message, rect(event))}><Icon name="smile-plus" /></button>}
        </div>
    );
}

function ThreadLink({ id, thread }: { id: string; thread: ThreadSummary }): JSX.Element {
    return (
        <button type="button" class="thr" onClick={() => panel(`thread:${id}`)}>
            <span class="pile">{thread.faces.map((person) => <Face key={person.id} person={person} />)}</span>
            <span>{t("thread.replies", { n: thread.count })}</span>
            {thread.last > 0 && <time>{t("thread.last", { time: clock(thread.last) })}</time>}
            {thread.unread && <span class="dot you" />}
            <Icon name="chevron-right" flip />
        </button>
    );
}

function Pile({ people }: { people: readonly Person[] }): JSX.Element {
    return (
        <>
            <span class="pile">{people.slice(0, 3).map((person) => <Avatar key={person.id} id={person.id} name={person.name} src={thumbnail(person.avatar, 32)} />)}</span>
            {people.length > 3 && <span>+{people.length - 3}</span>}
        </>
    );
}

/** Whose receipt stands here. */
export function Seen({ people }: { people: readonly Person[] }): JSX.Element | null {
    if (people.length === 0) return null;
    const names = people.map(({ name }) => name);
    return <div class="seen" role="img" title={list(names)} aria-label={t("read.by", { names: list(names.slice(0, 6)), n: names.length })}><Pile people={people} /></div>;
}

const LinkPreview = lazy(() => import("./LinkPreview.tsx").then(({ LinkPreview }) => LinkPreview), null);

const LATE_MS = 10_000;

/** What became of an own message, below it. */
function State({ message, actions, last }: { message: Message; actions: Actions; last: boolean }): JSX.Element | null {
    const { state, readers } = message;
    const [, again] = useState(0);
    // What waits says so after a while, also where nothing else changes.
    useEffect(() => {
        const left = message.time + LATE_MS - Date.now();
        if (state !== "waiting" || left <= 0) return undefined;
        const timer = setTimeout(() => again(left), left);
        return () => clearTimeout(timer);
    }, [state, message.time]);
    if (state === "failed") {
        return (
            <div class="st bad">
                <Icon name="circle-alert" />{notSent(message.error)}{" "}
                <button type="button" onClick={() => actions.retry(message)}>{t("send.retry")}</button> · <button type="button" onClick={() => actions.cancel(message)}>{t(message.change ? "composer.cancel-edit" : "message.delete")}</button>
            </div>
        );
    }
    if (state === "waiting" || state === "sending" || state === "uploading") {
        if (message.error === ROOT_REFUSED) return <div class="st"><Icon name="clock" /><span>{t("send.rootless")}</span></div>;
        const late = state === "waiting" && (awaySince.value !== undefined || Date.now() - message.time >= LATE_MS);
        return <div class="st"><Icon name="clock" label={t("send.sending")} /><span>{late ? t("send.waiting") : t("send.sending")}</span></div>;
    }
    if (!last && readers.length === 0) return null;
    if (readers.length > 0 && !actions.dm) {
        return <div class="st read" aria-label={t("read.by", { names: list(readers.slice(0, 6).map(({ name }) => name)), n: readers.length })} title={list(readers.map(({ name }) => name))}><span>{clock(message.time)}</span><Pile people={readers} /></div>;
    }
    return <div class={readers.length > 0 ? "st read" : "st"}><span>{clock(message.time)}</span><Icon name={readers.length > 0 ? "check-check" : "check"} label={t(readers.length > 0 ? "read.read" : "read.sent")} /></div>;
}

interface Props {
    message: Message;
    first: boolean;
    next: boolean;
    /** The newest of one's own: it shows its state. */
    last: boolean;
    focused: boolean;
    flash: boolean;
    actions: Actions;
}

/** What somebody has written, beside a file or by itself. */
export const written = (body: Body): string => (body.type === "text" ? body.text : "caption" in body ? body.caption : "");

const bodyWords = (body: Body): string =>
    body.type === "text" ? body.text : body.type === "gone" ? t("message.gone") : body.type === "locked" ? t("locked.closed") : body.type === "other" || body.type === "place" ? body.text : `${t(`media.${body.type}`)} ${body.media.name} ${body.caption}`;

/** One message. Its name for screen readers says who, when and what. */
export const MessageRow = memo(function MessageRow({ message, first, next, last, focused, flash, actions }: Props): JSX.Element {
    const { body, sender, mine } = message;
    // Most rows are only read: a toolbar each would be more than half of what a long page consists of. Rows that are
    // scrolled along under a resting pointer get none either: they are entered, but nothing moves over them.
    const [near, setNear] = useState(false);
    const pic = (body.type === "image" || body.type === "video" || body.type === "sticker") && !message.quote;
    const big = body.type === "text" && !message.quote && isBig(body.text);
    const classes = ["msg", mine && "own", first && "first", next && "next", message.mentionsMe && "me", flash && "flash"].filter(Boolean).join(" ");
    const label = [sender.name, clock(message.time), bodyWords(body), message.reactions.length > 0 && t("message.reactions", { n: message.reactions.length })].filter(Boolean).join(", ");
    const bubble = ["bub", pic && "pic", big && "big", body.type === "gone" && "gone"].filter(Boolean).join(" ");
    return (
        <li class={classes} data-key={message.key} data-id={message.id} onPointerMove={() => setNear(true)}>
            {!mine && first && <button type="button" class="plainly" tabIndex={-1} aria-hidden="true" onClick={() => actions.person(sender.id)}><Face person={sender} /></button>}
            <div class="b" role="article" aria-label={label} tabIndex={focused ? 0 : -1}
                onContextMenu={(event) => {
                    const finger = (event as MouseEvent & { pointerType?: string }).pointerType === "touch"; // see touch.ts
                    if ((event.target as Element).closest(finger ? "a" : "a, img, video") || getSelection()?.toString()) return;
                    event.preventDefault();
                    if (finger) return;
                    actions.menu(message, new DOMRect(event.clientX, event.clientY));
                }}
            >
                {!mine && first && (
                    <div class="who" style={{ "--vc": voice(sender.id) }}>
                        <button type="button" class="plainly cut" tabIndex={-1} onClick={() => actions.person(sender.id)}>{sender.name}</button>
                        {message.level >= 100 ? <span class="tag">{t("role.admin")}</span> : message.level >= 50 && <span class="tag">{t("role.moderator")}</span>}
                        <time dateTime={new Date(message.time).toISOString()} title={full(message.time)}>{clock(message.time)}</time>
                    </div>
                )}
                {!mine && !first && <time class="gut" title={full(message.time)}>{clock(message.time)}</time>}
                <div class={bubble}>
                    {mine && !last && message.state === "sent" && message.readers.length === 0 && <time class="gut" title={full(message.time)}>{clock(message.time)}</time>}
                    {message.quote && <QuoteView quote={message.quote} jump={actions.jump} />}
                    <BodyView body={body} message={message} actions={actions} />
                    {body.type === "text" && body.text.includes("://") && settings.value.previews && <LinkPreview text={body.text} room={actions.roomId} />}
                    {message.edited && <span class="edited">{t("message.edited")}</span>}
                    {message.plainInEncrypted && <span class="edited" title={t("message.plain")}><Icon name="lock-open" label={t("message.plain")} size=".75rem" /></span>}
                    {message.pinned && <span class="edited"><Icon name="pin" label={t("message.pinned")} size=".75rem" /></span>}
                    {(near || focused) && message.id && body.type !== "gone" && <Toolbar message={message} actions={actions} tabbable={focused} />}
                </div>
                <Reactions message={message} actions={actions} />
                {message.thread && (actions.thread === (message.id || message.key) ? <div class="thr-count">{t("thread.replies", { n: message.thread.count })}</div> : <ThreadLink id={message.id || message.key} thread={message.thread} />)}
                {mine ? <State message={message} actions={actions} last={last} /> : !actions.dm && <Seen people={message.readers} />}
            </div>
        </li>
    );
});

function Toolbar({ message, actions, tabbable }: { message: Message; actions: Actions; tabbable: boolean }): JSX.Element {
    const tab = tabbable ? 0 : -1;
    return (
        <div class="act" role="toolbar" aria-label={t("message.actions")}>
            {actions.mayReact && (
                <>
                    {["👍", "❤️"].map((sign) => <button key={sign} type="button" class="ib emo" tabIndex={tab} aria-label={t("message.react-with", { key: sign })} onClick={() => actions.react(message, sign)}>{sign}</button>)}
                    <button type="button" class="ib" tabIndex={tab} aria-label={t("message.react")} title={t("message.react")} onClick={(event) => actions.pick(message, rect(event))}><Icon name="smile-plus" /></button>
                    <button type="button" class="ib" tabIndex={tab} aria-label={t("message.reply")} title={t("message.reply")} onClick={() => actions.reply(message)}><Icon name="reply" flip /></button>
                    {!actions.thread && <button type="button" class="ib" tabIndex={tab} aria-label={t("message.thread")} title={t("message.thread")} onClick={() => panel(`thread:${message.id}`)}><Icon name="message-square-text" /></button>}
                </>
            )}
            <button type="button" class="ib" tabIndex={tab} aria-haspopup="menu" aria-label={t("message.more")} title={t("message.more")} onClick={(event) => actions.menu(message, rect(event))}><Icon name="ellipsis" /></button>
        </div>
    );
}
