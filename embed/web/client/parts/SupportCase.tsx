import type { MatrixEvent } from "matrix-js-sdk";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { full, short } from "../render/dates.ts";
import { personOf } from "../sdk/rooms.ts";
import type { RoomRow } from "../sdk/types.ts";
import { attempt, me, the } from "../stores/app.ts";
import { ticketOf } from "../stores/ticket.ts";
import "./asked.ts";

const MOST_NOTES = 50;
const STATES = ["new", "open", "pending", "resolved", "blocked"] as const;
/** What can be done in which state; `!take` and so on are words that the desk's server understands in the card's thread. */
const OFFERED: Record<(typeof STATES)[number], readonly ("take" | "resolve" | "hold" | "reopen" | "block")[]> = {
    new: ["take", "resolve", "block"],
    open: ["resolve", "hold", "take", "block"],
    pending: ["resolve", "take", "block"],
    resolved: ["reopen"],
    blocked: ["reopen"],
};

/** A page of the site; nothing that a browser would run. */
const linkOf = (page: unknown): string | undefined => (typeof page === "string" && /^https?:\/\//.test(page) ? page : undefined);

/** What begins with `!` is said to the server. */
function isNote(event: MatrixEvent): boolean {
    const body: unknown = event.getContent()["body"];
    return !event.isRedacted() && typeof body === "string" && !body.startsWith("!");
}

/** The case of a support chat beside its conversation: where the visitor is, how it stands, what staff has noted. */
export function SupportCase({ row }: { row: RoomRow }): JSX.Element | null {
    const [, again] = useState({});
    const [notes, setNotes] = useState<readonly MatrixEvent[]>();
    const [text, setText] = useState("");
    const { engine, commands } = the();
    const ticket = ticketOf(row.id);
    const desk = ticket?.card?.room_id ?? "";
    const card = ticket?.card?.event_id ?? "";
    useEffect(() => {
        let current = true;
        const load = async (): Promise<void> => {
            again({});
            if (!card) return;
            const { events } = await engine.client.relations(desk, card, "m.thread", null, { limit: MOST_NOTES });
            if (current) setNotes(events.reverse().filter(isNote));
        };
        const listen = (room: string): void => {
            // What cannot be had now is asked for again with the next change; until then nothing is said of it.
            if (room === row.id || room === desk) void load().catch(() => undefined);
        };
        listen(row.id);
        const stop = engine.on("timeline", listen);
        return () => {
            current = false;
            stop();
        };
    }, [row.id, desk, card]);
    if (!ticket) return null;
    const status = STATES.find((each) => each === ticket.status) ?? "open";
    const say = (body: string): Promise<unknown> =>
        attempt(() =>
            commands.request("PUT", `/rooms/${encodeURIComponent(desk)}/send/m.room.message/${engine.client.makeTxnId()}`, {
                "msgtype": "m.text", body, "m.mentions": {},
                "m.relates_to": { "rel_type": "m.thread", "event_id": card, "is_falling_back": true, "m.in_reply_to": { event_id: card } },
            }),
        );
    const page = linkOf(ticket.page);
    const facts = [
        ticket.assignee && t("case.with", { name: personOf(engine.room(row.id), ticket.assignee).name }),
        t(ticket.verified ? "case.verified" : "case.unverified"),
        ticket.priority && t("case.priority", { priority: ticket.priority }),
        ticket.tags?.join(", "),
        ticket.rating && t("case.rated", { n: ticket.rating }),
    ].filter(Boolean);
    return (
        <section aria-label={t("case.title", { n: ticket.number })}>
            <div class="cap2"><span>{t("case.title", { n: ticket.number })}</span><span>{t(`case.${status}`)}</span></div>
            {page && <a class="it" href={page} target="_blank" rel="noopener noreferrer"><Icon name="globe" /><span class="grow cut">{ticket.title || page}<small class="cut">{page}</small></span></a>}
            <div class="it"><Icon name="info" /><span>{facts.join(" · ")}<small>{t("case.since", { when: full(ticket.opened_ts) })}</small></span></div>
            {card && (
                <>
                    <div class="pills inset">
                        {OFFERED[status].filter((each) => each !== "take" || ticket.assignee !== me.value.id).map((each) => <button key={each} type="button" class="btn s" onClick={() => void say(`!${each}`)}>{t(`case.do-${each}`)}</button>)}
                    </div>
                    <div class="cap2"><span>{t("case.notes")}</span></div>
                    {notes?.length === 0 && <p class="nothing">{t("case.no-notes")}</p>}
                    <ul aria-label={t("case.notes")}>
                        {notes?.map((note) => (
                            <li key={note.getId()} class="it"><span class="grow">{note.getContent()["body"] as string}<small>{personOf(engine.room(desk), note.getSender() ?? "").name} · {short(note.getTs())}</small></span></li>
                        ))}
                    </ul>
                    <form
                        class="inset row gap"
                        onSubmit={(event) => {
                            event.preventDefault();
                            const body = text.trim();
                            // What begins so would be done, not noted.
                            if (body) void say(body.startsWith("!") ? `\u200b${body}` : body).then((sent) => sent && setText(""));
                        }}
                    >
                        <input class="in grow" value={text} maxLength={4_000} placeholder={t("case.note")} aria-label={t("case.note")} onInput={(event) => setText(event.currentTarget.value)} />
                        <button type="submit" class="btn s" disabled={!text.trim()}>{t("case.add")}</button>
                    </form>
                </>
            )}
        </section>
    );
}
