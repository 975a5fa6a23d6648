// A launcher, and a frame with the chat in it once somebody opens it.
//
// Loading it costs one request: no cookie, no storage, no account. It works on pages with the strictest policies
// (no inline styles, Trusted Types), and touches nothing of the page but one element and one global, `hromadaChat`.
// The frame is the only thing it talks to, over a port that is given to the frame's own origin and to nobody else.

type Listener = (detail: unknown) => void;
type Command = { m: string; v?: unknown };
/** What pages call. */
export type Api = Record<string, (...values: never[]) => unknown>;
/** What a page says of itself: attributes of the script's tag, `data-…`, or what it mounts the chat with. */
export type Options = Partial<Record<"site" | "accent" | "side" | "launcher" | "locale" | "persist", string>>;

const NAME = "hromada-chat";
const COLOUR = /^#[0-9a-f]{6}$/i;
const EVENTS = /^(message|identity-expired|status|error)$/;
const WORDS: Record<string, [open: string, close: string, unread: string, failed: string]> = {
    en: ["Open the chat", "Close the chat", "new messages", "No connection"],
    uk: ["Відкрити чат", "Закрити чат", "нових повідомлень", "Немає з’єднання"],
    de: ["Chat öffnen", "Chat schließen", "neue Nachrichten", "Keine Verbindung"],
    pl: ["Otwórz czat", "Zamknij czat", "nowych wiadomości", "Brak połączenia"],
    ar: ["فتح المحادثة", "إغلاق المحادثة", "رسائل جديدة", "لا يوجد اتصال"],
};
const CHAT = "M7.9 20A9 9 0 1 0 4 16.1L2 22ZM8 12h.01M12 12h.01M16 12h.01";
const DOWN = "m6 9 6 6 6-6";
const SHEET = `
:host{all:initial!important;position:fixed!important;z-index:var(--hromada-z,2147483000)!important;bottom:var(--hromada-bottom,1.25rem)!important;inset-inline-end:var(--hromada-side,1.25rem)!important;display:block!important;--a:var(--hromada-accent,#2B58D8);font:400 15px/22px system-ui,sans-serif!important;color-scheme:light dark!important}
:host([data-side=start]){inset-inline:var(--hromada-side,1.25rem) auto!important}
:host([hidden]){display:none!important}
button{all:unset;box-sizing:border-box;cursor:pointer}
.l{width:fit-content;height:56px;padding:0 15px;border-radius:28px;background:var(--a);color:#fff;font-weight:600;display:grid;grid-auto-flow:column;gap:8px;place-items:center;margin-inline-start:auto;position:relative;box-shadow:0 6px 20px rgb(0 0 0/.22);transition:transform .18s}
:host([data-side=start]) .l{margin-inline:0 auto}
.w{max-width:50vw}
.l:hover{transform:translateY(-2px)}
.l:focus-visible{outline:3px solid var(--a);outline-offset:3px}
.l svg{width:26px;height:26px;fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.b{position:absolute;top:-2px;inset-inline-end:-2px;min-width:20px;height:20px;box-sizing:border-box;padding-inline:5px;border-radius:10px;background:#C2352C;color:#fff;box-shadow:0 0 0 2px #fff;font:600 12px/20px system-ui,sans-serif;text-align:center}
.t{display:flex;gap:8px;margin-bottom:14px;max-width:272px;box-sizing:border-box;padding:12px 36px 12px 14px;border-radius:16px;background:#fff;color:#1F1C17;font-size:14px;line-height:20px;box-shadow:0 4px 12px rgb(60 48 24/.2);position:relative;overflow-wrap:anywhere}
.t b{display:block;font-weight:600}
.x{position:absolute;top:4px;inset-inline-end:6px;width:24px;height:24px;text-align:center;color:#5C564B}
iframe{all:unset;display:block;width:384px;height:640px;max-width:calc(100vw - 2.5rem);max-height:calc(100vh - 7rem);max-height:calc(100dvh - 7rem);border-radius:18px;overflow:hidden;margin-bottom:14px;background:#fff;box-shadow:0 24px 64px rgb(60 48 24/.25)}
[hidden]{display:none!important}
@media (max-width:479px){:host([data-open]){inset:var(--y,0) 0 0!important}:host([data-open]) .l{position:absolute;inset:auto 1.25rem 1.25rem auto}:host([data-here][data-open]) .l{display:none}iframe{width:100vw;height:var(--h,100vh);max-width:none;max-height:none;border-radius:0;margin:0}}
@media (prefers-color-scheme:dark){.t,iframe{background:#1F1E1B;color:#EFEBE4}.x{color:#B5AEA2}}
@media (prefers-reduced-motion:reduce){.l{transition:none}}
@media (forced-colors:active){.l{border:2px solid ButtonText}}
@media print{:host{display:none!important}}`;

