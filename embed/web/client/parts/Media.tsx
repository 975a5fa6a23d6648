import { decode } from "blurhash";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { duration, size } from "../render/dates.ts";
import { Html, Plain } from "../render/Rich.tsx";
import { BARS, waveLine } from "../render/wave.ts";
import { cookie, largestShown, original, thumbnail } from "../sdk/media.ts";
import type { Body, EncryptedFile, Media, Message } from "../sdk/types.ts";
import { attempt, the } from "../stores/app.ts";
import { settings } from "../stores/settings.ts";
import { lightbox } from "../stores/ui.ts";
import type { Actions } from "./Message.tsx";

type MediaBodyData = Extract<Body, { media: unknown }>;
const INLINE = /^(image\/(png|jpeg|gif|webp|avif)|video\/(mp4|webm|ogg|quicktime)|audio\/)/;

/** An address that can be shown: the server's, or one of bytes that were fetched and opened here. */
export function useSource(source: { url: string | undefined; file: EncryptedFile | undefined } | undefined, type: string, plain: string | undefined, wanted = true): { src: string | undefined; failed: boolean; part: number } {
    const [src, setSrc] = useState<string>();
    const [failed, setFailed] = useState(false);
    const [part, setPart] = useState(0);
    const mxc = source?.file?.url ?? source?.url;
    const direct = source?.file ? undefined : plain;
    useEffect(() => {
        setSrc(undefined);
        setFailed(false);
        if (!mxc || direct || !wanted) return undefined;
        let current = true;
        void import("../sdk/blobs.ts").then(({ blobUrl }) => blobUrl(the().engine, source ?? { url: mxc, file: undefined }, type, (had) => current && setPart(had))).then(
            (url) => current && setSrc(url),
            () => current && setFailed(true),
        );
        return () => void (current = false);
    }, [mxc, direct, wanted]);
    return { src: direct ?? src, failed, part };
}

/** The colours of a picture before it is there. */
function Blur({ hash }: { hash: string }): JSX.Element {
    const canvas = useRef<HTMLCanvasElement>(null);
    useEffect(() => {
        const context = canvas.current?.getContext("2d");
        if (!context) return;
        try {
            const pixels = new ImageData(32, 24);
            pixels.data.set(decode(hash, 32, 24));
            context.putImageData(pixels, 0, 0);
        } catch {
            // not a blurhash: the box stays grey
        }
    }, [hash]);
    return <canvas ref={canvas} width={32} height={24} class="blur" aria-hidden="true" />;
}

/** Width to height, within what the column bears; 4:3 where nobody said. */
const ratio = ({ width, height }: Media): string => (width && height ? `${Math.max(width, height / 3)} / ${Math.max(height, width / 4)}` : "4 / 3");
const widest = ({ width, height }: Media): string => {
    if (!width || !height) return "26rem";
    return `min(26rem, ${Math.max(6, Math.min(width / 16, (24 * width) / height))}rem)`;
};

function Ring({ part, label }: { part: number; label: string }): JSX.Element {
    const percent = Math.round(part * 100);
    return <span class="ringp" style={{ "--p": `${percent}%` }} role="progressbar" aria-label={label} aria-valuenow={percent} />;
}

function Progress({ message }: { message: Message }): JSX.Element | null {
    if (message.progress === undefined) return null;
    return (
        <>
            <Ring part={message.progress} label={t("send.sending")} />
            <button type="button" class="stop ib" aria-label={t("upload.cancel")} onClick={() => the().outbox.cancel(message.key)}><Icon name="x" /></button>
        </>
    );
}

function Broken({ media }: { media: Media }): JSX.Element {
    return <span class="broken"><Icon name="circle-alert" />{t("media.broken", { name: media.name })}</span>;
}

function Picture({ body, message, actions }: { body: MediaBodyData; message: Message; actions: Actions }): JSX.Element {
    const { media } = body;
    const animated = media.type === "image/gif" || media.type === "image/webp";
    const [near, setNear] = useState(false);
    const plays = animated && (settings.value.autoplay || near) && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    const small = plays ? original(media.url) : thumbnail(media.url, 400, 300, "scale");
    const thumb = media.thumbnailFile && !plays ? { url: undefined, file: media.thumbnailFile } : { url: media.url, file: media.file };
    const { src, failed } = useSource(thumb, media.thumbnailFile && !plays ? "image/jpeg" : media.type, media.file ? undefined : small);
    const [broken, setBroken] = useState(false);
    const shown = media.local ?? src;
    return (
        <button type="button" class="img" onPointerEnter={() => setNear(true)} onPointerLeave={() => setNear(false)} onFocus={() => setNear(true)} onBlur={() => setNear(false)} style={{ "--ar": ratio(media), inlineSize: widest(media) }} aria-label={t("media.open", { name: body.caption || media.name })} onClick={() => message.id && (lightbox.value = { room: actions.roomId, thread: actions.thread, key: message.key })}>
            {media.blurhash && <Blur hash={media.blurhash} />}
            {failed || broken ? <Broken media={media} /> : shown && <img src={shown} alt={body.caption || media.name} loading="lazy" decoding="async" onError={() => setBroken(true)} />}
            <Progress message={message} />
        </button>
    );
}

