// When the server has another build than this page: it is taken up when nobody looks and nothing is begun here.

import { t } from "../i18n/t.ts";
import { route } from "../routes.ts";
import { webConfig } from "../sdk/session.ts";
import { loadAgain, the, toast } from "./app.ts";
import { due } from "./due.ts";
import { uploading } from "./uploads.ts";

const LOOK_EVERY_MS = 10 * 60_000;
const HOUR_MS = 3_600_000;

/** Nothing is written, sent, played or asked, and the page is one that is the same when it is loaded anew. */
function idle(): boolean {
    const { page } = route.value;
    const texts = [...document.querySelectorAll("textarea")];
    const sounds = [...document.querySelectorAll<HTMLMediaElement>("audio, video")];
    return (
        (page === "room" || page === "home") && the().outbox.size === 0 && !uploading() && !document.querySelector("dialog[open], .ln[hidden]") &&
        texts.every(({ value }) => value === "") && sounds.every(({ paused }) => paused)
    );
}

export function watchVersion(): void {
    const { engine } = the();
    let since: number | undefined, asked = 0, offered = 0;
    const look = async (): Promise<void> => {
        if (Date.now() - asked >= LOOK_EVERY_MS) {
            asked = Date.now();
            const now = await webConfig().catch(() => undefined);
            // One that was taken back is no other one any more.
            if (now) since = now.build && now.build !== BUILD ? (since ?? asked) : undefined;
        }
        const what = due(since, offered, document.hidden, idle());
        if (what === "take") location.reload();
        if (what !== "offer") return;
        offered = Date.now();
        toast(t("version.new"), { label: t("version.load"), run: loadAgain });
    };
    const run = (): void => void look();
    document.addEventListener("visibilitychange", run);
    setInterval(run, HOUR_MS);
    engine.on("status", (status) => {
        // A server that was restarted may have been updated.
        if (status !== "waiting") return;
        asked = 0;
    });
    run();
}