const fresh = globalThis as { hromadaChat?: Api & { q?: unknown[][] } };

/** Put the chat of a site into the page, from the server at `base`; what is there already stays, and is given. */
export const start = (base: string, given: Options): Api => {
    if (customElements.get(NAME)) return fresh.hromadaChat!;
    const view = window.visualViewport;

    const make = <K extends keyof HTMLElementTagNameMap>(tag: K, name = "", ...inside: (Node | string)[]): HTMLElementTagNameMap[K] => {
        const element = document.createElement(tag);
        element.className = name;
        element.append(...inside);
        return element;
    };
    // Hidden from nobody: what is inside a button with a label is read to nobody.
    const drawn = (tag: string, attribute: string, value: string): Element => {
        const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
        element.setAttribute(attribute, value);
        return element;
    };
    const icon = (path: string): Element => {
        const svg = drawn("svg", "viewBox", "0 0 24 24");
        svg.append(drawn("path", "d", path));
        return svg;
    };
    /**
     * What is kept for the next page of this tab, and only after the chat was opened: whether it was left open. And what
     * lasts, where site and page want that: a handle of the visitor's session.
     */
    const keep = (state: string | null, lasts = false): string | null => {
        const key = `hromada:${given.site}`;
        try {
            const store = lasts ? localStorage : sessionStorage;
            if (state === null) return store.getItem(key) ?? "";
            if (state) store.setItem(key, state);
            else store.removeItem(key);
        } catch {
            // Storage is denied: the next page begins closed.
        }
        return null;
    };

    let listeners: Record<string, Set<Listener>> = {};
    const tell = (name: string, detail?: unknown): void => {
        for (const listener of listeners[name] ?? []) {
            try {
                listener(detail);
            } catch (error) {
                setTimeout(() => {
                    throw error;
                });
            }
        }
    };
    const language = (): string => (given.locale || document.documentElement.lang || navigator.language).slice(0, 2).toLowerCase();
    let chat: Chat | null = null;

    class Chat extends HTMLElement {
        #root = this.attachShadow({ mode: "closed" });
        #button = make("button", "l");
        #tease = make("div", "t");
        #frame: HTMLIFrameElement | null = null;
        #port: MessagePort | null = null;
        #waiting: Command[] = [];
        #unread = 0;
        #last = location.href;
        open_ = false;

        connectedCallback(): void {
            if (this.#button.isConnected) return;
            try {
                const sheet = new CSSStyleSheet();
                sheet.replaceSync(SHEET);
                this.#root.adoptedStyleSheets = [sheet];
            } catch {
                this.#root.append(make("style", "", SHEET)); // browsers without constructable sheets
            }
            this.#button.part.add("launcher");
            this.#button.setAttribute("aria-haspopup", "dialog");
            this.#button.onclick = () => this.toggle();
            this.#tease.hidden = true;
            this.#root.append(this.#tease, this.#button);
            this.draw();
            addEventListener("message", this.#hear);
            this.#watch("addEventListener");
        }

        /** Pages that go elsewhere without loading anew. */
        #watch(act: "addEventListener" | "removeEventListener"): void {
            globalThis[act]("popstate", this.#moved);
            (globalThis as { navigation?: EventTarget }).navigation?.[act]("currententrychange", this.#moved);
            view?.[act]("resize", this.#fit);
            view?.[act]("scroll", this.#fit);
            this.#fit();
        }

        /** A keyboard on the screen covers the page and does not make it smaller; one that is zoomed stays as it was. */
        #fit = (): void => {
            if (view?.scale !== 1) return;
            this.style.setProperty("--h", `${view.height}px`);
            this.style.setProperty("--y", `${view.offsetTop}px`);
        };

        /** Taken out of the page for good: turbo and the like put the same element back at once. */
        disconnectedCallback(): void {
            setTimeout(() => {
                if (!this.isConnected && chat === this) document.body?.append(this);
            });
        }

        end(): void {
            removeEventListener("message", this.#hear);
            this.#watch("removeEventListener");
            this.#port?.close();
            this.remove();
        }

        toggle(open = !this.open_): void {
            if (open === this.open_) return;
            this.open_ = open;
            keep(open ? "open" : "closed");
            this.toggleAttribute("data-open", open);
            if (open) this.load();
            if (this.#frame) this.#frame.hidden = !open;
            this.#tease.hidden = true;
            this.send({ m: open ? "open" : "close" });
            this.draw();
            if (open) this.#frame?.focus();
            else this.#button.focus();
            tell(open ? "open" : "close");
        }

        load(): void {
            if (this.#frame) return;
            const frame = make("iframe");
            const gone = (): void => void (this.#frame === frame && !this.#port && this.#fail());
            this.#frame = frame;
            frame.hidden = !this.open_;
            frame.title = this.#words()[0];
            frame.referrerPolicy = "strict-origin";
            frame.allow = "clipboard-write"; // and nothing else: frames of other origins get what is named here
            // The frame says that it is there before it has loaded; whatever else was loaded cannot even be closed.
            frame.onload = () => setTimeout(gone, 2_000);
            setTimeout(gone, 40_000);
            frame.src = `${base}/_embed/frame/${encodeURIComponent(given.site ?? "")}`;
            this.#root.insertBefore(frame, this.#tease);
        }

        /** Take the frame away; the next opening begins anew. */
        #drop(): void {
            this.#frame?.remove();
            this.#port?.close();
            this.#frame = this.#port = null;
            this.toggleAttribute("data-here", false);
        }

        #fail(): void {
            const seen = this.open_;
            this.#drop();
            this.toggle(false);
            if (seen) this.#show("", this.#words()[3]);
            tell("error", { message: "offline" });
        }

        send(command: Command): void {
            if (this.#port) this.#port.postMessage(command);
            else if (this.#waiting.length < 100) this.#waiting.push(command);
        }

        #words = () => WORDS[language()] ?? WORDS.en!;

        draw(): void {
            const [open, close, unread] = this.#words();
            const news = this.#unread && !this.open_;
            const word = !this.open_ && given.launcher;
            this.#button.replaceChildren(icon(this.open_ ? DOWN : CHAT));
            if (word) this.#button.append(make("span", "w", word));
            if (news) this.#button.append(make("span", "b", this.#unread > 99 ? "99+" : `${this.#unread}`));
            this.#button.setAttribute("aria-expanded", `${this.open_}`);
            this.#button.setAttribute("aria-label", this.open_ ? close : (word || open) + (news ? `, ${this.#unread} ${unread}` : ""));
            this.dir = language() === "ar" ? "rtl" : "";
            const accent = given.accent ?? "";
            if (COLOUR.test(accent)) this.style.setProperty("--hromada-accent", accent);
            if (given.side === "start") this.dataset.side = "start";
        }

        /** The frame says that it is there. Only it, and only from where we loaded it. */
        #hear = (event: MessageEvent): void => {
            if (!this.#frame || event.source !== this.#frame.contentWindow || event.origin !== base) return;
            if (event.data === "hromada:off") {
                // There is no chat for this site: nothing is shown, and on the next page of this tab nothing to begin with.
                this.#drop();
                this.toggle(false);
                keep("off");
                this.hidden = true;
            }
            if (event.data !== "hromada:hello") return;
            if (keep(null) === "off") this.hidden = Boolean(keep("closed"));
            this.toggleAttribute("data-here", true);
            this.#port?.close();
            const { port1, port2 } = new MessageChannel();
            this.#port = port1;
            port1.onmessage = ({ data }) => this.#told(data as Command);
            this.#frame.contentWindow!.postMessage("hromada:port", base, [port2]);
            const kept = given.persist === "host" ? keep(null, true) : null;
            if (kept !== null) this.send({ m: "kept", v: kept });
            this.#page();
            for (const command of this.#waiting.splice(0)) this.send(command);
        };

        #told({ m, v }: Command): void {
            if (m === "close") this.toggle(false);
            else if (m === "keep") keep(v as string, true);
            else if (m === "retry") {
                this.#drop();
                this.load();
            } else if (m === "unread") {
                const { count, name, text } = v as { count: number; name: string; text: string };
                this.#unread = count;
                this.draw();
                if (text && !this.open_) this.#show(name, text);
                tell("unread", this.#unread);
            } else if (m === "look") {
                // What the page says itself counts for more.
                const look = v as Record<string, string>;
                for (const key of ["accent", "side", "launcher"] as const) given[key] ??= look[key]!;
                this.#frame!.title = look.title!;
                this.draw();
            } else if (EVENTS.test(m)) tell(m, v);
        }

        #show(name: string, text: string): void {
            const away = make("button", "x", "×");
            away.setAttribute("aria-label", this.#words()[1]);
            away.onclick = () => (this.#tease.hidden = true);
            this.#tease.setAttribute("role", "status");
            this.#tease.replaceChildren(make("span", "", make("b", "", name), text), away);
            this.#tease.hidden = false;
        }

        #moved = (): void => {
            if (location.href === this.#last) return;
            this.#last = location.href;
            this.#page();
        };

        #page(): void {
            this.send({ m: "page", v: { url: location.href, title: document.title, locale: language(), open: this.open_ } });
        }
    }

    const begin = (): Chat => {
        if (chat) return chat;
        chat = new Chat();
        (document.body ?? document.documentElement).append(chat);
        const left = keep(null);
        chat.hidden = left === "off";
        if (left === "open" && innerWidth >= 480) chat.toggle(true);
        else if (left) chat.load();
        return chat;
    };
    const say = (m: string, v?: unknown): void => begin().send({ m, v });
    const api: Api = {
        open: () => begin().toggle(true),
        close: () => chat?.toggle(false),
        toggle: () => begin().toggle(),
        isOpen: () => !!chat?.open_,
        show: () => void (begin().hidden = false),
        hide: () => void (chat && (chat.toggle(false), (chat.hidden = true))),
        setUser: (user: { jwt: string; secret?: string } | null) => (user?.secret && say("secret", user.secret), say("user", user === null ? null : String(user.jwt))),
        setContext: (values: Record<string, unknown>) => say("context", JSON.stringify(values ?? {})),
        setLocale: (locale: string) => ((given.locale = locale), say("locale", locale), chat!.draw()),
        setTheme: (theme: string) => say("theme", theme),
        sendMessage: (text: string) => (begin().toggle(true), say("draft", text)),
        reset: () => (begin().load(), say("reset"), keep("")),
        destroy: () => {
            const old = chat;
            chat = null;
            listeners = {};
            keep("");
            old?.end();
        },
        on: (name: string, listener: Listener) => {
            (listeners[name] ??= new Set()).add(listener);
            return () => listeners[name]?.delete(listener);
        },
    };

    customElements.define(NAME, Chat);
    // What was called before we came: `hromadaChat.q` holds [method, ...arguments], in order.
    const queue = fresh.hromadaChat?.q ?? [];
    fresh.hromadaChat = Object.freeze(api);
    const run = (): void => {
        begin();
        for (const [method, ...values] of queue) api[String(method)]?.(...(values as never[]));
        tell("ready");
    };
    if (document.body) run();
    else addEventListener("DOMContentLoaded", run, { once: true });
    return api;
};
