// What the page was given by the server: the site's settings as far as visitors may know them.

export interface Field {
    name: string;
    type: "text" | "email" | "tel" | "textarea" | "select";
    required: boolean;
    label: Record<string, string>;
    options: string[];
}

export interface Given {
    /** Shown to an administrator, who tells what to show; nothing is asked of the server. */
    preview?: boolean;
    /** Of the page of errors: there is no chat, and none is to be shown. */
    off?: boolean;
    site: string;
    nonce: string;
    origins: string[];
    name: string;
    locale: string;
    accent: string;
    /** The launcher's, where the page says nothing of them: on which side it is, and a word beside its icon. */
    side: "start" | "end";
    launcher: string;
    scheme: "auto" | "light" | "dark";
    words: Record<string, Record<string, string>>;
    form: Field[];
    consent: string;
    hours: { tz: string; weekly: Record<string, [string, string][]> } | null;
    offline: "open" | "form" | "hide";
    open: boolean;
    next: number | null;
    identity: "anonymous" | "optional" | "required";
    files: { max: number; types: string[] };
    rating: boolean;
    /** Whether pages may keep a handle of the session where the browser keeps no cookie. */
    persist: boolean;
    /** Whether the conversation can be kept as an account. */
    accounts: boolean;
    /** Bits of work to do before one is a new visitor. */
    work: number;
    staff: { name: string; here: boolean }[];
}

export const given = JSON.parse(document.getElementById("given")?.textContent ?? "{}") as Given;
