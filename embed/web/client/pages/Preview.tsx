import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Empty, IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { useCommon } from "../parts/common.ts";
import { Face, RoomFace } from "../parts/faces.tsx";
import { go, openRoom, route } from "../routes.ts";
import type { Found } from "../sdk/commands.ts";
import { historyOf } from "../sdk/invited.ts";
import { removed } from "../sdk/removed.ts";
import type { Person, RoomRow } from "../sdk/types.ts";
import { attempt, openRoomById, rooms, ruleFor, the } from "../stores/app.ts";
import { invites } from "../stores/list.ts";
import { phone, reporting } from "../stores/ui.ts";
import { PageTitle, useTitle } from "../parts/PageTitle.tsx";
import "../parts/asked.ts";

async function accept(target: string, via: string[]): Promise<void> {
    const id = await attempt(() => the().commands.join(target, via), "error.join");
    if (id) openRoomById(id);
}

/** A room one is not in: an invitation, a preview, a request that waits. */
export function Preview({ target, via, row }: { target: string; via: string[]; row: RoomRow | undefined }): JSX.Element {
    const [found, setFound] = useState<Found | null>();
    const [busy, setBusy] = useState(false);
    useEffect(() => {
        let current = true;
        the().commands.summary(target, via).then(
            (room) => current && setFound(room),
            async () => {
                const known = target.startsWith("#") ? await the().commands.resolve(target).catch(() => null) : null;
                if (current) setFound(known ? { id: known.id, name: target, topic: "", alias: target, avatar: undefined, members: 0, space: false, joinRule: "invite", allowed: [] } : null);
            },
        );
        return () => void (current = false);
    }, [target]);
    // Another address of a room that one is in.
    const here = !row && found && rooms.value.get(found.id)?.membership === "join" ? found.id : undefined;
    useEffect(() => {
        if (here && route.value.page === "room") go({ ...route.value, room: here }, true);
    }, [here]);
    const run = async (task: () => Promise<unknown>): Promise<void> => {
        setBusy(true);
        await task();
        setBusy(false);
    };
    const inviter = useInviter(row);
    const common = useCommon(inviter?.id).length;
    useTitle(row?.name ?? found?.name ?? target);
    const bar = <header class="bar phone-only"><IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go({ page: "home" })} /><h4>{t(row?.membership === "invite" ? "invite.title" : "preview.title")}</h4></header>;
    if (!row && found === null) {
        return <main class="main">{bar}<Empty icon="search" title={t("preview.unknown")} text={target}><button type="button" class="btn" onClick={() => go({ page: "explore", query: "", server: undefined })}>{t("nav.explore")}</button></Empty></main>;
    }
    const name = row?.name ?? found?.name ?? target;
    const about = { id: row?.id ?? found?.id ?? target, name, avatar: row?.avatar ?? found?.avatar, kind: row?.kind ?? "room", person: row?.person } as const;
    const members = row?.members || found?.members || 0;
    const rule = found ? ruleFor(found) : (row?.joinRule ?? "invite");
    const { commands, engine } = the();
    const out = row && removed(engine, row.id);
    const others = invites.value.filter(({ id }) => id !== row?.id);
    const history = row && historyOf(engine, row.id);
    const seen = history === "shared" && row?.encrypted ? "shared-encrypted" : history;
    return (
        <main class="main" aria-label={name}>
            {bar}
            <div class="scroll middle">
                <div class="stack narrow">
                    <div class="hero flat">
                        <RoomFace row={about} />
                        <PageTitle>{name}</PageTitle>
                        <span class="small sub">{[row?.alias ?? found?.alias, members ? t("room.members", { n: members }) : ""].filter(Boolean).join(" · ")}</span>
                        {(row?.topic || found?.topic) && <p class="mut">{row?.topic || found?.topic}</p>}
                    </div>
                    {out && <div class={out.banned ? "note bad" : "note warn"} role="status"><Icon name={out.banned ? "ban" : "user-minus"} /><span>{t(out.banned ? "preview.banned-by" : "preview.removed", { name: out.who })}{out.reason && <small class="block">{out.reason}</small>}</span></div>}
                    {row?.membership === "invite" ? (
                        <>
                            {inviter && (
                                <div class="card">
                                    <div class="set"><Face person={inviter} /><span class="grow"><b>{t("invite.by", { name: inviter.name })}</b><small>{[row.inviteReason ?? inviter.id, common ? t("person.common", { n: common }) : ""].filter(Boolean).join(" · ")}</small></span></div>
                                    <div class="set"><Icon name={row.encrypted ? "lock" : "lock-open"} /><span class="grow"><b>{t(row.encrypted ? "room.encrypted" : "room.plain")}</b>{seen && <small>{t(`invite.history-${seen}`, { name: inviter.name })}</small>}</span></div>
                                </div>
                            )}
                            <div class="row">
                                <button type="button" class="btn go grow tall" disabled={busy} onClick={() => void run(() => accept(row.id, via))}>{t("invite.accept")}</button>
                                <button type="button" class="btn grow tall" disabled={busy} onClick={() => void run(() => attempt(() => commands.leave(row.id).then(() => openRoom.value === target && go({ page: "home" }))))}>{t("invite.decline")}</button>
                            </div>
                            {inviter && (
                                <div class="row centred">
                                    <button type="button" class="btn plain s" onClick={() => void attempt(() => commands.ignore(inviter.id, true).then(() => commands.leave(row.id)))}>{t("invite.ignore", { name: inviter.name })}</button>
                                    <button type="button" class="btn plain s bad" onClick={() => (reporting.value = { room: row.id, message: undefined })}><Icon name="flag" />{t("panel.report")}</button>
                                </div>
                            )}
                            {others.length > 0 && <section aria-label={t("invite.more", { n: others.length })}><p class="small sub">{t("invite.more", { n: others.length })}</p><List rows={others} /></section>}
                        </>
                    ) : row?.membership === "knock" ? (
                        <>
                            <div class="note info"><Icon name="hourglass" /><span>{t("preview.asked")}</span></div>
                            <button type="button" class="btn" onClick={() => void attempt(() => commands.leave(row.id))}>{t("preview.withdraw")}</button>
                        </>
                    ) : row?.membership === "ban" ? (
                        !out && <div class="note bad"><Icon name="ban" /><span>{t("preview.banned")}</span></div>
                    ) : rule === "public" || rule === "restricted" ? (
                        <button type="button" class="btn go tall wide" disabled={busy || found === undefined} onClick={() => void run(() => accept(found?.alias ?? target, via))}>{t("preview.join")}</button>
                    ) : rule === "knock" ? (
                        <Knock target={target} via={via} />
                    ) : found === undefined ? (
                        <p class="nothing" role="status">{t("loading")}</p>
                    ) : (
                        <div class="note"><Icon name="lock" /><span>{t("preview.invite-only")}</span></div>
                    )}
                </div>
            </div>
        </main>
    );
}

