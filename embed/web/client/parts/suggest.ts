// What `@`, `#`, `:` and `/` offer, best first.

import { t } from "../i18n/t.ts";
import type { Person, RoomRow } from "../sdk/types.ts";
import { score } from "../stores/score.ts";

export interface Option {
    insert: string;
    label: string;
    note: string;
    mention?: string;
    person?: Person;
    row?: RoomRow;
    sign?: string;
}

const MOST = 8;
const COMMANDS = ["me", "plain", "invite", "kick", "ban", "unban", "topic", "nick", "leave"] as const;

/** The command that a text begins with, and whether there is such a one. Paths (`/etc/hosts`) and `//` begin none. */
export function commandOf(text: string): { name: string; rest: string; known: boolean } | undefined {
    const [whole, name = ""] = /^\/(\p{L}[\p{L}\d_-]*)(?=\s|$)/u.exec(text) ?? [];
    return whole === undefined ? undefined : { name, rest: text.slice(whole.length).trim(), known: COMMANDS.some((each) => each === name) };
}

/** All of them, as one writes them. */
export const commandNames = (): string[] => COMMANDS.map((name) => `/${name}`);

function best<T>(all: readonly T[], term: string, words: (each: T) => string[]): T[] {
    return all
        .map((each, at) => ({ each, at, value: term ? Math.max(...words(each).map((word) => score(word, term))) : 1 }))
        .filter(({ value }) => value > 0)
        .sort((a, b) => b.value - a.value || a.at - b.at)
        .slice(0, MOST)
        .map(({ each }) => each);
}

/** `people`: those who spoke last come first. */
export async function optionsFor(sign: string, term: string, people: readonly Person[], rows: readonly RoomRow[], wakeAll: boolean, members: number): Promise<Option[]> {
    if (sign === "@") {
        const found: Option[] = best(people, term, ({ name, id }) => [name, id.slice(1)]).map((person) => ({
            insert: `@${person.name}`, label: person.name, note: person.id, mention: person.id, person,
        }));
        if (wakeAll && "room".startsWith(term.toLowerCase())) found.push({ insert: "@room", label: "@room", note: t("composer.wake", { n: members }), mention: "@room", sign: "@" });
        return found.slice(0, MOST);
    }
    if (sign === "#") {
        return best(rows.filter(({ alias }) => alias), term, ({ name, alias }) => [name, (alias ?? "").slice(1)]).map((row) => ({
            insert: row.alias ?? "", label: row.name, note: row.alias ?? "", row,
        }));
    }
    if (sign === ":") {
        const { findEmoji } = await import("./emoji-data.ts");
        return (await findEmoji(term, MOST)).map(([emoji, label]) => ({ insert: emoji, label, note: "", sign: emoji }));
    }
    return COMMANDS.filter((name) => name.startsWith(term)).map((name) => ({ insert: `/${name}`, label: `/${name}`, note: t(`command.${name}`), sign: "/" }));
}
