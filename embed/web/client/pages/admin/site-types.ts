// What the admin API says of sites.

export const LOCALES = { en: "English", uk: "Українська", de: "Deutsch", pl: "Polski", ar: "العربية" } as const;
export type Locale = keyof typeof LOCALES;
export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

export interface Figures {
    open: number;
    waiting: number;
    longest_ms: number;
    week: number;
    week_before: number;
    first_answer_ms: number | null;
    by_day: number[];
    rating: number | null;
    ratings: number;
}

export interface Key { kid: string; alg: string }
export interface FormField { name: string; type?: string; required?: boolean; label?: Record<string, string>; options?: string[] }
export type Words = Partial<Record<"title" | "greeting" | "promise" | "away" | "consent", string>>;
export type Weekly = Partial<Record<(typeof DAYS)[number], [string, string][]>>;

/** Settings; what has its usual value is not there. */
export interface Settings {
    name: string;
    origins: string[];
    enabled?: boolean;
    locale?: Locale;
    theme?: { accent?: string; scheme?: "auto" | "light" | "dark"; side?: "start" | "end"; launcher?: string };
    words?: Partial<Record<Locale, Words>>;
    form?: { fields?: FormField[]; consent_url?: string };
    hours?: { tz?: string; weekly?: Weekly; holidays?: string[] };
    offline?: "open" | "form" | "hide";
    identity?: { mode?: "anonymous" | "optional" | "required"; keys?: Key[] };
    room_template?: { name?: string; topic?: string; power_levels?: object; initial_state?: object[] };
    routing?: { mode?: "broadcast" | "round_robin" | "least_open"; requeue_seconds?: number; auto_resolve_hours?: number; new_case_after_hours?: number };
    encryption?: "off" | "on";
    keep_query?: boolean;
    files?: { max_bytes?: number; types?: string[] };
    limits?: { visitors_per_hour?: number; messages_per_minute?: number; files_per_day?: number };
    rating?: boolean;
    persist?: "cookie" | "host";
    accounts?: boolean;
    proof_of_work?: number;
    letters?: { enabled?: boolean; after_minutes?: number };
    canned?: Record<string, string>;
    block_hours?: number;
    visitor_idle_days?: number;
    conversation_days?: number;
}

export interface Site {
    site_id: string;
    name: string;
    enabled: boolean;
    origins: string[];
    created_ts: number;
    /** When a page last showed the chat, and of which origin. */
    seen_ts: number | null;
    seen_origin: string | null;
    figures: Figures;
    removing: { closed: number; error: string | null } | null;
}

export interface WholeSite extends Site {
    settings: Settings;
    desk_id: string;
    agents: { user_id: string; name: string; membership: string }[];
}

/** Those that visitors may send unless the site says others. */
export const FILE_TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm", "application/pdf", "text/plain"];

/** What is changed in an object's members, deeply; lists and simple values whole. Undefined if nothing is. */
export function changes(before: unknown, after: unknown): unknown {
    if (!isObject(before) || !isObject(after)) return JSON.stringify(before) === JSON.stringify(after) ? undefined : after;
    const found: Record<string, unknown> = {};
    for (const key of Object.keys(after)) {
        const change = changes(before[key], after[key]);
        if (change !== undefined) found[key] = change;
    }
    // What is taken away is said to be null.
    for (const key of Object.keys(before)) if (!(key in after)) found[key] = null;
    return Object.keys(found).length ? found : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** `09:00–12:30, 13:00–18:00` as spans; undefined if it cannot be read. */
export function spansOf(text: string): [string, string][] | undefined {
    const spans: [string, string][] = [];
    for (const part of text.split(",").map((each) => each.trim()).filter(Boolean)) {
        const found = /^(\d{1,2})(?::(\d\d))?\s*[–-]\s*(\d{1,2})(?::(\d\d))?$/.exec(part);
        if (!found) return undefined;
        const from = `${(found[1] ?? "").padStart(2, "0")}:${found[2] ?? "00"}`, to = `${(found[3] ?? "").padStart(2, "0")}:${found[4] ?? "00"}`;
        if (from >= to || to > "24:00") return undefined;
        spans.push([from, to]);
    }
    return spans;
}

export const textOf = (spans: readonly [string, string][] | undefined): string => (spans ?? []).map(([from, to]) => `${from}–${to}`).join(", ");