/** Who invites; an invitation need not say by what name they go. */
function useInviter(row: RoomRow | undefined): Person | undefined {
    const known = row?.inviter;
    const [found, setFound] = useState<Person>();
    useEffect(() => {
        let current = true;
        if (known && !known.avatar) void the().commands.profile(known.id).then((person) => current && setFound(person), () => undefined);
        return () => void (current = false);
    }, [known?.id]);
    return found?.id === known?.id ? (found ?? known) : known;
}

function Knock({ target, via }: { target: string; via: string[] }): JSX.Element {
    const [reason, setReason] = useState("");
    return (
        <form class="stack" onSubmit={(event) => {
            event.preventDefault();
            void attempt(() => the().commands.knock(target, reason, via)).then((id) => id && openRoomById(id));
        }}>
            <label class="field"><span class="legend">{t("preview.reason")}</span><textarea class="in" value={reason} onInput={(event) => setReason(event.currentTarget.value)} /></label>
            <button class="btn go tall wide">{t("preview.ask")}</button>
        </form>
    );
}

/** Invitations, one below the other. */
const List = ({ rows }: { rows: readonly RoomRow[] }): JSX.Element => (
    <div class="card">
        {rows.map((row) => (
            <div class="set" key={row.id}>
                <RoomFace row={row} />
                <button type="button" class="grow plainly" onClick={() => openRoomById(row.id)}><b>{row.name}</b><small>{row.inviter ? `${row.inviter.name} · ${row.inviter.id}` : ""}</small></button>
                <button type="button" class="btn s soft" onClick={() => void accept(row.id, [])}>{t("invite.accept")}</button>
                <IconButton icon="x" label={t("invite.decline")} onClick={() => void attempt(() => the().commands.leave(row.id))} />
            </div>
        ))}
    </div>
);

/** All invitations, the newest first. */
export function Invites(): JSX.Element {
    const list = invites.value;
    useTitle(t("invite.title"));
    if (list.length === 0) return <main class="main"><Empty icon="mail-open" title={t("invite.none")} level={phone.value ? 1 : 2} /></main>;
    return (
        <main class="main" aria-label={t("invite.title")}>
            <header class="bar phone-only"><IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go({ page: "home" })} /><h4>{t("invite.title")}</h4></header>
            <div class="scroll middle">
                <div class="stack narrow">
                    <h1 class="h2">{t("list.invites", { n: list.length })}</h1>
                    <List rows={list} />
                </div>
            </div>
        </main>
    );
}
