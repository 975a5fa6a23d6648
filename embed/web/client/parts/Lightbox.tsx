import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { IconButton, Menu, type MenuItem } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { copied } from "../pages/Room.tsx";
import { full } from "../render/dates.ts";
import { shareLink } from "../routes.ts";
import { original } from "../sdk/media.ts";
import type { Message } from "../sdk/types.ts";
import { attempt, openRoomById, rooms, the } from "../stores/app.ts";
import { rightsOf, viewOf } from "../stores/room.ts";
import { details, lightbox, question, reporting } from "../stores/ui.ts";
import { Face, useAnchor } from "./faces.tsx";
import { download, useSource } from "./Media.tsx";

const isPicture = (item: { kind: string }): item is Message => item.kind === "message" && (item as Message).body.type === "image" && (item as Message).id !== "";

const close = (): void => void (lightbox.value = undefined);

/** What can be done with the message of a picture. What leads away from the picture closes it. */
function actions(room: string, thread: string | undefined, message: Message): MenuItem[] {
    const { commands } = the();
    const when = (yes: boolean, item: MenuItem): MenuItem[] => (yes ? [item] : []);
    const instead = (run: () => void) => (): void => {
        close();
        run();
    };
    return [
        ...when(!thread, { icon: "message-square-text", label: t("message.go"), run: instead(() => openRoomById(room, message.id)) }),
        { icon: "link", label: t("message.link"), run: () => copied(shareLink(rooms.value.get(room)?.alias ?? room, message.id, [commands.serverName])) },
        { icon: "info", label: t("message.details"), run: () => (details.value = { room, message }) },
        ...when(!message.mine, { icon: "flag", label: t("message.report"), run: () => (reporting.value = { room, message }) }),
        ...when(message.mine || (rightsOf(room)?.redact ?? false), {
            icon: "trash-2", label: t("message.delete"), bad: true,
            run: () => (question.value = { title: t("delete.title"), text: t("delete.text"), yes: t("delete.yes"), bad: true, run: instead(() => void attempt(() => commands.redact(room, message.id))) }),
        }),
    ];
}

/** A picture alone, as large as the window; arrows go through those of the room. */
export function Lightbox({ room, thread, key_: first }: { room: string; thread: string | undefined; key_: string }): JSX.Element | null {
    const pictures = viewOf(room, thread).items.value.filter(isPicture);
    const [key, setKey] = useState(first);
    const [zoom, setZoom] = useState(1);
    const [shift, setShift] = useState({ x: 0, y: 0 });
    const dialog = useRef<HTMLDialogElement>(null);
    const fingers = useRef(new Map<number, { x: number; y: number }>());
    const at = pictures.findIndex((picture) => picture.key === key);
    const picture = pictures[at];
    const body = picture?.body.type === "image" ? picture.body : undefined;
    const { src, failed } = useSource(body?.media, body?.media.type ?? "", body?.media.file ? undefined : original(body?.media.url));
    const [menu, open, shut] = useAnchor();
    useLayoutEffect(() => {
        const before = document.activeElement;
        const shown = dialog.current;
        shown?.showModal();
        return () => {
            shown?.close(); // while it is open, nothing behind it takes the focus
            if (before instanceof HTMLElement && before.isConnected) before.focus();
        };
    }, []);
    useEffect(() => {
        setZoom(1);
        setShift({ x: 0, y: 0 });
    }, [key]);
    if (!picture || !body) return null;
    const go = (step: number): void => {
        const next = pictures[at + step];
        if (next) setKey(next.key);
    };
    const larger = (by: number): void => setZoom((now) => Math.max(1, Math.min(8, now * by)));
    // Two fingers draw it apart, one moves it.
    const moved = (event: PointerEvent): void => {
        const spread = ([a, b]: { x: number; y: number }[]): number => (a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0);
        const before = spread([...fingers.current.values()]);
        if (fingers.current.has(event.pointerId)) fingers.current.set(event.pointerId, event);
        if (before > 0) larger(spread([...fingers.current.values()]) / before);
        else if (zoom > 1 && event.buttons === 1) setShift({ x: shift.x + event.movementX, y: shift.y + event.movementY });
    };
    const lifted = (event: PointerEvent): void => void fingers.current.delete(event.pointerId);
    const keys: Record<string, () => void> = {
        ArrowLeft: () => go(-1), ArrowRight: () => go(1), "+": () => larger(1.5), "=": () => larger(1.5), "-": () => larger(1 / 1.5), "0": () => setZoom(1),
    };
    return (
        <dialog
            ref={dialog} class="box-light" aria-label={t("media.photo", { n: at + 1, total: pictures.length })}
            onCancel={(event) => { event.preventDefault(); close(); }}
            onKeyDown={(event) => keys[event.key]?.()}
            onWheel={(event) => larger(event.deltaY < 0 ? 1.15 : 1 / 1.15)}
        >
            <header class="bar">
                <Face person={picture.sender} size="2rem" />
                <span class="grow"><b class="cut block">{picture.sender.name}</b><small class="cut block">{full(picture.time)}</small></span>
                <IconButton icon="zoom-in" label={t("media.larger")} onClick={() => larger(1.5)} />
                <IconButton icon="zoom-out" label={t("media.smaller")} onClick={() => larger(1 / 1.5)} />
                <IconButton icon="download" label={t("media.download", { name: body.media.name, size: "" })} onClick={() => void attempt(() => download(body.media), "error.media")} />
                <IconButton icon="ellipsis" label={t("message.more")} aria-haspopup="menu" onClick={open} />
                <IconButton icon="x" label={t("close")} onClick={close} />
            </header>
            <figure onPointerDown={(event) => fingers.current.set(event.pointerId, event)} onPointerMove={moved} onPointerUp={lifted} onPointerCancel={lifted} onClick={(event) => event.target === event.currentTarget && close()}>
                {at > 0 && <IconButton icon="chevron-left" flip class="nav" label={t("media.previous")} onClick={() => go(-1)} />}
                {failed ? <p>{t("media.broken", { name: body.media.name })}</p> : src && (
                    <img
                        src={src} alt={body.caption || body.media.name} draggable={false} style={{ transform: `translate(${shift.x}px, ${shift.y}px) scale(${zoom})` }}
                        onDblClick={() => setZoom(zoom > 1 ? 1 : 2.5)}
                    />
                )}
                {at < pictures.length - 1 && <IconButton icon="chevron-right" flip class="nav r" label={t("media.next")} onClick={() => go(1)} />}
            </figure>
            {body.caption && <p class="small caption">{body.caption}</p>}
            {menu && <Menu label={t("message.actions")} at={menu} items={actions(room, thread, picture)} onClose={shut} />}
        </dialog>
    );
}
