import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { given } from "../given.ts";
import { day, t, time } from "../i18n/t.ts";
import type { Entry } from "../outbox.ts";
import { pieces, type Item } from "../timeline.ts";
import type { Props } from "./App.tsx";
import { Composer } from "./Composer.tsx";
import { Media } from "./Media.tsx";
import { Face, Icon, later } from "./parts.tsx";

const Rating = later((rare) => rare.Rating);
const NEAR = 80;
const AHEAD = 600;

export function Conversation({ chat, state, notice, setNotice }: Props & { notice: string; setNotice: (text: string) => void }): JSX.Element {
    const log = useRef<HTMLDivElement>(null);
    const atEnd = useRef(true);
    const anchor = useRef<{ key: string; top: number } | null>(null);
    const items = chat.items;
    const sending = [chat.outbox, chat.parcels].flatMap((box) => box.entries.filter((entry) => entry.type === "m.room.message").map((entry) => ({ box, entry })));
    useLayoutEffect(() => {
        const box = log.current;
        if (!box) return;
        if (atEnd.current) box.scrollTop = box.scrollHeight;
        else if (anchor.current) {
            // The row that was at the top stays where it was, whatever came before it.
            const row = box.querySelector<HTMLElement>(`[data-key="${CSS.escape(anchor.current.key)}"]`);
            if (row) box.scrollTop += row.offsetTop - box.scrollTop - anchor.current.top;
        }
    });
    useEffect(() => {
        const box = log.current;
        // A conversation that does not fill the box yet cannot be scrolled.
        if (box && chat.older === "more" && box.scrollHeight <= box.clientHeight + AHEAD) void chat.loadOlder();
    });
    // A keyboard on the screen takes of the frame's height: who reads the end goes on doing so.
    useEffect(() => {
        const again = (): void => chat.changed();
        addEventListener("resize", again);
        return () => removeEventListener("resize", again);
    }, []);
    const scrolled = (): void => {
        const box = log.current;
        if (!box) return;
        atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
        const row = [...box.querySelectorAll<HTMLElement>("[data-key]")].find((each) => each.offsetTop + each.offsetHeight > box.scrollTop);
        anchor.current = row?.dataset.key ? { key: row.dataset.key, top: row.offsetTop - box.scrollTop } : null;
        if (box.scrollTop < AHEAD && chat.older === "more") void chat.loadOlder();
    };
    const lastOwn = items.findLast((item) => item.own && item.kind === "message");
    const readAt = items.findIndex((item) => item.event.event_id === chat.readTo);
    const isRead = lastOwn !== undefined && readAt >= 0 && items.indexOf(lastOwn) <= readAt;
    let before = "";
    return (
        <>
            <div class="log" role="log" aria-live="off" aria-label={t("messages")} tabIndex={0} ref={log} onScroll={scrolled}>
                <ol>
                    {chat.older === "none" && <li class="sys">{t("beginning")}</li>}
                    {chat.encrypted && <li class="sys">{t("encrypted")}</li>}
                    {chat.memory && <li class="sys">{t("memory")}</li>}
                    {chat.lostKeys && <li class="sys">{t("lostKeys")}</li>}
                    {items.flatMap((item, index) => {
                        const date = day(item.event.origin_server_ts);
                        const rows = date === before ? [] : [<li class="sys" key={`day ${item.key}`}>{date}</li>];
                        before = date;
                        const previous = items[index - 1];
                        const first = rows.length > 0 || previous?.kind !== "message" || previous.event.sender !== item.event.sender;
                        return [...rows, <Line key={item.key} item={item} first={first} name={chat.nameOf(item.event.sender)} seen={isRead && item === lastOwn} />];
                    })}
                    {sending.map(({ box, entry }) => (
                        <Sending key={entry.txn} entry={entry} online={chat.status !== "waiting"} retry={() => box.retry(entry.txn)} drop={() => box.drop(entry.txn)} />
                    ))}
                </ol>
                {chat.resolved && given.rating && <Rating chat={chat} />}
            </div>
            {chat.typing.length > 0 && (
                <div class="typ">
                    {t("typing", { name: chat.nameOf(chat.typing[0] ?? "") })}
                    <i aria-hidden="true" />
                </div>
            )}
            {notice && (
                <p class="notice" role="alert">
                    {notice}
                </p>
            )}
            <Composer chat={chat} draft={state.draft} sent={() => ((atEnd.current = true), setNotice(""), (state.draft = ""))} notice={setNotice} />
        </>
    );
}

export const Text = ({ body }: { body: string }): JSX.Element => (
    <bdi>
        {pieces(body).map(({ text, href }) =>
            href ? (
                <a href={href} target="_blank" rel="noopener noreferrer nofollow">
                    {text}
                </a>
            ) : (
                text
            ),
        )}
    </bdi>
);

function Line({ item, first, name, seen }: { item: Item; first: boolean; name: string; seen: boolean }): JSX.Element {
    const at = time(item.event.origin_server_ts);
    if (item.kind === "joined") return <li class="sys">{t("joined", { name: item.name })}</li>;
    if (item.kind === "done") return <li class="sys">{t("done")}</li>;
    const media = !item.gone && ["m.image", "m.video", "m.audio", "m.file"].includes(String(item.event.content.msgtype));
    return (
        <li class={`msg${item.own ? " own" : ""}${first ? " first" : ""}`} data-key={item.key}>
            {!item.own && first && <Face name={name} />}
            <div class="b">
                {!item.own && first && (
                    <div class="who">
                        <bdi>{name}</bdi> · {at}
                    </div>
                )}
                {media ? (
                    <Media content={item.event.content} />
                ) : (
                    <div class={item.gone || item.sealed ? "bub off" : "bub"}>
                        {item.gone ? t("gone") : item.sealed ? t("sealed") : <Text body={item.body} />}
                        {item.edited && <span class="ed"> ({t("edited")})</span>}
                    </div>
                )}
                {seen ? (
                    <div class="st read">
                        {t("seen")}
                        <Icon name="check-check" />
                    </div>
                ) : (
                    item.own && first && <div class="st">{at}</div>
                )}
            </div>
        </li>
    );
}

function Sending({ entry, online, retry, drop }: { entry: Entry; online: boolean; retry: () => void; drop: () => void }): JSX.Element {
    const [, again] = useState(0);
    const left = entry.retryAt ? Math.ceil((entry.retryAt - Date.now()) / 1000) : 0;
    useEffect(() => {
        if (left <= 0) return undefined;
        const timer = setInterval(() => again((n) => n + 1), 1_000);
        return () => clearInterval(timer);
    }, [left > 0]);
    const media = entry.content.msgtype !== "m.text";
    return (
        <li class="msg own first" data-key={entry.txn}>
            <div class="b">
                {media ? <Media content={entry.content} /> : <div class="bub"><Text body={String(entry.content.body)} /></div>}
                {entry.state === "failed" ? (
                    <div class="st bad">
                        <Icon name="circle-alert" />
                        {t("failed")} <button type="button" onClick={retry}>{t("retry")}</button> <button type="button" onClick={drop}>{t("remove")}</button>
                    </div>
                ) : (
                    <div class="st">
                        {left > 0 ? t("slow", { n: left }) : online ? t("sending") : t("waiting")}
                        {entry.parcel && <button type="button" onClick={drop}>{t("cancel")}</button>} {entry.parcel && entry.loose}
                    </div>
                )}
            </div>
        </li>
    );
}
