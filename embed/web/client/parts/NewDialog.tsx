import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Field, Segments, Switch } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import type { Person } from "../sdk/types.ts";
import { attempt, openRoomById, the, toast, writeTo } from "../stores/app.ts";
import { cryptoState } from "../stores/crypto.ts";
import { space } from "../stores/list.ts";
import { inviteTo, type New, newDialog } from "../stores/ui.ts";
import { PeoplePicker } from "./People.tsx";
import "./asked.ts";

const aliasOf = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60);

/** A conversation with people, a room, or a space. */
export function NewDialog({ kind, name: called = "", parent = space.value }: New): JSX.Element {
    const [what, setWhat] = useState(kind);
    const [people, setPeople] = useState<readonly Person[]>([]);
    const [name, setName] = useState(called);
    const [topic, setTopic] = useState("");
    const [open, setOpen] = useState(false);
    const [alias, setAlias] = useState(aliasOf(called));
    const [busy, setBusy] = useState(false);
    const encrypts = cryptoState.value === "ready" || cryptoState.value === "loading";
    const close = (): void => void (newDialog.value = undefined);
    const ready = what === "people" ? people.length > 0 : name.trim() !== "";
    const submit = async (event: Event): Promise<void> => {
        event.preventDefault();
        if (!ready || busy) return;
        const [one, ...more] = people;
        if (what === "people" && one && more.length === 0) {
            close();
            return writeTo(one.id);
        }
        setBusy(true);
        const { commands } = the();
        const id = await attempt(() =>
            what === "people"
                ? commands.direct(people.map((person) => person.id), encrypts)
                : commands.createRoom({
                      name: name.trim(), topic: topic.trim(), public: open, space: what === "space", alias: open ? alias : "",
                      encrypted: what === "room" && !open && encrypts, parent,
                  }),
        );
        setBusy(false);
        if (!id) return;
        close();
        openRoomById(id);
    };
    const word = what === "people" ? t("new.start") : t(what === "room" ? "new.create-room" : "new.create-space");
    return (
        <Dialog
            title={t("nav.new")} onClose={close}
            footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="submit" form="new-form" class="btn go" disabled={!ready || busy}>{word}</button></>}
        >
            <form id="new-form" class="in-dlg stack" onSubmit={(event) => void submit(event)}>
                <Segments label={t("new.kind")} value={what} onChange={setWhat} options={[["people", t("new.people")], ["room", t("new.room")], ["space", t("new.space")]]} />
                {what === "people" ? (
                    <PeoplePicker chosen={people} onChange={setPeople} label={t("new.to")} />
                ) : (
                    <>
                        <Field label={t("roomset.name")} value={name} maxLength={255} required autofocus onInput={(event) => {
                            setName(event.currentTarget.value);
                            setAlias(aliasOf(event.currentTarget.value));
                        }} />
                        <Field label={t("roomset.topic")} optional={t("optional")} value={topic} onInput={(event) => setTopic(event.currentTarget.value)} />
                        <label class="row"><span class="grow">{t("new.public")}<small class="small sub block">{t(open ? "new.public-text" : "new.private-text")}</small></span><Switch checked={open} label={t("new.public")} onChange={setOpen} /></label>
                        {open && <Field label={t("new.address")} value={alias} hint={`#${alias || "…"}:${the().commands.serverName}`} onInput={(event) => setAlias(event.currentTarget.value)} />}
                    </>
                )}
                <p class="note"><Icon name={encrypts && !open ? "lock" : "info"} /><span>{t(what === "space" ? "new.space-note" : open && what === "room" ? "new.public-note" : encrypts ? "new.encrypted-note" : "new.plain-note")}</span></p>
            </form>
        </Dialog>
    );
}

/** Invite people into a room. */
export function InviteDialog({ room }: { room: string }): JSX.Element {
    const [people, setPeople] = useState<readonly Person[]>([]);
    const [busy, setBusy] = useState(false);
    const close = (): void => void (inviteTo.value = undefined);
    const invite = async (): Promise<void> => {
        setBusy(true);
        let sent = 0;
        for (const person of people) if (await attempt(() => the().commands.invite(room, person.id), "error.invite")) sent++;
        setBusy(false);
        if (sent > 0) toast(t("invite.sent", { n: sent }));
        if (sent === people.length) close();
    };
    return (
        <Dialog title={t("members.invite")} onClose={close}
            footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="button" class="btn go" disabled={people.length === 0 || busy} onClick={() => void invite()}>{t("panel.invite")}</button></>}
        >
            <div class="in-dlg"><PeoplePicker chosen={people} onChange={setPeople} label={t("new.to")} /></div>
        </Dialog>
    );
}
