import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { language, t } from "../i18n/t.ts";
import { copied } from "../pages/Room.tsx";
import { clock, list } from "../render/dates.ts";
import { shareLink } from "../routes.ts";
import { personIn } from "../sdk/commands.ts";
import { type About, aboutOf, profileOf } from "../sdk/profile.ts";
import { personOf } from "../sdk/rooms.ts";
import type { Person } from "../sdk/types.ts";
import { attempt, me, the, writeTo } from "../stores/app.ts";
import { cryptoState } from "../stores/crypto.ts";
import { useOnline } from "../stores/presence.ts";
import { rightsOf } from "../stores/room.ts";
import { personCard, question, reporting } from "../stores/ui.ts";
import { Choice } from "./Choice.tsx";
import { useCommon } from "./common.ts";
import { Face } from "./faces.tsx";
import "./asked.ts";

/** So many of the rooms in common are named. */
const NAMED = 3;

const PersonTrust = lazy(() => import("../pages/Trust.tsx").then(({ PersonTrust }) => PersonTrust), null);

/** A person: write to them, and what their place in this room allows. */
export function PersonCard({ user, room }: { user: string; room: string | undefined }): JSX.Element {
    const { commands, engine } = the();
    const known = room ? engine.room(room) : null;
    const member = known?.getMember(user);
    const [person, setPerson] = useState<Person>(personOf(known, user));
    const [ignored, setIgnored] = useState(commands.ignored().includes(user));
    const rights = room ? rightsOf(room) : undefined;
    const mine = user === me.value.id;
    const level = member?.powerLevel ?? 0;
    const below = rights !== undefined && !mine && level < rights.level;
    const close = (): void => void (personCard.value = undefined);
    const [about, setAbout] = useState<About>();
    const common = useCommon(user);
    const online = useOnline(user, !mine) || mine;
    const role = level >= 100 ? "admin" : level >= 50 ? "moderator" : undefined;
    useEffect(() => {
        let current = true;
        profileOf(commands.request, user).then((found) => {
            if (!current) return;
            setAbout(aboutOf(found, language.value));
            if (!member) setPerson(personIn(user, found));
        }, () => undefined);
        return () => void (current = false);
    }, [user]);
    const write = (): void => {
        close();
        writeTo(user);
    };
    const ask = (title: string, yes: string, run: () => Promise<unknown>): void => {
        close();
        question.value = { title, text: t("person.sure", { name: person.name }), yes, bad: true, run: () => void attempt(run) };
    };
    return (
        <Dialog title={person.name} onClose={close}>
            <div class="in-dlg">
                <div class="hero"><Face person={person} online={online} back="var(--canvas)" /><h3>{person.name}{online && <span class="vh"> · {t("members.online")}</span>}</h3><span class="small sub">{user}</span>
                    {role && member?.membership === "join" && <span class="chip">{t(`role.${role}`)}</span>}
                    {about?.pronouns && <span class="small mut">{about.pronouns}</span>}
                    {about?.zone && <span class="small mut">{t("person.time", { time: clock(Date.now(), about.zone), zone: about.zone.replace(/_/g, " ") })}</span>}
                </div>
                <div class="card">
                    {!mine && <button type="button" class="it" onClick={write}><Icon name="message-square" /><span>{t("person.write")}</span></button>}
                    {!mine && cryptoState.value === "ready" && <PersonTrust user={user} name={person.name} />}
                    {common.length > 0 && <div class="it"><Icon name="users" /><span>{t("person.common", { n: common.length })}<small>{common.length > NAMED ? `${common.slice(0, NAMED).join(", ")}, …` : list(common)}</small></span></div>}
                    <button type="button" class="it" onClick={() => copied(shareLink(user))}><Icon name="link" /><span>{t("message.link")}</span></button>
                    {room && rights?.power && member?.membership === "join" && (below || mine) && (
                        <Choice icon="crown" label={t("person.role")} value={level >= 100 ? "100" : level >= 50 ? "50" : "0"} values={["0", "50", "100"].filter((each) => Number(each) <= rights.level)} name={(each) => t(`role.${each === "100" ? "admin" : each === "50" ? "moderator" : "member"}`)} disabled={false}
                            onChange={(each) => void attempt(() => commands.setLevel(room, user, Number(each)))} />
                    )}
                    {room && member?.membership === "knock" && rights?.invite && <button type="button" class="it" onClick={() => void attempt(() => commands.invite(room, user)).then(close)}><Icon name="user-plus" /><span>{t("person.admit")}</span></button>}
                    {room && below && rights.kick && (member?.membership === "join" || member?.membership === "invite" || member?.membership === "knock") && (
                        <button type="button" class="it bad" onClick={() => ask(t("person.kick"), t("person.kick"), () => commands.kick(room, user))}><Icon name="user-minus" /><span>{t("person.kick")}</span></button>
                    )}
                    {room && below && rights.ban && (member?.membership === "ban" ? (
                        <button type="button" class="it" onClick={() => void attempt(() => commands.unban(room, user)).then(close)}><Icon name="user-plus" /><span>{t("person.unban")}</span></button>
                    ) : (
                        <button type="button" class="it bad" onClick={() => ask(t("person.ban"), t("person.ban"), () => commands.ban(room, user))}><Icon name="ban" /><span>{t("person.ban")}</span></button>
                    ))}
                    {!mine && (
                        <button type="button" class="it bad" onClick={() => void attempt(() => commands.ignore(user, !ignored)).then((done) => done !== undefined || setIgnored(!ignored))}>
                            <Icon name="eye-off" /><span>{t(ignored ? "person.unignore" : "person.ignore")}<small>{t("person.ignore-text")}</small></span>
                        </button>
                    )}
                    {!mine && <button type="button" class="it bad" onClick={() => { close(); reporting.value = { user }; }}><Icon name="flag" /><span>{t("message.report")}</span></button>}
                </div>
            </div>
        </Dialog>
    );
}
