// The client itself: the SDK is loaded and the stores begin to fill.

import { effect } from "@preact/signals";
import { render } from "preact";
import icons from "hromada:icons/all";
import * as kv from "../core/kv.ts";
import { words } from "../ui/controls.tsx";
import { learnIcons } from "../ui/Icon.tsx";
import { missing } from "../ui/lazy.tsx";
import { Client } from "./parts/Client.tsx";
import { chat } from "./i18n/en.chat.ts";
import { rooms } from "./i18n/en.rooms.ts";
import { learn, t } from "./i18n/t.ts";
import { go, openRoom, route } from "./routes.ts";
import { DecryptionError, Engine, StreamSync } from "./sdk/engine.ts";
import { end, type Session, stored } from "./sdk/session.ts";
import type { Finder } from "./sdk/find/finder.ts";
import type { Word } from "./sdk/tabs/words.ts";
import { type App, app, loadAgain, openRow, signOut, startApp, the, toast } from "./stores/app.ts";
import { prepareCrypto, startMachine, theCrypto } from "./stores/crypto.ts";
import { loadDrafts } from "./stores/drafts.ts";
import { handOver, loadEarly } from "./stores/early.ts";
import { waiting } from "./stores/list.ts";
import { forgetViews, keptRoom } from "./stores/room.ts";
import { keepList, showKept } from "./stores/snapshot.ts";
import { beLeader, type Leader } from "./stores/tabs.ts";
import { pageName } from "./stores/ui.ts";
import { loadFiles, losing } from "./stores/uploads.ts";
import { listenForKeys } from "./stores/keys.ts";
import { watchForNotices } from "./stores/notify.ts";

learn({ ...chat, ...rooms });
learnIcons(icons);
missing.tell = () => toast(t("crash.title"), { label: t("error.again"), run: loadAgain });
effect(() => void (words.close = t("close")));

const finder = async (engine: Engine): Promise<Finder> => (await import("./stores/finder.ts")).theFinder(engine);

/** What a conversation needs next, while there is a connection and nothing else to do. */
function fetchAhead(): void {
    // Who has searched encrypted rooms will do so again.
    const found = (): Promise<unknown> => kv.get("kv", "finds").then((finds) => finds && !the().following && finder(the().engine));
    const parts = [found, () => import("@floating-ui/dom"), () => import("./sdk/files.ts"), () => import("./sdk/smaller.ts"), () => import("./sdk/attachments.ts"), () => import("./sdk/blobs.ts"), () => import("./sdk/upload.ts"), () => import("./stores/version.ts").then(({ watchVersion }) => watchVersion())];
    for (const part of parts) void part().catch(() => undefined);
}

let leading: Promise<App["leading"]> | undefined;

/** From here on others can follow this tab. */
function lead(led: App, channel: BroadcastChannel): Promise<App["leading"]> {
    const { engine, outbox } = led;
    leading ??= import("./sdk/tabs/lead.ts").then((tabs) => (led.leading = tabs.lead(channel, { engine, outbox, machine: theCrypto, finder: () => finder(engine), signOut }, BUILD)));
    return leading;
}

/** Another tab speaks to this one, which leads. */
async function hear(running: Promise<App>, channel: BroadcastChannel, word: Word): Promise<void> {
    // At once: what it takes to be followed has yet to be loaded, and perhaps this tab itself.
    if (word.op === "hello") channel.postMessage({ op: "soon", to: word.from } satisfies Word);
    const led = await running;
    (await (word.op === "hello" ? lead(led, channel) : leading))?.hear(word);
}

/** Be one of several tabs; undefined where the first cannot be followed. */
async function join({ channel }: Leader, session: Session): Promise<App["following"]> {
    const { follow } = await import("./sdk/tabs/follow.ts");
    const looks = (room: string): boolean => openRoom.value === room && document.visibilityState === "visible" && document.hasFocus();
    return channel && follow(channel, { session, build: BUILD, Engine, Stream: StreamSync, Refusal: DecryptionError, machine: startMachine, finder, looks });
}

async function elsewhere(root: HTMLElement, onHere: () => void): Promise<void> {
    const { Elsewhere } = await import("./parts/Elsewhere.tsx");
    render(<Elsewhere onHere={onHere} />, root);
}

/** Run the client for a session. `fresh` tells that it has just begun. */
export async function start(root: HTMLElement, session: Session, fresh: "login" | "register" | undefined): Promise<void> {
    if (route.value.page === "login" || route.value.page === "register" || route.value.page === "forgot" || route.value.page === "sso") go({ page: "home" }, true);
    const stop = async (): Promise<void> => {
        const running = app.value;
        app.value = undefined;
        forgetViews();
        await running?.engine.stop();
        await elsewhere(root, () => location.reload());
    };
    const up = Promise.withResolvers<App>();
    const leader = await beLeader(session.userId, stop, (channel, word) => void hear(up.promise, channel, word as Word));
    const [kept] = await Promise.all([showKept(session.userId), loadDrafts(), loadFiles(), loadEarly(session.userId)]);
    if (kept) render(<Client />, root);
    const freed = leader.first ? undefined : leader.wait();
    const following = freed && (await Promise.race([join(leader, session), freed.then(() => undefined)]));
    if (freed && !following) {
        // The tab that has it goes, perhaps just now, and the browser has said so: this page begins anew, as the first.
        void freed.then(() => location.reload());
        return elsewhere(root, () => void leader.take().then(async () => start(root, (await stored()) ?? session, fresh)));
    }
    const running = await startApp(session, following);
    const { engine, outbox } = running;
    if (following) {
        handOver(running);
        void freed?.then(async () => {
            running.following = undefined;
            await following.rise(() => lead(running, leader.channel as BroadcastChannel));
            up.resolve(running);
        });
    }
    engine.on("ended", (soft) => {
        // The page begins anew: nothing of this user is in its memory when somebody signs in. The same in tabs that follow.
        const { leading: others } = app.value ?? {};
        others?.over("over");
        forgetViews();
        app.value = undefined;
        void Promise.all([engine.stop(), end(session, soft)]).finally(() => {
            others?.over("gone");
            location.reload();
        });
    });
    render(<Client />, root);
    await prepareCrypto(the(), fresh, following?.machine);
    if (!following) {
        // Not before: those who follow are told what the machine says, from here on.
        up.resolve(running);
        await outbox.load();
        handOver(running);
    }
    await engine.run();
    effect(() => {
        const name = pageName.value || openRow.value?.name;
        const count = waiting.value ? `(${waiting.value}) ` : "";
        document.title = `${count}${name ? `${name} · ` : ""}Hromada`;
    });
    effect(() => {
        document.querySelector<HTMLLinkElement>("link[rel=icon]")?.setAttribute("href", `/assets/logo${waiting.value ? "-new" : ""}.svg`);
        void (navigator as Navigator & { setAppBadge?: (n: number) => Promise<void> }).setAppBadge?.(waiting.value).catch(() => undefined);
    });
    engine.on("ready", () => keepList(session.userId));
    engine.on("answered", () => (keptRoom.value = undefined));
    engine.on("ready", () => setTimeout(fetchAhead, 3_000));
    addEventListener("beforeunload", (event) => ((!running.following && outbox.uploading) || losing()) && event.preventDefault());
    listenForKeys();
    watchForNotices();
}
