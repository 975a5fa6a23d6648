// Routes live in the fragment: room ids never reach a server's log, and no rewrite rule is needed.

import { computed, signal } from "@preact/signals";

export type Route =
    | { page: "home" }
    | { page: "login" | "register" | "forgot" }
    | { page: "sso"; token: string }
    | { page: "verify" | "recovery" | "unlock" }
    | { page: "room"; room: string; event: string | undefined; via: string[]; panel: string | undefined }
    | { page: "explore"; query: string; server: string | undefined }
    | { page: "invites" | "new" }
    | { page: "search"; query: string; room: string | undefined }
    | { page: "settings"; tab: string }
    | { page: "admin"; tab: string; id?: string | undefined };

/** Read a fragment (`#/room/…`) or a link of matrix.to's or `matrix:`'s form. Unknown ones are home. */
export function parse(fragment: string): Route {
    const [path = "", query = ""] = fragment.replace(/^#?\/?/, "").split("?");
    const parts = path.split("/").map(decode);
    const values = new URLSearchParams(query);
    const get = (name: string): string | undefined => values.get(name) ?? undefined;
    const [page, first, second] = parts;
    switch (page) {
        case "login":
        case "register":
        case "forgot":
        case "verify":
        case "recovery":
        case "unlock":
        case "invites":
        case "new":
            return { page };
        case "sso":
            return { page, token: get("loginToken") ?? "" };
        case "room":
            return first ? { page, room: first, event: second || undefined, via: values.getAll("via"), panel: get("panel") } : { page: "home" };
        case "explore":
            return { page, query: get("q") ?? "", server: get("server") };
        case "search":
            return { page, query: get("q") ?? "", room: get("in") };
        case "settings":
            return { page, tab: first || "profile" };
        case "admin":
            return { page, tab: first || "users", id: second || undefined };
        default:
            return { page: "home" };
    }
}

function decode(part: string): string {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

const enc = (part: string): string => encodeURIComponent(part).replace(/%3A/g, ":").replace(/%40/g, "@").replace(/%24/g, "$").replace(/%21/g, "!");

/** The fragment of a route. */
export function format(route: Route): string {
    const query = new URLSearchParams();
    const add = (name: string, value: string | undefined): void => {
        if (value) query.set(name, value);
    };
    let path: string;
    switch (route.page) {
        case "home":
            path = "";
            break;
        case "room":
            path = `room/${enc(route.room)}${route.event ? `/${enc(route.event)}` : ""}`;
            for (const via of route.via) query.append("via", via);
            add("panel", route.panel);
            break;
        case "explore":
            path = "explore";
            add("q", route.query);
            add("server", route.server);
            break;
        case "search":
            path = "search";
            add("q", route.query);
            add("in", route.room);
            break;
        case "settings":
            path = `settings/${route.tab}`;
            break;
        case "admin":
            path = `admin/${route.tab}${route.id ? `/${enc(route.id)}` : ""}`;
            break;
        default:
            path = route.page;
    }
    const tail = query.toString();
    return `#/${path}${tail ? `?${tail}` : ""}`;
}

/** A link to a room, person or event (matrix.to or `matrix:`), as a route; undefined for every other address. */
export function matrixLink(address: string): Route | { page: "person"; user: string } | undefined {
    const to = /^https:\/\/matrix\.to\/#\/([^/?]+)(?:\/([^?]+))?(?:\?(.*))?$/.exec(address);
    if (to) {
        const id = decode(to[1] ?? ""), event = to[2] ? decode(to[2]) : undefined;
        return target(id, event, new URLSearchParams(to[3] ?? "").getAll("via"));
    }
    const uri = /^matrix:(u|r|roomid)\/([^/?]+)(?:\/e\/([^?]+))?(?:\?(.*))?$/.exec(address);
    if (uri) {
        const sign = { u: "@", r: "#", roomid: "!" }[uri[1] ?? ""] ?? "";
        return target(sign + decode(uri[2] ?? ""), uri[3] ? `$${decode(uri[3])}` : undefined, new URLSearchParams(uri[4] ?? "").getAll("via"));
    }
    return undefined;
}

function target(id: string, event: string | undefined, via: string[]): Route | { page: "person"; user: string } | undefined {
    if (id.startsWith("@")) return { page: "person", user: id };
    if (id.startsWith("#") || id.startsWith("!")) return { page: "room", room: id, event, via, panel: undefined };
    return undefined;
}

/** A link to share: everybody's browser understands matrix.to. */
export const shareLink = (room: string, event?: string, via: string[] = []): string =>
    `https://matrix.to/#/${enc(room)}${event ? `/${enc(event)}` : ""}${via.length ? `?${via.map((server) => `via=${server}`).join("&")}` : ""}`;

export const route = signal<Route>(parse(globalThis.location?.hash ?? ""));
globalThis.addEventListener?.("hashchange", () => (route.value = parse(location.hash)));

export const openRoom = computed(() => (route.value.page === "room" ? route.value.room : undefined));

/** Go somewhere; `replace` leaves no step back. */
export function go(to: Route, replace = false, state: unknown = null): void {
    const fragment = format(to);
    try {
        if (replace) history.replaceState(state, "", fragment);
        else if (location.hash !== fragment) history.pushState(null, "", fragment);
    } catch {
        // Safari throws where others only drop what comes too often
    }
    route.value = to;
    if (location.hash !== fragment) amend();
}

const AMEND_MS = 2_000;
let amending: ReturnType<typeof setTimeout> | undefined;

/** Browsers take 200 steps in 10 s and drop the rest: who walks faster sees the room, and its address follows later. */
function amend(): void {
    amending ??= setTimeout(() => {
        amending = undefined;
        const fragment = format(route.value);
        if (location.hash !== fragment) go(route.value, true);
    }, AMEND_MS);
}

/** Links within the client are followed here, not by the browser, which drops them too when they come too often. */
globalThis.document?.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    const fragment = link?.getAttribute("href") ?? "";
    if (!link || link.target || link.hasAttribute("download") || !fragment.startsWith("#/")) return;
    event.preventDefault();
    go(parse(fragment));
});

export const roomRoute = (room: string, event?: string): Route => ({ page: "room", room, event, via: [], panel: undefined });

/** Where a pane fills the window, what lies under it is a step of the history: Back closes one. */
const alone = (): boolean => globalThis.matchMedia?.("(width < 640px)").matches ?? false;
const TABS = ["details", "members", "settings"];

/**
 * How the history changes when `now` is to be the pane above `under`, the panes that lie below the one that is shown:
 * so many steps back, or a new step, or none.
 */
export function pane(under: readonly string[], shown: string, now: string): number | "push" | "replace" {
    const at = under.lastIndexOf(now);
    if (at >= 0) return at - under.length;
    return now && !(TABS.includes(shown) && TABS.includes(now)) ? "push" : "replace";
}

/** Open, change or close the panel of the open room. */
export function panel(value: string | undefined): void {
    const now = route.value;
    if (now.page !== "room") return;
    const to = { ...now, panel: value };
    const under = (history.state as { under?: string[] } | null)?.under ?? [];
    const step = pane(under, now.panel ?? "", value ?? "");
    if (typeof step === "number") {
        route.value = to; // shown at once; the address comes with the step
        history.go(step);
    } else if (step === "push" && alone()) {
        history.pushState({ under: [...under, now.panel ?? ""] }, "", format(to));
        route.value = to;
    } else {
        go(to, true, history.state);
    }
}
