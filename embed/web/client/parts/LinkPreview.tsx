// What is behind the first address of a message, as the server sees it. It grows a row only where nobody reads: outside
// the view, or at the end of the conversation, which stays in place.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { pieces } from "../render/links.ts";
import { ApiError } from "../sdk/api.ts";
import type { LinkPreview as Found } from "../sdk/commands.ts";
import { cookie, thumbnail } from "../sdk/media.ts";
import { clean } from "../sdk/text.ts";
import { rooms, the } from "../stores/app.ts";
import { settings } from "../stores/settings.ts";

const MOST = 300;
const AT_ONCE = 3;
const known = new Map<string, Promise<Found | undefined>>();
let off = false;
let running = 0;
const queue: (() => void)[] = [];

async function look(url: string): Promise<Found | undefined> {
    if (running >= AT_ONCE) await new Promise<void>((go) => queue.push(go));
    running++;
    try {
        return off ? undefined : await the().commands.linkPreview(url);
    } catch (error) {
        // A server that looks at no pages is not asked again.
        if (error instanceof ApiError && (error.errcode === "M_UNRECOGNIZED" || error.status === 403)) off = true;
        return undefined;
    } finally {
        running--;
        queue.shift()?.();
    }
}

function asked(url: string): Promise<Found | undefined> {
    let found = known.get(url);
    if (!found) {
        known.set(url, (found = look(url)));
        if (known.size > MOST) known.delete(known.keys().next().value ?? "");
    }
    return found;
}

const hostOf = (url: string): string => new URL(url).host;

export function LinkPreview({ text, room }: { text: string; room: string }): JSX.Element | null {
    const [found, setFound] = useState<Found>();
    const place = useRef<HTMLSpanElement>(null);
    const allowed = !rooms.value.get(room)?.encrypted || settings.value.previewsEncrypted;
    const link = allowed ? pieces(text).find((piece) => piece.kind === "link" && /^https?:/.test(piece.href)) : undefined;
    const url = link?.kind === "link" ? link.href : undefined;
    useEffect(() => {
        setFound(undefined);
        const mark = place.current;
        if (!url || !mark) return undefined;
        let got: Found | undefined, inView = true;
        const scroller = mark.closest<HTMLElement>(".tl");
        const show = (): void => {
            const atEnd = !scroller || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
            if (got && (!inView || atEnd)) setFound(got);
        };
        const seen = new IntersectionObserver(([entry]) => {
            inView = entry?.isIntersecting ?? false;
            show();
        }, { root: scroller });
        const near = new IntersectionObserver(([entry]) => {
            if (!entry?.isIntersecting) return;
            near.disconnect();
            void asked(url).then((answer) => {
                got = answer;
                show();
            });
        }, { root: scroller, rootMargin: "1500px" });
        seen.observe(mark);
        near.observe(mark);
        return () => {
            seen.disconnect();
            near.disconnect();
        };
    }, [url]);
    if (!url) return null;
    void cookie.value;
    const image = thumbnail(found?.image, 400, 210, "scale");
    return (
        <>
            <span ref={place} class="lp-mark" />
            {found && (
                <a class="lp" href={url} target="_blank" rel="noopener noreferrer">
                    {image && <img src={image} alt="" loading="lazy" onError={(event) => event.currentTarget.remove()} />}
                    <div><small>{clean(found.site, 80) || hostOf(url)}</small><b>{clean(found.title, 200)}</b>{found.text && clean(found.text, 300)}</div>
                </a>
            )}
        </>
    );
}
