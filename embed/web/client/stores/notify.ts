// Notifications, sound, and what the screen reader is told. The push rules decide (webclient.md 5.10).

import { t } from "../i18n/t.ts";
import { openRoom } from "../routes.ts";
import { noticeOf, tellsOfInvite } from "../sdk/notices.ts";
import { announce, app, openRoomById, rooms, the } from "./app.ts";
import { invites } from "./list.ts";
import { quietAt } from "./quiet.ts";
import { settings } from "./settings.ts";

const QUIET_START_MS = 5_000;
const SOUND_EVERY_MS = 3_000;
const TOGETHER_MS = 2_000;

/** The tag of what tells of a new login. */
export const LOGIN = "login";
const shown = new Map<string, Notification>();
let lastSound = 0;

/** Two short tones; made here, so that nothing is loaded. Who `asked` hears them whatever the hour. */
export function play(asked = false): void {
    const now = Date.now();
    if (!asked && (now - lastSound < SOUND_EVERY_MS || (settings.value.quiet && quietAt(new Date())))) return;
    lastSound = now;
    try {
        const audio = new AudioContext();
        const volume = audio.createGain();
        volume.connect(audio.destination);
        volume.gain.setValueAtTime(0.06, audio.currentTime);
        volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.4);
        for (const [at, pitch] of [[0, 660], [0.09, 880]] as const) {
            const tone = audio.createOscillator();
            tone.frequency.value = pitch;
            tone.connect(volume);
            tone.start(audio.currentTime + at);
            tone.stop(audio.currentTime + at + 0.12);
        }
        setTimeout(() => void audio.close(), 800);
    } catch {
        // no sound on this machine
    }
}

/** Show it, unless that is switched off. `tag` is a room, or what takes the place of the one before. */
export function notify(tag: string, title: string, body: string, open = (): void => openRoomById(tag)): void {
    if (app.value?.following || !settings.value.notify || globalThis.Notification?.permission !== "granted") return;
    const made = new Notification(title, { tag, body: settings.value.notifyText ? body : "", icon: "/assets/logo.svg", silent: true });
    made.onclick = () => {
        window.focus();
        open();
        made.close();
    };
    shown.set(tag, made);
}

const atBottom = (): boolean => {
    const box = document.querySelector("[role=log]");
    return !box || box.scrollHeight - box.scrollTop - box.clientHeight < 120;
};

/** New messages of the open room, in one quiet voice; many at once are only counted. */
function speaker(): (text: string) => void {
    let waiting: string[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    return (text) => {
        waiting.push(text);
        timer ??= setTimeout(() => {
            announce(waiting.length >= 3 ? t("announce.many", { n: waiting.length }) : waiting.join(". "));
            waiting = [];
            timer = undefined;
        }, waiting.length > 0 ? TOGETHER_MS : 250);
    };
}

export function watchForNotices(): void {
    const { engine } = the();
    const started = Date.now();
    const say = speaker();
    engine.on("live", ({ roomId, eventId }) => {
        if (Date.now() - started < QUIET_START_MS) return;
        void noticeOf(engine, roomId, eventId).then(async (notice) => {
            if (!notice) return;
            const row = rooms.value.get(roomId);
            const here = openRoom.value === roomId && document.visibilityState === "visible";
            if (here && document.hasFocus() && atBottom()) say(`${notice.sender}: ${notice.text.slice(0, 200)}`);
            if (here && document.hasFocus()) return;
            const { following, leading } = the();
            if (following ?? (await leading?.elsewhere(roomId))) return;
            if (notice.notify) notify(roomId, row && row.kind !== "dm" ? `${notice.sender} · ${row.name}` : notice.sender, notice.text);
            if (settings.value.sound && (notice.highlight || (row?.kind === "dm" && notice.notify))) play();
        });
    });
    let known = new Set<string>();
    invites.subscribe((rows) => {
        const fresh = rows.filter(({ id }) => !known.has(id));
        known = new Set(rows.map(({ id }) => id));
        if (Date.now() - started < QUIET_START_MS) return;
        for (const row of fresh) {
            if (the().following || !tellsOfInvite(engine, row.id)) continue;
            notify(row.id, row.name, t("invite.by", { name: row.inviter?.name ?? "" }));
            if (settings.value.sound) play();
        }
    });
    // Reading anywhere closes it.
    rooms.subscribe((all) => {
        for (const [room, notification] of shown) {
            const row = all.get(room);
            if (room === LOGIN || row?.membership === "invite" || (row?.badge.count ?? 0) > 0) continue;
            notification.close();
            shown.delete(room);
        }
    });
}
