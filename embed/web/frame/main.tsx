// The page inside the frame: takes up what this browser has, listens to the page around, and draws.

import { render } from "preact";
import * as api from "./api.ts";
import { Chat } from "./chat.ts";
import { type Given, given } from "./given.ts";
import { speak, t } from "./i18n/t.ts";
import { connect, tell, type Page } from "./port.ts";
import { App, siteName } from "./ui/App.tsx";
import { bodyOf, plain } from "./timeline.ts";
import { ring } from "./sound.ts";

export const state: { page: Page; jwt: string; draft: string; context: [string, string][]; key: string } = {
    page: { url: "", title: "", locale: "", open: parent === window },
    jwt: "",
    draft: "",
    context: [],
    key: crypto.getRandomValues(new Uint32Array(4)).join("-"),
};
const chat = new Chat();

/** How long what the page says of hours and staff is believed, and when somebody looks whether it is older. */
const BELIEVED_MS = 300_000;
const LOOK_MS = 30_000;
let looked = Date.now();
async function look(): Promise<void> {
    if (!state.page.open || document.visibilityState !== "visible" || Date.now() - looked < BELIEVED_MS) return;
    looked = Date.now();
    await api.renewPage().catch(() => undefined);
    draw();
}

/** How long a page has to give another token; the form waits for it. */
const RENEW_MS = 10_000;
let renewed: (() => void) | null = null;
const expired = (error: unknown): boolean => error instanceof api.Refused && error.reason === "identity_expired";

/** Begin with what the form said; the first message goes out as soon as there is a room. */
async function begin(answers: Record<string, string>, consent: boolean, first: string): Promise<void> {
    if (given.preview) return;
    try {
        await start(answers, consent, first);
    } catch (error) {
        tell("error", { message: error instanceof Error ? error.message : "" });
        throw error;
    }
}

async function start(answers: Record<string, string>, consent: boolean, first: string): Promise<void> {
    await settled;
    const { url, title } = state.page;
    const ask = (): Promise<api.Session> =>
        api.start({ key: state.key, answers, consent, page: url, title, jwt: state.jwt, begin: true });
    const session = await ask().catch(async (error: unknown) => {
        if (!expired(error)) throw error;
        // Who writes late has an old token: the page is asked for another, and the visitor need not know.
        state.jwt = "";
        tell("identity-expired");
        await new Promise<void>((done) => {
            renewed = done;
            setTimeout(done, RENEW_MS);
        });
        renewed = null;
        if (!state.jwt) throw error;
        return ask();
    });
    state.jwt = "";
    remember(JSON.stringify(state.context));
    if (first) chat.outbox.add("m.room.message", { msgtype: "m.text", body: first });
    take(session);
}

/** Go on with a session that this browser has just got, and find out whether it keeps it. */
function take(session: api.Session): void {
    chat.enter(session);
    void api.kept().then((kept) => {
        bare = !kept;
        offer();
        chat.memory = bare && !(keeping && session.keep);
        chat.changed();
    });
}

/** Whether the browser keeps no cookie for us; whether the page would keep a handle then, as the site allows. */
let bare = false;
let keeping = false;
/** What has to be known before anything is begun: who this browser was. */
let settled: Promise<unknown> = Promise.resolve();
const offer = (): void => void (keeping && tell("keep", (bare && api.current()?.keep) || ""));

/** The page has kept a handle, or would. It is not asked for while the browser has the cookie. */
async function hold(before: Promise<unknown>, kept: string): Promise<void> {
    await before;
    keeping = true;
    if (kept && !api.current()) {
        bare = true;
        api.hold(kept);
        try {
            take(await api.resume());
        } catch (error) {
            api.hold("");
            if (!(error instanceof api.Refused && error.status === 401)) return; // it may serve the next time
        }
    }
    offer();
}

/** What the page said last, so that what visitors have changed in the form stays until the page says something else. */
let noted = "";
const NOTED = `context:${given.site}`;

/** Tell staff what the page has come to say since the conversation began. */
async function note(): Promise<void> {
    await settled;
    const said = JSON.stringify(state.context);
    const before = noted || stored(NOTED);
    if (!api.current()?.room_id) return; // the form says it
    if (said !== before) {
        const old = new Map(before ? (JSON.parse(before) as [string, string][]) : []);
        const fresh = state.context.filter(([key, text]) => key.length <= 32 && old.get(key) !== text);
        if (fresh.length) await api.note(Object.fromEntries(fresh));
    }
    remember(said);
}
function remember(said: string): void {
    noted = said;
    try {
        localStorage.setItem(NOTED, said);
    } catch {
        // It is known as long as the page is there.
    }
}
const stored = (key: string): string => {
    try {
        return localStorage.getItem(key) ?? "";
    } catch {
        return "";
    }
};

/** Who one is, on the word of the site. Somebody it has not seen here yet is asked for a first message as all are. */
async function identify(jwt: string | null): Promise<void> {
    await settled;
    if (jwt === null) return reset();
    state.jwt = jwt;
    if (renewed) return renewed();
    try {
        const { url, title } = state.page;
        take(await api.start({ key: state.key, answers: {}, consent: false, page: url, title, jwt, begin: false }));
        state.jwt = "";
    } catch (error) {
        if (error instanceof api.Refused && error.code === "M_NOT_FOUND") return;
        state.jwt = "";
        if (expired(error)) tell("identity-expired");
        else tell("error", { message: error instanceof Error ? error.message : "" });
    }
}