function Video({ body, message }: { body: MediaBodyData; message: Message }): JSX.Element {
    const { media } = body;
    const [open, setOpen] = useState(false);
    const poster = useSource(media.thumbnailFile ? { url: undefined, file: media.thumbnailFile } : media.thumbnail ? { url: media.thumbnail, file: undefined } : undefined, "image/jpeg", thumbnail(media.thumbnail, 400, 300, "scale"));
    const direct = media.file ? undefined : original(media.url);
    const still = media.local ?? (media.thumbnail || media.thumbnailFile ? undefined : direct);
    const { src, failed, part } = useSource({ url: media.url, file: media.file }, media.type, direct, open);
    const about = [media.seconds ? duration(media.seconds) : "", media.size ? size(media.size) : ""].filter(Boolean).join(" · ");
    if (failed) return <div class="vid" style={{ aspectRatio: ratio(media) }}><Broken media={media} /></div>;
    if (!open || !src) {
        return (
            <button type="button" class="vid" style={{ aspectRatio: ratio(media) }} aria-label={t("media.play", { name: media.name, about })} onClick={() => setOpen(true)}>
                {media.blurhash && <Blur hash={media.blurhash} />}
                {/* One without a picture of its own shows its first one. */}
                {poster.src ? <img src={poster.src} alt="" /> : still && <video src={still} preload="metadata" muted playsInline tabIndex={-1} aria-hidden="true" />}
                {open && part > 0 && <Ring part={part} label={t("media.coming")} />}
                {message.progress === undefined && <span class={open ? "pl busy" : "pl"}><Icon name={open ? "hourglass" : "play"} /></span>}
                {about && <span class="du">{about}</span>}
                <Progress message={message} />
            </button>
        );
    }
    return <div class="vid" style={{ aspectRatio: ratio(media) }}><video src={src} poster={poster.src} controls autoplay playsInline preload="metadata" aria-label={media.name} /></div>;
}

function Audio({ body }: { body: MediaBodyData }): JSX.Element {
    const { media } = body;
    const [open, setOpen] = useState(!media.file);
    const { src, failed } = useSource({ url: media.url, file: media.file }, media.type, media.file ? undefined : original(media.url), open);
    return (
        <div class="audio">
            <b class="cut">{body.type === "voice" ? t("media.voice") : media.name}</b>
            {media.wave && <svg class="wave" viewBox={`0 0 ${BARS * 4} 32`} preserveAspectRatio="none" aria-hidden="true"><path d={waveLine(media.wave)} /></svg>}
            {failed ? <Broken media={media} /> : src ? <audio src={src} controls preload="metadata" aria-label={media.name} /> : <button type="button" class="btn s" onClick={() => setOpen(true)}><Icon name="play" />{media.seconds ? duration(media.seconds) : t("media.listen")}</button>}
        </div>
    );
}

/** Save a file under its name, opening it first if it is encrypted. */
export async function download(media: Media): Promise<void> {
    const link = document.createElement("a");
    const direct = media.file ? undefined : original(media.url, media.name);
    link.href = direct ?? (await (await import("../sdk/blobs.ts")).blobUrl(the().engine, media, media.type));
    link.download = media.name;
    link.click();
}

function File({ body, message }: { body: MediaBodyData; message: Message }): JSX.Element {
    const { media } = body;
    const kind = media.name.includes(".") ? (media.name.split(".").pop() ?? "").toUpperCase().slice(0, 8) : media.type;
    const about = [kind, media.size ? size(media.size) : ""].filter(Boolean).join(" · ");
    return (
        <div class="file">
            <span class="ic"><Icon name={media.file ? "file-lock" : "file-text"} /></span>
            <span class="grow"><b class="cut">{media.name}</b><span class="small mut">{message.progress !== undefined ? t("upload.percent", { n: Math.round(message.progress * 100) }) : about}</span></span>
            {message.progress !== undefined ? (
                <button type="button" class="ib" aria-label={t("upload.cancel")} onClick={() => the().outbox.cancel(message.key)}><Icon name="x" /></button>
            ) : (
                message.id && <button type="button" class="ib" aria-label={t("media.download", { name: media.name, size: media.size ? size(media.size) : "" })} onClick={() => void attempt(() => download(media), "error.media")}><Icon name="download" /></button>
            )}
        </div>
    );
}

/** Pictures, films, sounds and files, each in a box whose size is known before they are there. */
export function MediaBody({ body, message, actions }: { body: MediaBodyData; message: Message; actions: Actions }): JSX.Element {
    const { media } = body;
    // Some clients do not say what kind of picture it is; an unencrypted one the browser finds out itself.
    const untold = !media.file && media.type === "application/octet-stream" && body.type !== "file";
    const shown = (INLINE.test(media.type) || untold) && media.size < largestShown(media.file !== undefined, cookie.value);
    const kind = shown || body.type === "sticker" || media.local ? body.type : "file";
    return (
        <>
            {kind === "image" || kind === "sticker" ? <Picture body={body} message={message} actions={actions} /> : kind === "video" ? <Video body={body} message={message} /> : kind === "audio" || kind === "voice" ? <Audio body={body} /> : <File body={body} message={message} />}
            {body.caption && <div class="cap">{body.html ? <Html html={body.html} context={actions.context} /> : <span class="plain"><Plain text={body.caption} context={actions.context} /></span>}</div>}
        </>
    );
}
