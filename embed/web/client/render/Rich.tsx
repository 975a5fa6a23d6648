// Texts of messages as nodes. Nothing that came from others is ever inserted as markup: formatted bodies are parsed
// into an inert document, walked, and only what is on the list becomes a node of ours.

import { type ComponentChildren, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n/t.ts";
import { format, matrixLink, roomRoute } from "../routes.ts";
import { clean, localpart } from "../sdk/text.ts";
import { otherHost, pieces, safe } from "./links.ts";

export interface Context {
    me: string;
    onPerson: (user: string) => void;
    nameOf: (user: string) => string;
}

interface Policy {
    createHTML(text: string): string;
}
const factory = (globalThis as unknown as { trustedTypes?: { createPolicy(name: string, rules: { createHTML: (text: string) => string }): Policy } }).trustedTypes;
// Used for the inert document below and for nothing else.
const policy: Policy = factory?.createPolicy("hromada", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

const DEPTH = 100;
const NODES = 5_000;
const BLOCKS = new Set(["p", "div", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "caption", "details", "summary", "hr", "br"]);
const INLINE = new Set(["b", "strong", "i", "em", "u", "s", "del", "sub", "sup", "code"]);
const DROPPED = new Set(["mx-reply", "script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "math", "head", "title", "textarea", "select"]);

/** A mention, a link to a room, or a link that leaves; `text` is what stands there. */
export function Link({ href, text, children, context }: { href: string; text: string; children?: ComponentChildren; context: Context }): JSX.Element {
    const to = matrixLink(href);
    if (to?.page === "person") return <MentionOf user={to.user} context={context} />;
    if (to) return <a class="men" href={format(to)}>{children ?? text}</a>;
    const other = otherHost(text, href);
    return (
        <>
            <a href={href} target="_blank" rel="noopener noreferrer nofollow">{children ?? text}</a>
            {other && <small class="sub"> ({other})</small>}
        </>
    );
}

export function MentionOf({ user, context }: { user: string; context: Context }): JSX.Element {
    return (
        <button type="button" class={user === context.me ? "men me" : "men"} onClick={() => context.onPerson(user)}>
            @{context.nameOf(user) || localpart(user)}
        </button>
    );
}

/** A plain text with its links. */
export function Plain({ text, context }: { text: string; context: Context }): JSX.Element {
    return (
        <>
            {pieces(text).map((piece, at) => {
                if (piece.kind === "text") return <span key={at}>{piece.text}</span>;
                if (piece.kind === "link") return <Link key={at} href={piece.href} text={piece.text} context={context} />;
                if (piece.text.startsWith("@")) return <MentionOf key={at} user={piece.text} context={context} />;
                return <a key={at} class="men" href={format(roomRoute(piece.text))}>{piece.text}</a>;
            })}
        </>
    );
}

function Spoiler({ reason, children }: { reason: string; children: ComponentChildren }): JSX.Element {
    const [open, set] = useState(false);
    return open ? (
        <span class="spoiler open">{children}</span>
    ) : (
        <button type="button" class="spoiler" onClick={() => set(true)} aria-label={reason ? t("message.spoiler-of", { reason }) : t("message.spoiler")}>
            {reason && <small>{reason}</small>}
            <span aria-hidden="true" class="veil">{children}</span>
        </button>
    );
}

/** Code with colours, once they have been loaded. */
export function Code({ text, lang }: { text: string; lang: string }): JSX.Element {
    const [lines, set] = useState<ComponentChildren>(text);
    useEffect(() => {
        let current = true;
        set(text);
        if (lang && text.length < 20_000) {
            void import("./colour.ts").then(({ colour }) => {
                const spans = colour(text, lang);
                if (current && spans) set(spans.map(({ text: part, kind }, at) => (kind ? <span key={at} class={kind}>{part}</span> : part)));
            });
        }
        return () => void (current = false);
    }, [text, lang]);
    return <code class="code" tabIndex={0}>{lines}</code>;
}

interface Walk {
    left: number;
    context: Context;
}

/** A property of the node itself: a form and a document have what is named in them in the place of their own. */
const own = <T extends Node, K extends keyof T>(kind: { prototype: T }, node: T, name: K): T[K] => Reflect.get(kind.prototype, name, node);

function children(node: Node, walk: Walk, depth: number, link: boolean): ComponentChildren[] {
    return [...own(Node, node, "childNodes")].map((child) => nodeOf(child, walk, depth + 1, link));
}

function nodeOf(node: Node, walk: Walk, depth: number, link: boolean): ComponentChildren {
    if (walk.left-- <= 0) return null;
    if (depth > DEPTH) return own(Node, node, "textContent");
    if (node.nodeType === Node.TEXT_NODE) {
        const text = node.textContent ?? "";
        return link ? text : <Plain text={text} context={walk.context} />;
    }
    if (!(node instanceof Element)) return null;
    const tag = node.localName;
    if (DROPPED.has(tag)) return null;
    const inner = (): ComponentChildren[] => children(node, walk, depth, link);
    const attribute = (name: string): string => node.getAttribute(name) ?? "";
    const heading = /^h([1-6])$/.exec(tag);
    if (heading) return <p class="heading">{inner()}</p>;
    switch (tag) {
        case "a": {
            const href = safe(attribute("href"));
            if (!href || link) return inner();
            return <Link href={href} text={node.textContent ?? ""} context={walk.context}>{children(node, walk, depth, true)}</Link>;
        }
        case "pre": {
            const code = node.querySelector("code");
            const lang = /\blanguage-([\w+#-]{1,20})/.exec(code?.className ?? "")?.[1] ?? "";
            return <Code text={(node.textContent ?? "").replace(/\n$/, "")} lang={lang} />;
        }
        case "span":
        case "font":
            if (node.hasAttribute("data-mx-spoiler")) return <Spoiler reason={clean(attribute("data-mx-spoiler"), 80)}>{inner()}</Spoiler>;
            return inner();
        case "img":
            return <span>{clean(attribute("alt") || attribute("title"), 80)}</span>;
        case "ol": {
            const start = Number(attribute("start"));
            return <ol {...(Number.isInteger(start) && start > 0 && { start })}>{inner()}</ol>;
        }
        case "strike":
            return <s>{inner()}</s>;
        case "table":
            return <div class="tb-wrap"><table>{inner()}</table></div>;
        default:
            break;
    }
    if (BLOCKS.has(tag) || INLINE.has(tag)) {
        const Tag = tag as "p";
        return tag === "br" || tag === "hr" ? <Tag /> : <Tag>{inner()}</Tag>;
    }
    return inner();
}

/** A formatted body. */
export function Html({ html, context }: { html: string; context: Context }): JSX.Element {
    const parsed = new DOMParser().parseFromString(policy.createHTML(html), "text/html");
    return <div class="rich">{children(own(Document, parsed, "body"), { left: NODES, context }, 0, false)}</div>;
}

const ONLY_EMOJI = /^(?:\p{RGI_Emoji}|\s){1,12}$/v;
/** One to three emoji and nothing else are shown large. */
export const isBig = (text: string): boolean => text.length < 60 && ONLY_EMOJI.test(text) && [...text.matchAll(/\p{RGI_Emoji}/gv)].length <= 3;
