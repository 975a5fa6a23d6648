import type { JSX } from "preact";
import { Menu, type MenuItem } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { copied, type Doing } from "../pages/Room.tsx";
import { panel, shareLink } from "../routes.ts";
import { REDACTION } from "../sdk/entry.ts";
import type { Message, Rights } from "../sdk/types.ts";
import { attempt, rooms, the } from "../stores/app.ts";
import { details, question, reporting } from "../stores/ui.ts";
import { recentEmoji } from "./emoji-data.ts";
import { type Actions, written } from "./Message.tsx";

interface Props {
    message: Message;
    at: DOMRect;
    sheet: boolean;
    actions: Actions;
    rights: Rights | undefined;
    doing: Doing;
    onClose: () => void;
}

/** What can be done with a message. */
export function MessageMenu({ message, at, sheet, actions, rights, doing, onClose }: Props): JSX.Element {
    const { commands, outbox } = the();
    const room = actions.roomId;
    const text = written(message.body);
    const gone = message.body.type === "gone";
    // What is done to a message without an id waits for that; what needs the id at once is not offered.
    const unsent = message.id === "";
    const mayReact = actions.mayReact && !gone;
    const mayDelete = !gone && (message.mine || (rights?.redact ?? false));
    const ask = (): void => {
        question.value = {
            title: t("delete.title"), text: t("delete.text"), yes: t("delete.yes"), bad: true,
            run: () => (unsent ? void outbox.add(room, REDACTION, { redacts: message.key }) : void attempt(() => commands.redact(room, message.id))),
        };
    };
    const when = (yes: boolean, item: MenuItem): MenuItem[] => (yes ? [item] : []);
    const items: (MenuItem | null)[] = [
        ...when(mayReact, { icon: "smile-plus", label: t("message.react"), keys: "E", run: () => actions.pick(message, at) }),
        ...when(mayReact, { icon: "reply", flip: true, label: t("message.reply"), keys: "R", run: () => actions.reply(message) }),
        ...when(mayReact && !actions.thread, { icon: "message-square-text", label: t("message.thread"), keys: "T", run: () => panel(`thread:${message.id || message.key}`) }),
        ...when(message.mine && message.body.type === "text", { icon: "pencil", label: t("message.edit"), run: () => doing.setEdit(message) }),
        null,
        ...when(text !== "", { icon: "copy", label: t("message.copy"), keys: "C", run: () => copied(text) }),
        ...when(!unsent, { icon: "link", label: t("message.link"), run: () => copied(shareLink(rooms.value.get(room)?.alias ?? room, message.id, [commands.serverName])) }),
        ...when(!unsent && !gone && (rights?.pin ?? false), { icon: message.pinned ? "pin-off" : "pin", label: t(message.pinned ? "message.unpin" : "message.pin"), run: () => void attempt(() => commands.pin(room, message.id, !message.pinned)) }),
        ...when(!unsent, { icon: "info", label: t("message.details"), run: () => (details.value = { room, message }) }),
        null,
        ...when(!message.mine, { icon: "flag", label: t("message.report"), run: () => (reporting.value = { room, message }) }),
        ...when(mayDelete, { icon: "trash-2", label: t("message.delete"), bad: true, run: unsent && message.state !== "sending" ? () => void outbox.cancel(message.key) : ask }),
    ];
    const trimmed = items.filter((item, index) => item !== null || (index > 0 && items[index - 1] !== null && index < items.length - 1));
    const signs = sheet && mayReact && (
        <div class="row signs-row">
            {recentEmoji().slice(0, 6).map((sign) => <button key={sign} type="button" role="menuitem" class="emo" aria-label={t("message.react-with", { key: sign })} onClick={() => {
                onClose();
                actions.react(message, sign);
            }}>{sign}</button>)}
        </div>
    );
    return <Menu label={t("message.actions")} items={trimmed} at={at} onClose={onClose} sheet={sheet} head={signs || undefined} />;
}
