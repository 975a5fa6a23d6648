import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Empty, IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { language, t } from "../i18n/t.ts";
import { day, short, size } from "../render/dates.ts";
import { panel } from "../routes.ts";
import { cookie, thumbnail } from "../sdk/media.ts";
import { threadsOf } from "../sdk/threads.ts";
import { filesOf } from "../sdk/timeline.ts";
import type { Message, RoomRow } from "../sdk/types.ts";
import { attempt, openRoomById, the } from "../stores/app.ts";
import { download, useSource } from "./Media.tsx";
import "./asked.ts";

const KINDS = ["all", "pictures", "files", "sounds"] as const;
type Kind = (typeof KINDS)[number];
const OF: Record<string, Kind> = { image: "pictures", video: "pictures", audio: "sounds", voice: "sounds", file: "files" };

/** All that was shared in a room. */
export function Files({ row }: { row: RoomRow }): JSX.Element {
    const [list, setList] = useState<readonly Message[]>();
    const [next, setNext] = useState<string>();
    const [kind, setKind] = useState<Kind>("all");
    const load = async (from?: string): Promise<void> => {
        const page = await attempt(() => filesOf(the().engine, row.id, from));
        setList((before) => [...(from ? (before ?? []) : []), ...(page?.found ?? [])]);
        setNext(page?.next);
    };
    useEffect(() => void load(), [row.id]);
    const shown = (list ?? []).filter(({ body }) => kind === "all" || OF[body.type] === kind);
    const days = new Map<string, Message[]>();
    for (const message of shown) {
        const name = day(message.time);
        days.set(name, [...(days.get(name) ?? []), message]);
    }
    return (
        <div class="scroll" tabIndex={0}>
            <div class="pills inset" role="group" aria-label={t("list.filter")}>{KINDS.map((each) => <button key={each} type="button" class="pill" aria-pressed={kind === each} onClick={() => setKind(each)}>{t(`files.kind-${each}`)}</button>)}</div>
            {row.encrypted && <p class="small sub inset">{t("files.encrypted")}</p>}
            {!list && <p class="nothing" role="status">{t("loading")}</p>}
            {list && shown.length === 0 && <Empty icon="folder-down" title={t("files.none")} />}
            {[...days].map(([name, messages]) => (
                <section key={name} aria-label={name}>
                    <div class="cap2"><span>{name}</span></div>
                    {messages.map((message) => <Entry key={message.key} message={message} onOpen={() => openRoomById(row.id, message.id)} />)}
                </section>
            ))}
            {next && <div class="inset"><button type="button" class="btn" onClick={() => void load(next)}>{t("more")}</button></div>}
        </div>
    );
}

const STRIP = 3;

/** How many files and threads a room has, in words; where that is not known, how many at least. */
export interface Counts {
    files: string;
    threads: string;
}
const counted = ({ length }: readonly Message[], more: boolean): string => (length ? `${length.toLocaleString(language.value)}${more ? "+" : ""}` : "");

/** The newest pictures and films of a room, in one line. Whoever shows it is told what else there is. */
export function MediaStrip({ row, onCounts }: { row: RoomRow; onCounts: (counts: Counts) => void }): JSX.Element | null {
    const [list, setList] = useState<readonly Message[]>([]);
    useEffect(() => {
        let current = true;
        const { engine } = the();
        void Promise.all([filesOf(engine, row.id, undefined), threadsOf(engine, row.id, false)]).then(([files, threads]) => {
            if (!current) return;
            onCounts({ files: counted(files.found, files.next !== undefined), threads: counted(threads.found, threads.more) });
            setList(files.found.filter(({ body }) => body.type === "image" || body.type === "video").slice(0, STRIP));
        }, () => undefined);
        return () => void (current = false);
    }, [row.id]);
    if (list.length === 0) return null;
    return (
        <>
            <div class="cap2"><span>{t("panel.media")}</span><button type="button" class="plainly link" onClick={() => panel("files")}>{t("panel.media-all")}</button></div>
            <div class="grid3">
                {list.map((message) => (
                    <button key={message.key} type="button" class="plainly" aria-label={t("media.open", { name: "media" in message.body ? message.body.media.name : "" })} onClick={() => openRoomById(row.id, message.id)}>
                        <Thumb message={message} width={160} />
                    </button>
                ))}
            </div>
        </>
    );
}

function Entry({ message, onOpen }: { message: Message; onOpen: () => void }): JSX.Element | null {
    const { body } = message;
    if (!("media" in body)) return null;
    const { media } = body;
    return (
        <div class="it filed">
            <button type="button" class="row grow plainly" onClick={onOpen}>
                {body.type === "image" || body.type === "video" ? <Thumb message={message} /> : <span class="soft-icon"><Icon name={body.type === "file" ? "file-text" : "volume-2"} /></span>}
                <span class="grow cut"><b class="cut">{body.type === "voice" ? t("media.voice") : media.name}</b><small class="cut">{[message.sender.name, media.size ? size(media.size) : "", short(message.time)].filter(Boolean).join(" · ")}</small></span>
            </button>
            <IconButton icon="download" label={t("media.download", { name: media.name, size: media.size ? size(media.size) : "" })} onClick={() => void attempt(() => download(media), "error.media")} />
        </div>
    );
}

function Thumb({ message, width = 96 }: { message: Message; width?: number }): JSX.Element {
    void cookie.value;
    const media = "media" in message.body ? message.body.media : undefined;
    const plain = media?.file ? undefined : thumbnail(message.body.type === "video" ? media?.thumbnail : media?.url, width);
    const { src } = useSource(media?.thumbnailFile ? { url: undefined, file: media.thumbnailFile } : undefined, "image/jpeg", plain);
    return <span class="filed-thumb">{src ? <img src={src} alt="" loading="lazy" /> : <Icon name={message.body.type === "video" ? "play" : "image"} />}</span>;
}
