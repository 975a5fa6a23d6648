// A conversation that does not exist yet: nobody is invited before something is said. What is written is kept under the
// person, and stands in the list.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Composer } from "../parts/Composer.tsx";
import { useDrop } from "../parts/Drop.tsx";
import { Face } from "../parts/faces.tsx";
import { PhoneTitle, useTitle } from "../parts/PageTitle.tsx";
import { t } from "../i18n/t.ts";
import { go, roomRoute } from "../routes.ts";
import { attempt, rooms, the } from "../stores/app.ts";
import { cryptoState } from "../stores/crypto.ts";
import { handOn } from "../stores/drafts.ts";
import { usePerson } from "../stores/people.ts";
import { noView } from "../stores/room.ts";
import { composing, personCard } from "../stores/ui.ts";
import { handFilesOn } from "../stores/uploads.ts";
import { Strip } from "./Room.tsx";
import "../parts/asked.ts";

/** The room is in memory, with what says that it is encrypted: what is written before would go out in the clear. */
async function arrived(id: string, encrypts: boolean): Promise<void> {
    const { engine } = the();
    const there = (): boolean => {
        const room = engine.room(id);
        return room?.getMyMembership() === "join" && (!encrypts || room.hasEncryptionStateEvent());
    };
    await new Promise<void>((resolve) => {
        const look = (): void => {
            if (!there()) return;
            stop();
            resolve();
        };
        const stop = engine.on("rooms", look);
        look();
    });
}

function handOver(user: string, room: string): void {
    handOn(user, room, true);
    handFilesOn(user, room);
}

export function FirstWords({ user }: { user: string }): JSX.Element {
    const person = usePerson(user);
    const [busy, setBusy] = useState(false);
    const making = useRef(false);
    const made = useRef<string | undefined>(undefined);
    const encrypted = cryptoState.value === "ready" || cryptoState.value === "loading";
    const view = useMemo(() => noView(), [user]);
    useTitle(person.name);
    useEffect(() => {
        composing.value = true;
        return () => void (composing.value = false);
    }, []);
    // There is one: this page's, whose message did not get into it before the page was loaded anew, or theirs.
    const known = useMemo(() => the().commands.directWith(user), [user, rooms.value]);
    useEffect(() => {
        // What is being sent at this moment goes there by itself: it is not to be taken away from it.
        if (!known || making.current) return;
        handOver(user, known);
        go(roomRoute(known), true);
    }, [known]);
    useEffect(() => () => {
        if (made.current) handOver(user, made.current); // written while the first message was on its way
    }, []);
    const begin = async (): Promise<string | undefined> => {
        if (making.current) return made.current;
        making.current = true;
        setBusy(true);
        const id = await attempt(() => the().commands.direct([user], encrypted), "error.begin");
        if (id) await arrived(id, encrypted);
        made.current = id;
        making.current = id !== undefined;
        setBusy(false);
        return id;
    };
    const row = { id: user, name: person.name, members: 2, encrypted, successor: undefined };
    const [onFiles, target] = useDrop(user, person.name, !busy);
    return (
        <main class="main" aria-label={person.name} aria-busy={busy} {...onFiles}>
            <PhoneTitle>{person.name}</PhoneTitle>
            <Strip />
            <header class="bar head">
                <IconButton icon="arrow-left" flip class="phone-only" label={t("room.back")} onClick={() => go({ page: "home" })} />
                <button type="button" class="grow row gap" title={t("room.details")} onClick={() => (personCard.value = { user, room: undefined })}>
                    <Face person={person} size="2.25rem" />
                    <span class="grow">
                        <h2 class="cut" tabIndex={-1}><span class="cut">{person.name}</span>{encrypted && <Icon name="lock" label={t("room.encrypted")} />}</h2>
                        <span class="sub cut block">{user}</span>
                    </span>
                </button>
            </header>
            <div class="tl" role="log" aria-live="off" aria-label={t("timeline.label", { name: person.name })}>
                <div class="col">
                    <div class="intro">
                        <Face person={person} size="4rem" />
                        <h3>{person.name}</h3>
                        <p class="mut">{t("intro.dm", { name: person.name })}</p>
                        <p class="small sub">{t("first.note", { name: person.name })}</p>
                        {encrypted && <p class="small sub"><Icon name="lock" size=".875rem" /> {t("room.encrypted-text")}</p>}
                    </div>
                </div>
            </div>
            <Composer row={row} begin={begin} busy={busy} rights={undefined} view={view} thread={undefined} reply={undefined} edit={undefined} setReply={() => undefined} setEdit={() => undefined} people={() => [person]} locked={undefined} />
            {target}
        </main>
    );
}
