// Names and texts that come from others, made safe to show beside our own words.

// U+202A–202E and U+2066–2069 turn what follows around; so do the marks. U+00AD and U+200B–200D and U+FEFF hide.
const HIDDEN = /[\u202A-\u202E\u2066-\u2069\u200B\u200E\u200F\u061C\u00AD\uFEFF\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F]/g;

/** A name or file name: no controls of direction, one line, bounded. */
export function clean(text: unknown, most = 200): string {
    if (typeof text !== "string") return "";
    const line = text.replace(HIDDEN, "").replace(/\s+/g, " ").trim();
    return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** The part of a user id that names the person: `@ada:x` → `ada`. */
export const localpart = (id: string): string => /^[@#!+$]([^:]*)/.exec(id)?.[1] ?? id;

/** A text without the quoted lines that old clients put before a reply. */
export function unquoted(body: string): string {
    if (!body.startsWith("> ")) return body;
    const lines = body.split("\n");
    const end = lines.findIndex((line) => !line.startsWith("> ") && line !== ">");
    return end < 0 ? body : lines.slice(lines[end] === "" ? end + 1 : end).join("\n");
}
