import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import type { Member, RoomRow } from "../sdk/types.ts";
import { me, the } from "../stores/app.ts";
import { cryptoState } from "../stores/crypto.ts";
import { useOnline, useSeen } from "../stores/presence.ts";
import { membersOf, rightsOf } from "../stores/room.ts";
import { score } from "../stores/score.ts";
import { inviteTo, personCard } from "../stores/ui.ts";
import { Face } from "./faces.tsx";
import "./asked.ts";

const MemberTrust = lazy(() => import("../pages/Trust.tsx").then(({ MemberTrust }) => MemberTrust), null);

/** What is known of somebody is looked up once they are in view. */
function MemberRow({ member, room }: { member: Member; room: string }): JSX.Element {
    const box = useRef<HTMLButtonElement>(null);
    const mine = member.id === me.value.id;
    const seen = useSeen(box);
    const online = useOnline(member.id, seen && !mine && member.membership === "join") || (mine && member.membership === "join");
    return (
        <button ref={box} type="button" class="it" onClick={() => (personCard.value = { user: member.id, room })}>
            <Face person={member} online={online} back="var(--canvas)" />
            <span class="grow cut">{member.name}{online && <span class="vh"> · {t("members.online")} · </span>}<small class="cut">{mine ? t("members.you") : member.id}</small></span>
            {seen && !mine && cryptoState.value === "ready" && <MemberTrust user={member.id} />}
        </button>
    );
}

/** Who is in the room, and who is to be. */
export function Members({ row }: { row: RoomRow }): JSX.Element {
    const [all, setAll] = useState<readonly Member[]>([]);
    const [term, setTerm] = useState("");
    const rights = rightsOf(row.id);
    useEffect(() => {
        let current = true;
        const load = (): void => void membersOf(row.id).then((list) => current && setAll(list));
        load();
        const stop = the().engine.on("members", (room) => room === row.id && load());
        return () => {
            current = false;
            stop();
        };
    }, [row.id]);
    const found = useMemo(() => (term ? all.filter(({ name, id }) => Math.max(score(name, term), score(id.slice(1), term)) > 0) : all), [all, term]);
    const groups: [string, Member[]][] = [
        ["power.100", found.filter(({ membership, level, creator }) => membership === "join" && (creator || level >= 100))],
        ["power.50", found.filter(({ membership, level, creator }) => membership === "join" && !creator && level >= 50 && level < 100)],
        ["members.members", found.filter(({ membership, level, creator }) => membership === "join" && !creator && level < 50)],
        ["members.knocking", found.filter(({ membership }) => membership === "knock")],
        ["members.invited", found.filter(({ membership }) => membership === "invite")],
        ["members.banned", found.filter(({ membership }) => membership === "ban" && (rights?.ban ?? false))],
    ];
    return (
        <>
            <div class="inset"><label class="find"><Icon name="search" /><input type="search" placeholder={t("members.search", { n: row.members })} aria-label={t("members.search", { n: row.members })} onInput={(event) => setTerm(event.currentTarget.value)} /></label></div>
            {rights?.invite && <button type="button" class="it" onClick={() => (inviteTo.value = row.id)}><span class="soft-icon"><Icon name="user-plus" /></span><span>{t("members.invite")}</span></button>}
            {groups.filter(([, list]) => list.length > 0).map(([key, list]) => (
                <section key={key} aria-label={t(key as "power.100")}>
                    <div class="cap2"><span>{t(key as "power.100")}</span><span>{list.length}</span></div>
                    {list.slice(0, 300).map((member) => <MemberRow key={member.id} member={member} room={row.id} />)}
                </section>
            ))}
            {term && found.length === 0 && <p class="nothing">{t("members.none")}</p>}
        </>
    );
}
