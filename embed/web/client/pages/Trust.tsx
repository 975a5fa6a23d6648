// What is rarely shown: somebody asks to be confirmed, has another identity now, or is confirmed. Loaded when needed.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { go } from "../routes.ts";
import { personOf } from "../sdk/rooms.ts";
import { attempt, the } from "../stores/app.ts";
import { shut } from "../parts/Locked.tsx";
import { changed, check, theCrypto } from "../stores/crypto.ts";
import { later } from "../stores/reminders.ts";
import { personCard } from "../stores/ui.ts";
import { s } from "./trust-texts.ts";
import "../parts/asked.ts";

const SHOWN = 3;

const nameOf = (room: string | undefined, user: string): string => personOf(room ? the().engine.room(room) : null, user).name;

/** Ask somebody to compare emoji, in the direct chat with them. */
export async function confirmPerson(user: string): Promise<void> {
    const { commands, engine } = the();
    const room = await commands.direct([user], true);
    if (!engine.room(room)) {
        await new Promise<void>((done) => {
            const stop = engine.on("rooms", () => {
                if (!engine.room(room)) return;
                stop();
                done();
            });
        });
    }
    await theCrypto()?.ask({ user, room });
    go({ page: "verify" });
}

function Answers(): JSX.Element {
    const machine = theCrypto();
    return (
        <>
            <button type="button" class="btn s go" onClick={() => {
                void machine?.acceptCheck();
                go({ page: "verify" });
            }}>{s("compare")}</button>
            <button type="button" class="btn s" onClick={() => machine?.endCheck()}>{s("decline")}</button>
        </>
    );
}

/** Another device of one's own asks to be confirmed: a card in the corner, never a dialog. */
export function CheckCard(): JSX.Element | null {
    const now = check.value;
    if (now?.phase !== "asked") return null;
    return (
        <div class="check-card card pad" role="status">
            <div class="row top"><span class="seal"><Icon name="shield-question" /></span><p>{now.own ? s("asked-own") : s("asked", { name: nameOf(undefined, now.user) })}</p></div>
            <div class="row"><Answers /></div>
        </div>
    );
}

/** What stands above the composer of a room: who asks to be confirmed there, and who has another identity now. */
export function RoomTrust({ room, users }: { room: string; users: readonly string[] }): JSX.Element {
    const now = check.value;
    return (
        <>
            {now?.phase === "asked" && now.room === room && (
                <div class="note info flat wrapping" role="status"><Icon name="shield-question" /><span class="grow">{s("asked", { name: nameOf(room, now.user) })}</span><Answers /></div>
            )}
            {users.slice(0, SHOWN).map((user) => <Identity key={user} room={room} user={user} />)}
        </>
    );
}

function Identity({ room, user }: { room: string; user: string }): JSX.Element {
    const name = nameOf(room, user);
    const accept = (): void => void attempt(async () => theCrypto()?.accept(user));
    if (changed.value.get(user) === "confirmed-changed") {
        return (
            <div class="note warn flat wrapping" role="alert">
                <Icon name="shield-alert" />
                <span class="grow"><b>{s("new-confirmed", { name })}</b><br />{s("new-confirmed-text", { name })}</span>
                <button type="button" class="btn s go" onClick={() => void attempt(() => confirmPerson(user))}>{s("again")}</button>
                <button type="button" class="btn s" onClick={accept}>{s("anyway")}</button>
            </div>
        );
    }
    return (
        <div class="sys row centred" role="status">
            <Icon name="shield-alert" size=".875rem" /> {s("new", { name })}{" "}
            <button type="button" class="linked" onClick={() => (personCard.value = { user, room })}>{s("check")}</button>
            <IconButton icon="x" label={s("dismiss")} onClick={accept} />
        </div>
    );
}

/** Whether somebody is confirmed; undefined until that is known. */
function useVerified(user: string, now?: unknown): boolean | undefined {
    const [verified, setVerified] = useState<boolean>();
    useEffect(() => {
        const look = (): void => void theCrypto()?.personVerified(user).then(setVerified, () => undefined);
        look();
        // What two people have just confirmed comes back from the server a moment later.
        return theCrypto()?.on("change", look);
    }, [user, now]);
    return verified;
}

/** In a list of people: who is confirmed, and whose identity is another one now. Of all others nothing is shown. */
export function MemberTrust({ user }: { user: string }): JSX.Element | null {
    const now = changed.value.get(user);
    const verified = useVerified(user, now);
    if (now) return <span class="val" style={{ color: "var(--wheat-text)" }}><Icon name="shield-alert" label={s("changed")} /></span>;
    return verified ? <span class="val" style={{ color: "var(--ok)" }}><Icon name="shield-check" label={s("confirmed")} /></span> : null;
}

/** On a person's card: whether they are confirmed, or how they can be. */
export function PersonTrust({ user, name }: { user: string; name: string }): JSX.Element | null {
    const verified = useVerified(user);
    if (verified === undefined) return null;
    if (verified) return <div class="it"><Icon name="shield-check" /><span>{s("confirmed")}<small>{s("confirmed-text", { name })}</small></span></div>;
    return (
        <button type="button" class="it" onClick={() => void attempt(() => confirmPerson(user)).then(() => (personCard.value = undefined))}>
            <Icon name="shield-question" /><span>{s("confirm")}<small>{s("confirm-text")}</small></span>
        </button>
    );
}

/** Under the list, on three days of a lifetime: the account has no recovery key. */
export function Reminder(): JSX.Element {
    return (
        <div class="note info flat wrapping" role="status">
            <Icon name="key-round" /><span class="grow"><b>{s("remind")}</b><br />{s("remind-text")}</span>
            <a class="btn s go" href="#/recovery">{s("remind-yes")}</a>
            <IconButton icon="x" label={s("decline")} onClick={() => void later(the())} />
        </div>
    );
}

/** Above a conversation: what was said before this device is closed, and can be opened. */
export function Unlock({ room, page }: { room: string; page: "verify" | "unlock" }): JSX.Element {
    return (
        <div class="note info flat" role="status">
            <Icon name="key-round" /><span class="grow"><b>{s("closed")}</b> {s(page === "verify" ? "closed-confirm" : "closed-key")}</span>
            <button type="button" class="btn s" onClick={() => go({ page })}>{s("open")}</button>
            <IconButton icon="x" label={s("decline")} onClick={() => (shut.value = new Set([...shut.value, room]))} />
        </div>
    );
}
