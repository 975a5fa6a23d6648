// The client itself: the SDK is loaded and the stores begin to fill.

import { effect } from "@preact/signals";
import { render } from "preact";
import icons from "hromada:icons/all";
import * as kv from "../core/kv.ts";
import { learnIcons } from "../ui/Icon.tsx";
import { Client, Elsewhere } from "./parts/Client.tsx";
import { chat } from "./i18n/en.chat.ts";
import { rooms } from "./i18n/en.rooms.ts";
import { learn } from "./i18n/t.ts";
import { go, route } from "./routes.ts";
import { type Session, stored } from "./sdk/session.ts";
import { app, openRow, signOut, startApp, the } from "./stores/app.ts";
import { prepareCrypto } from "./stores/crypto.ts";
import { loadDrafts } from "./stores/drafts.ts";
import { waiting } from "./stores/list.ts";
import { forgetViews, keptRoom } from "./stores/room.ts";
import { keepList, showKept } from "./stores/snapshot.ts";
import { beLeader } from "./stores/tabs.ts";
import { listenForKeys } from "./stores/keys.ts";
import { watchForNotices } from "./stores/notify.ts";

learn({ ...chat, ...rooms });
learnIcons(icons);

/** What a conversation needs next, while there is a connection and nothing else to do. */
function fetchAhead(): void {
    // Who has searched encrypted rooms will do so again.
    const finder = (): Promise<unknown> => kv.get("kv", "finds").then((finds) => finds && import("./stores/finder.ts").then(({ theFinder }) => theFinder(the().engine)));
    const parts = [finder, () => import("./render/markdown.ts"), () => import("@floating-ui/dom"), () => import("./sdk/files.ts"), () => import("./sdk/blobs.ts"), () => import("./sdk/upload.ts")];
    for (const part of parts) void part().catch(() => undefined);
}

type SignInAgain = (reason?: "ended", user?: string) => void;

/** Run the client for a session. `fresh` tells that it has just begun. */
export async function start(root: HTMLElement, session: Session, fresh: "login" | "register" | undefined, again: SignInAgain): Promise<void> {
    if (route.value.page === "login" || route.value.page === "register" || route.value.page === "sso") go({ page: "home" }, true);
    const stop = async (): Promise<void> => {
        const running = app.value;
        app.value = undefined;
        forgetViews();
        await running?.engine.stop();
        render(<Elsewhere onHere={() => location.reload()} />, root);
    };
    const leader = await beLeader(session.userId, stop);
    if (!leader.first) {
        render(<Elsewhere onHere={() => void leader.take().then(async () => start(root, (await stored()) ?? session, fresh, again))} />, root);
        return;
    }
    const [kept] = await Promise.all([showKept(session.userId), loadDrafts()]);
    if (kept) render(<Client />, root);
    const { engine, outbox } = await startApp(session);
    engine.on("ended", (soft) => {
        void engine.stop();
        leader.release();
        app.value = undefined;
        if (soft) again("ended", session.userId.slice(1).split(":")[0]);
        else void signOut();
    });
    render(<Client />, root);
    await prepareCrypto(the(), fresh);
    await outbox.load();
    await engine.run();
    effect(() => {
        const name = openRow.value?.name;
        const count = waiting.value ? `(${waiting.value}) ` : "";
        document.title = `${count}${name ? `${name} · ` : ""}Hromada`;
    });
    effect(() => {
        void (navigator as Navigator & { setAppBadge?: (n: number) => Promise<void> }).setAppBadge?.(waiting.value).catch(() => undefined);
    });
    engine.on("ready", () => keepList(session.userId));
    engine.on("answered", () => (keptRoom.value = undefined));
    engine.on("ready", () => setTimeout(fetchAhead, 3_000));
    listenForKeys();
    watchForNotices();
}
