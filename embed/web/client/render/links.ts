// Addresses, user ids and room aliases in plain text.

import { tokenize } from "linkifyjs";
import { clean } from "../sdk/text.ts";

export type Piece = { kind: "text"; text: string } | { kind: "link"; text: string; href: string } | { kind: "id"; text: string };

const ID = /(^|[\s(])([@#][A-Za-z0-9._=/+-]{1,100}:[A-Za-z0-9.-]+(?::\d{1,5})?)(?=$|[\s),.;!?])/g;
const MOST = 20_000;

/** The text in pieces. */
export function pieces(text: string): Piece[] {
    if (text.length > MOST || !/[.@#:]/.test(text)) return [{ kind: "text", text }];
    const found: Piece[] = [];
    let from = 0;
    for (const match of text.matchAll(ID)) {
        const start = match.index + (match[1]?.length ?? 0);
        found.push(...linked(text.slice(from, start)), { kind: "id", text: match[2] ?? "" });
        from = start + (match[2]?.length ?? 0);
    }
    found.push(...linked(text.slice(from)));
    return found;
}

function linked(text: string): Piece[] {
    if (!text) return [];
    const made: Piece[] = [];
    for (const token of tokenize(text)) {
        const last = made.at(-1);
        const href = token.isLink ? safe(token.toHref("https")) : undefined;
        if (href) made.push({ kind: "link", text: token.toString(), href });
        else if (last?.kind === "text") last.text += token.toString();
        else made.push({ kind: "text", text: token.toString() });
    }
    return made;
}

/** The address if it may be followed; undefined for every scheme but the harmless ones. */
export function safe(address: string): string | undefined {
    const text = address.replace(/[\u0000-\u0020\u007F\u202A-\u202E\u2066-\u2069]/g, (sign) => (sign === " " ? "%20" : ""));
    try {
        const url = new URL(text);
        return ["http:", "https:", "mailto:", "matrix:"].includes(url.protocol) ? url.href : undefined;
    } catch {
        return undefined;
    }
}

/** The host to put behind a link whose text names another one. */
export function otherHost(text: string, href: string): string | undefined {
    const named = /^(?:https?:\/\/)?([\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+)/u.exec(text.trim())?.[1]?.toLowerCase();
    if (!named) return undefined;
    const { host, hostname } = new URL(href);
    let same: string;
    try {
        same = new URL(`https://${named}`).hostname;
    } catch {
        same = named;
    }
    return same.replace(/^www\./, "") === hostname.replace(/^www\./, "") ? undefined : clean(host, 80);
}