async function reset(): Promise<void> {
    await settled;
    await api.end();
    state.jwt = chat.secret = "";
    state.key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    chat.leave("form");
}

function theme(scheme: string): void {
    const root = document.documentElement;
    if (scheme === "light" || scheme === "dark") root.dataset.theme = scheme;
    else delete root.dataset.theme;
    root.style.setProperty("--acc", given.accent);
}

function hear(name: string, value: unknown): void {
    if (name === "page") {
        const page = value as Page;
        show();
        if (!state.page.url && chat.unread) tell("unread", { count: chat.unread, name: "", text: "" }); // counted before anybody listened
        const open = state.page.open;
        state.page = { url: String(page.url), title: String(page.title), locale: String(page.locale), open: page.open };
        if (!chosen()) void speak(state.page.locale).then(spoken);
        if (open !== page.open) draw();
    } else if (name === "open" || name === "close") {
        state.page.open = name === "open";
        if (state.page.open) chat.read();
        else chat.type(false);
        if (state.page.open && chat.phase === "blocked") void resume();
        void look();
        draw();
        if (state.page.open) requestAnimationFrame(() => document.querySelector<HTMLElement>("textarea, input, button.go")?.focus());
    } else if (name === "user") void identify(typeof value === "string" ? value : null);
    else if (name === "kept") {
        if (given.persist) settled = hold(settled, String(value));
    } else if (name === "secret") chat.secret = String(value);
    else if (name === "context") {
        const said = JSON.parse(String(value)) as Record<string, unknown>;
        state.context = Object.entries(said).slice(0, 20).map(([key, text]) => [key, String(text).slice(0, 200)]);
        draw();
        void note().catch(() => undefined); // the next time it is said it is told
    } else if (name === "locale") void speak(String(value)).then(spoken);
    else if (name === "theme") theme(String(value));
    else if (name === "draft") {
        state.draft = String(value).slice(0, 4_000);
        draw();
    } else if (name === "reset") void reset();
}

/** The language that the visitor has chosen in the menu. */
export const chosen = (): string => stored("locale");

export function draw(): void {
    const root = document.getElementById("chat");
    if (root) render(<App chat={chat} state={state} begin={begin} reset={reset} redraw={spoken} />, root);
}

/** What the page around shows of us: how the launcher looks, and what the frame is called. */
const show = (): void => tell("look", { accent: given.accent, side: given.side, launcher: given.launcher, title: `${siteName()} · ${t("messages")}` });
const spoken = (): void => (draw(), show());

chat.onreturn = () => {
    const { url, title } = state.page;
    return api.start({ key: state.key, answers: {}, consent: false, page: url, title, jwt: "", begin: true });
};
chat.onleave = () => {
    state.draft = "";
    state.context = [];
    remember("");
    if (keeping) tell("keep", "");
};
api.onsession(offer);
let told = "";
chat.onmessage = (event, fresh) => {
    if (!fresh) return;
    const mine = event.sender === chat.me;
    tell("message", { mine });
    if (mine || (state.page.open && document.visibilityState === "visible")) return;
    ring();
    const text = plain(bodyOf(event.content)).slice(0, 140);
    tell("unread", { count: chat.unread, name: chat.nameOf(event.sender), text });
};
chat.listen(() => {
    if (state.page.open && document.visibilityState === "visible" && chat.phase === "chat") chat.read();
    if (`${chat.unread}` !== told) tell("unread", { count: chat.unread, name: "", text: "" });
    told = `${chat.unread}`;
    tell("status", chat.status);
});
document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && state.page.open) chat.read();
    void look();
});
/** The keyboard goes round in the chat, as in dialogs; Esc leads out of it. */
function goRound(event: KeyboardEvent): void {
    const around = document.querySelector("dialog[open]") ?? document;
    const all = [...around.querySelectorAll<HTMLElement>("a[href], button, input, select, textarea, audio, video, [tabindex]")];
    const stops = all.filter((each) => each.tabIndex >= 0 && !each.matches(":disabled") && each.getClientRects().length);
    if (event.shiftKey) stops.reverse();
    if (document.activeElement !== stops.slice(-1)[0]) return;
    event.preventDefault();
    stops[0]?.focus();
}
addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) tell("close");
    else if (event.key === "Tab") goRound(event);
});

/** Show what the page around us says, which is one of this server's own. */
function preview(): void {
    addEventListener("message", ({ source, origin, data }: MessageEvent<{ preview?: Partial<Given>; theme?: string }>) => {
        if (source !== parent || origin !== location.origin || !data.preview) return;
        Object.assign(given, data.preview);
        theme(data.theme ?? "light");
        chat.phase = "form";
        void speak(given.locale).then(draw);
    });
    parent.postMessage("hromada:preview", location.origin);
}

/** Go on with what this browser has. */
const resume = (): Promise<void> =>
    api.resume().then(
        (session) => chat.enter(session),
        (error: unknown) => {
            if (api.blocked(error)) return chat.shut();
            chat.phase = chat.phase === "loading" ? "form" : chat.phase;
            chat.changed();
        },
    );

function run(): void {
    theme(given.scheme);
    connect(hear);
    setInterval(() => void look(), LOOK_MS);
    void speak(chosen() || navigator.language).then(spoken);
    draw();
    settled = resume();
}

if (given.preview) preview();
else run();
