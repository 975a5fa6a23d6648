// What was written, as the content of a message.

import { matrixLink } from "../routes.ts";
import type { Mention } from "../stores/drafts.ts";

/** Text that may hold Markdown; anything else is sent as it is and marked is not even loaded. */
const MARKS = /[*_~`\[\]|>#]|^\s*(?:[-+]|\d+[.)])\s/m;
const BLOCK = /^(?:\s{0,3}(?:>|#{1,6}\s|[-*+]\s|\d+[.)]\s|```|~~~)|\s*\|)/m;

const escape = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
export const mentionLink = (id: string): string => `https://matrix.to/#/${encodeURIComponent(id).replace(/%3A/g, ":").replace(/%40/g, "@")}`;

const named = (text: string, mentions: readonly Mention[]): Mention[] => mentions.filter(({ id, text: name }) => id !== "@room" && text.includes(name));
/** Whether it takes Markdown to send this. */
export const hasMarks = (text: string, mentions: readonly Mention[]): boolean => MARKS.test(text) || named(text, mentions).length > 0;
/** While the first mark is written, so that it is there when the message goes, with a connection or without. */
export const fetchMarkdown = (): void => void import("./markdown.ts").catch(() => undefined);

/** Markdown and mentions as HTML; undefined if that says no more than the text. */
export async function formatted(text: string, mentions: readonly Mention[]): Promise<string | undefined> {
    if (!hasMarks(text, mentions)) return undefined;
    const people = named(text, mentions);
    // Mentions are taken out first, so that no mark in a name is taken for Markdown.
    let marked = text;
    const held: string[] = [];
    for (const { text: name, id } of people.sort((a, b) => b.text.length - a.text.length)) {
        marked = marked.split(name).join(`\uE000${held.length}\uE001`);
        held.push(`<a href="${mentionLink(id)}">${escape(name.replace(/^@/, ""))}</a>`);
    }
    // Without a connection it may not be there yet: then the marks are sent as they were written.
    const markdown = await import("./markdown.ts").then((module) => module.markdown, () => undefined);
    if (!markdown) return undefined;
    const made = markdown(marked, BLOCK.test(text)).replace(/\uE000(\d+)\uE001/g, (_, at: string) => held[Number(at)] ?? "");
    return made === escape(text).replace(/\n/g, "<br>") || made === escape(text) ? undefined : made;
}

const unescape = (text: string): string => text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code))).replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&");

/** A text by pieces: what is between mentions, and the mentions. Of two that begin at one place, the longer one. */
export function pieces(text: string, mentions: readonly Mention[]): { text: string; mention: boolean }[] {
    const names = mentions.map((each) => each.text).filter((name) => name !== "" && text.includes(name)).sort((a, b) => b.length - a.length);
    if (names.length === 0) return [{ text, mention: false }];
    const any = new RegExp(`(${names.map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})`, "u");
    return text.split(any).map((piece, at) => ({ text: piece, mention: at % 2 === 1 })).filter((piece) => piece.text !== "");
}

/** The mentions in a message of one's own that is to be changed, as they stand in its text. */
export function mentionsIn(text: string, html: string | undefined, room: boolean): Mention[] {
    const found: Mention[] = room && text.includes("@room") ? [{ text: "@room", id: "@room" }] : [];
    for (const [, href = "", inner = ""] of (html ?? "").matchAll(/<a href="([^"]+)">([^<]+)<\/a>/g)) {
        const to = matrixLink(unescape(href)), name = unescape(inner).replace(/^@/, "");
        const stands = [`@${name}`, name].find((each) => text.includes(each));
        if (stands && to?.page === "person") found.push({ text: stands, id: to.user });
    }
    return found;
}

/** So many bytes fit into an event, with what stands around them. */
const LONGEST = 60_000;
/** Whether it is more than one message holds. Marks are sent beside what is made of them, and encryption takes a third. */
export const tooLong = (text: string, marked: boolean, encrypted: boolean): boolean =>
    new TextEncoder().encode(JSON.stringify(text)).length * (marked ? 2 : 1) * (encrypted ? 4 / 3 : 1) > LONGEST;

export interface Written {
    text: string;
    mentions: readonly Mention[];
    /** Those whom the message mentioned before it is changed: they have been told. */
    told?: readonly Mention[];
    reply: { id: string; sender: string | undefined } | undefined;
    thread: { root: string; last: string | undefined } | undefined;
    edit: string | undefined;
}

type Content = Record<string, unknown>;

/** The content to send. A `/me` makes an emote, `/plain` sends the marks as they are. */
export async function contentOf(written: Written): Promise<Content> {
    const emote = written.text.startsWith("/me ");
    const plain = written.text.startsWith("/plain ");
    const text = (emote ? written.text.slice(4) : plain ? written.text.slice(7) : written.text.startsWith("//") ? written.text.slice(1) : written.text).trim();
    const html = plain ? undefined : await formatted(text, written.mentions);
    const user_ids = [...new Set(named(text, written.mentions).map(({ id }) => id))];
    if (written.reply?.sender && !user_ids.includes(written.reply.sender)) user_ids.push(written.reply.sender);
    const room = written.mentions.some(({ id }) => id === "@room") && text.includes("@room");
    const content: Content = {
        msgtype: emote ? "m.emote" : "m.text",
        body: text,
        ...(html && { format: "org.matrix.custom.html", formatted_body: html }),
        "m.mentions": { ...(user_ids.length > 0 && { user_ids }), ...(room && { room: true }) },
    };
    if (written.edit) {
        const known = new Set(written.told?.map(({ id }) => id));
        const fresh = user_ids.filter((id) => !known.has(id));
        const mentions = { ...(fresh.length > 0 && { user_ids: fresh }), ...(room && !known.has("@room") && { room }) };
        return { ...content, body: `* ${text}`, ...(html && { formatted_body: `* ${html}` }), "m.mentions": mentions, "m.new_content": content, "m.relates_to": { rel_type: "m.replace", event_id: written.edit } };
    }
    if (written.thread) {
        const to = written.reply?.id ?? written.thread.last ?? written.thread.root;
        content["m.relates_to"] = { rel_type: "m.thread", event_id: written.thread.root, is_falling_back: !written.reply, "m.in_reply_to": { event_id: to } };
    } else if (written.reply) {
        content["m.relates_to"] = { "m.in_reply_to": { event_id: written.reply.id } };
    }
    return content;
}
