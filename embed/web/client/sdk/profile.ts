// What there is to know of a person beside their name: pronouns, where it is how late, the rooms one has in common. Loaded
// by who shows or changes it.

import type { Method } from "matrix-js-sdk/lib/http-api/method.js";
import type { Engine } from "./engine.ts";
import type { Ask } from "./loudness.ts";
import { clean } from "./text.ts";

type Json = Record<string, unknown>;

/** Not in the specification yet: clients that know it use this name, in lists of one entry per language. MSC4247 */
export const PRONOUNS = "io.fsky.nyx.pronouns";
/** spec: client-server-api#profiles */
export const ZONE = "m.tz";
const LONGEST = 60;

export interface About {
    pronouns: string;
    /** A zone that this browser knows; empty if there is none. */
    zone: string;
}

interface Pronoun {
    language: string;
    summary: string;
}
const pronounsOf = (profile: Json): Pronoun[] => {
    const found = profile["m.pronouns"] ?? profile[PRONOUNS];
    return (Array.isArray(found) ? (found as Partial<Pronoun>[]) : []).flatMap((each) =>
        typeof each?.summary === "string" && clean(each.summary, LONGEST) ? [{ ...each, language: String(each.language), summary: clean(each.summary, LONGEST) }] : [],
    );
};

function known(zone: unknown): string {
    try {
        return typeof zone === "string" && zone ? (new Intl.DateTimeFormat("en", { timeZone: zone }), zone) : "";
    } catch {
        return "";
    }
}

/** What is said in `language`, or else in the first language there is. */
export function aboutOf(profile: Json, language: string): About {
    const said = pronounsOf(profile);
    return { pronouns: (said.find((each) => each.language === language) ?? said[0])?.summary ?? "", zone: known(profile[ZONE]) };
}

/** All fields of somebody's profile. Throws ApiError. */
export const profileOf = (ask: Ask, user: string): Promise<Json> => ask("GET", `/profile/${encodeURIComponent(user)}`) as Promise<Json>;

/** Change one's own; what is said in other languages stays. Throws ApiError. */
export async function setAbout(ask: Ask, user: string, before: Json, language: string, now: About): Promise<void> {
    const put = (field: string, value: unknown): Promise<unknown> => {
        const path = `/profile/${encodeURIComponent(user)}/${field}`;
        return value ? ask("PUT", path, { [field]: value }) : ask("DELETE", path);
    };
    const was = aboutOf(before, language);
    if (now.zone !== was.zone) await put(ZONE, now.zone);
    const summary = clean(now.pronouns, LONGEST);
    if (summary === was.pronouns) return;
    const others = pronounsOf(before).filter((each) => each.language !== language);
    const all = summary ? [{ language, summary }, ...others] : others;
    await put(PRONOUNS, all.length > 0 ? all : undefined);
}

/** Browsers name some zones as they were called long ago. */
const NOW: Record<string, string> = {
    "Africa/Asmera": "Africa/Asmara", "America/Godthab": "America/Nuuk", "Asia/Calcutta": "Asia/Kolkata", "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon", "Asia/Saigon": "Asia/Ho_Chi_Minh", "Atlantic/Faeroe": "Atlantic/Faroe", "Europe/Kiev": "Europe/Kyiv",
    "Pacific/Enderbury": "Pacific/Kanton", "Pacific/Ponape": "Pacific/Pohnpei", "Pacific/Truk": "Pacific/Chuuk",
};
const renamed = (zone: string): string => known(NOW[zone]) || zone;

/** The zones that this browser knows, and its own. */
export const zones = (): string[] => [...new Set([...Intl.supportedValuesOf("timeZone").map(renamed), "UTC"])].sort();
export const here = (): string => renamed(Intl.DateTimeFormat().resolvedOptions().timeZone);

/** The rooms that one shares with somebody, by their ids; none where the server does not say. */
export async function roomsWith(engine: Engine, user: string): Promise<string[]> {
    const rooms: string[] = [];
    let from: string | undefined;
    try {
        do {
            const query = { user_id: user, ...(from && { from }) };
            const { joined, next_batch } = await engine.client.http.authedRequest<{ joined: string[]; next_batch?: string }>("GET" as Method.Get, "/mutual_rooms", query, undefined, { prefix: "/_matrix/client/v1" });
            rooms.push(...joined);
            from = next_batch;
        } while (from);
    } catch {
        // another server, or oneself
    }
    return rooms;
}
