import { effect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { voice } from "../../ui/Avatar.tsx";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { contentOf, fetchMarkdown, hasMarks, mentionsIn, pieces, tooLong } from "../render/compose.ts";
import { list as together } from "../render/dates.ts";
import type { Commands } from "../sdk/commands.ts";
import type { Message, Person, Rights, RoomRow } from "../sdk/types.ts";
import { openRoom } from "../routes.ts";
import { app, attempt, openRoomById, rooms, running } from "../stores/app.ts";
import { draftKey, drafts, dropDraft, editKey, editOf, keepDraft, takeDrafts, type Mention } from "../stores/drafts.ts";
import { post } from "../stores/early.ts";
import type { RoomView } from "../stores/room.ts";
import { settings } from "../stores/settings.ts";
import { question } from "../stores/ui.ts";
import { EmojiPicker } from "./Emoji.tsx";
import { Face, RoomFace } from "./faces.tsx";
import { sendUploads, type Spoken } from "./send.ts";
import { commandNames, commandOf, type Option, optionsFor } from "./suggest.ts";
import { addFiles, uploadsOf } from "../stores/uploads.ts";
import { pickFiles, UploadTray } from "./Uploads.tsx";

const TYPING_MS = 15_000;
const RECORDS = "MediaRecorder" in globalThis && navigator.mediaDevices !== undefined;
const Voice = lazy(() => import("./Voice.tsx").then(({ Voice }) => Voice), null);

interface Props {
    row: Pick<RoomRow, "id" | "name" | "members" | "encrypted" | "successor">;
    /** Where nothing has been said yet: make the room. Its id; undefined if it cannot be had now, and nothing is sent. */
    begin?: () => Promise<string | undefined>;
    /** It is being made: what would be typed now belongs to the message that is on its way no more. */
    busy?: boolean;
    rights: Rights | undefined;
    view: Pick<RoomView, "items" | "atBottom" | "atEnd" | "line" | "open">;
    thread: string | undefined;
    reply: Message | undefined;
    edit: Message | undefined;
    setReply: (message: Message | undefined) => void;
    setEdit: (message: Message | undefined) => void;
    people: () => readonly Person[];
    locked: JSX.Element | undefined;
}

const textOf = (message: Message): string => (message.body.type === "text" ? message.body.text : "caption" in message.body ? message.body.caption : "");

/** What stands before the caret and wants to be completed: `@ta`, `#ga`, `:smi`, `/m`. */
export function wanted(text: string, caret: number): { sign: string; term: string; from: number } | undefined {
    const found = /(?:^|[\s(])([@#:/])([\p{L}\p{N}._-]{0,40})$/u.exec(text.slice(0, caret));
    if (!found) return undefined;
    const [, sign = "", term = ""] = found;
    const from = caret - term.length - 1;
    if (sign === "/" && from !== 0) return undefined;
    if (sign === ":" && term.length < 2) return undefined;
    return { sign, term, from };
}

export function Composer(props: Props): JSX.Element {
    const { row, rights, view, thread, reply, edit } = props;
    // One that has no id yet is named by its key.
    const changed = edit && (edit.id || edit.key);
    const key = draftKey(row.id, thread);
    const kept = drafts.value.get(key);
    const [text, setText] = useState(kept?.text ?? "");
    const mentions = useRef<Mention[]>(kept?.mentions ?? []);
    const [formatting, setFormatting] = useState(false);
    const [emoji, setEmoji] = useState(false);
    const [speaking, setSpeaking] = useState(false);
    const [options, setOptions] = useState<readonly Option[]>([]);
    const [chosen, choose] = useState(0);
    const field = useRef<HTMLTextAreaElement>(null);
    const typed = useRef(0);
    /** A command is under way: before the client runs that may take a while. */
    const acting = useRef(false);
    // The draft that an edit stands in front of, and whom the edited message mentions.
    const before = useRef<{ text: string; mentions: Mention[] } | undefined>(undefined);
    const told = useRef<Mention[]>([]);

    // What was being answered or changed when one went away: as soon as it is there.
    const left = useRef<{ reply: string | undefined; edit: string | undefined }>({ reply: undefined, edit: undefined });

    // Another conversation: its own draft. Another tab's change is taken only while nobody writes here.
    useLayoutEffect(() => {
        const draft = drafts.value.get(key);
        setText(draft?.text ?? "");
        mentions.current = draft?.mentions ?? [];
        setOptions([]);
        left.current = { reply: draft?.reply, edit: editOf(key) };
        if (matchMedia("(pointer: fine)").matches) field.current?.focus({ preventScroll: true });
        return () => stopTyping();
    }, [key]);
    useEffect(() => effect(() => {
        const find = (id: string | undefined): Message | undefined => view.items.value.find((item): item is Message => id !== undefined && item.kind === "message" && (item.id === id || item.key === id));
        const [replied, begun] = [find(left.current.reply), find(left.current.edit)];
        if (!replied && !begun) return;
        left.current = { reply: undefined, edit: undefined };
        if (begun) props.setEdit(begun);
        else props.setReply(replied);
    }), [view, key]);
    useEffect(() => {
        if (document.activeElement !== field.current && !edit && kept && kept.text !== text) setText(kept.text);
    }, [kept?.text]);
    useLayoutEffect(() => {
        if (edit && changed) {
            before.current ??= { text, mentions: mentions.current };
            const begun = drafts.value.get(editKey(key, changed));
            setText(begun?.text ?? textOf(edit));
            told.current = edit.body.type === "text" ? mentionsIn(edit.body.text, edit.body.html, edit.wakesRoom === true) : [];
            mentions.current = begun?.mentions ?? told.current;
            field.current?.focus();
        } else if (before.current) {
            setText(before.current.text);
            mentions.current = before.current.mentions;
            before.current = undefined;
        }
    }, [changed]);
    const marked = hasMarks(text, mentions.current);
    useEffect(() => {
        if (marked) fetchMarkdown();
    }, [marked]);
    const target = reply && (reply.id || reply.key);
    const answered = useRef(target);
    useLayoutEffect(() => {
        if (reply) field.current?.focus();
        if (answered.current === target) return;
        answered.current = target;
        const draft = drafts.value.get(key);
        if (!edit && (draft || reply)) keepDraft(key, { text: "", mentions: [], ...draft, reply: target, edit: undefined });
    }, [target]);
    useLayoutEffect(() => {
        const area = field.current;
        if (!area || CSS.supports("field-sizing", "content")) return;
        area.style.height = "auto";
        area.style.height = `${area.scrollHeight}px`;
    }, [text]);

    // Whom one mentions is painted by a layer behind the field, which wraps and scrolls as the field does.
    const painted = pieces(text, mentions.current);
    const seen = useRef<HTMLDivElement>(null);
    const follow = (): void => {
        const [layer, area] = [seen.current, field.current];
        if (!layer || !area) return;
        layer.style.inlineSize = `${area.clientWidth}px`; // without the bar at its side
        layer.scrollTop = area.scrollTop;
    };
    useLayoutEffect(follow, [text]);

    const stopTyping = (): void => {
        if (typed.current) app.value?.commands.typing(row.id, false); // the session may be over
        typed.current = 0;
    };
    const change = (value: string): void => {
        setText(value);
        if (changed) keepDraft(editKey(key, changed), { text: value, mentions: mentions.current, reply: undefined, edit: changed });
        else keepDraft(key, { text: value, mentions: mentions.current, reply: target ?? left.current.reply, edit: undefined });
        if (settings.value.typing && !edit && !props.begin) {
            if (!value) stopTyping();
            else if (Date.now() - typed.current > TYPING_MS) {
                typed.current = Date.now();
                app.value?.commands.typing(row.id, true);
            }
        }
        const area = field.current;
        const term = area && wanted(value, area.selectionStart);
        choose(0);
        if (!term) setOptions([]);
        else void optionsFor(term.sign, term.term, props.people(), [...rooms.value.values()], rights?.notifyRoom ?? false, row.members).then(setOptions);
    };
    const take = (option: Option): void => {
        const area = field.current;
        const term = area && wanted(area.value, area.selectionStart);
        if (!area || !term) return;
        if (option.mention) mentions.current = [...mentions.current.filter((each) => each.text !== option.insert), { text: option.insert, id: option.mention }];
        area.setRangeText(`${option.insert} `, term.from, area.selectionStart, "end");
        change(area.value);
        setOptions([]);
        area.focus();
    };
    const insert = (value: string): void => {
        const area = field.current;
        if (!area) return;
        area.setRangeText(value, area.selectionStart, area.selectionEnd, "end");
        change(area.value);
        area.focus();
    };
    const wrap = (mark: string, line = false): void => {
        const area = field.current;
        if (!area) return;
        const { selectionStart: from, selectionEnd: to, value } = area;
        const inner = value.slice(from, to);
        if (line) {
            const start = value.lastIndexOf("\n", from - 1) + 1;
            const lines = value.slice(start, to).split("\n");
            area.setRangeText(lines.map((each, at) => (mark === "1. " ? `${at + 1}. ${each}` : mark + each)).join("\n"), start, to, "end");
        } else if (mark === "[]") {
            area.setRangeText(`[${inner}](https://)`, from, to, "end");
        } else {
            area.setRangeText(mark + inner + mark, from, to, "select");
            area.setSelectionRange(from + mark.length, from + mark.length + inner.length);
        }
        change(area.value);
        area.focus();
    };
    const leave = (): void => {
        if (changed) dropDraft(editKey(key, changed));
        props.setEdit(undefined);
    };
    const done = (): (() => void) => {
        stopTyping();
        left.current = { reply: undefined, edit: undefined };
        const dropped = takeDrafts(changed ? editKey(key, changed) : key);
        if (!edit) {
            setText("");
            mentions.current = [];
        }
        props.setReply(undefined);
        props.setEdit(undefined);
        setOptions([]);
        return dropped;
    };
    /** What is answered, by its id if it has one by now, and the thread. */
    const place = (): [{ id: string; sender: string | undefined } | undefined, { root: string; last: string | undefined } | undefined] => [
        reply && target ? { id: view.items.value.find((item) => item.key === reply.key)?.id || target, sender: reply.sender.id } : left.current.reply ? { id: left.current.reply, sender: undefined } : undefined,
        thread ? { root: thread, last: view.items.value.findLast((item) => item.kind === "message" && item.id !== "")?.id } : undefined,
    ];
    const roomToWriteIn = (): Promise<string | undefined> | string => (props.begin ? props.begin() : row.id);
    /** To the room that was made, unless one has gone elsewhere meanwhile. */
    const arrive = (room: string): void => {
        if (props.begin && openRoom.value === row.id) openRoomById(room);
    };
    const send = async (asText = false): Promise<void> => {
        const value = (field.current?.value ?? text).trim();
        const files = uploadsOf(key);
        if (!value && files.length === 0) return;
        if (edit && !value) return;
        const command = edit || asText ? undefined : commandOf(value);
        if (command && !command.known) {
            question.value = { title: t("command.unknown", { name: `/${command.name}` }), text: t("command.unknown-text", { names: together(commandNames()) }), yes: t("command.as-text"), run: () => void send(true) };
            return;
        }
        const ran = command && (await runCommand(command.name, command.rest));
        if (ran !== undefined) return ran ? done()() : undefined;
        if (tooLong(value, marked, row.encrypted)) {
            question.value = {
                title: t("composer.long"), text: t("composer.long-text"), yes: t("composer.as-file"),
                run: () => {
                    addFiles(key, [new File([value], "message.txt", { type: "text/plain" })]);
                    change("");
                },
            };
            return;
        }
        const [to, inThread] = place();
        const list = mentions.current;
        const room = await roomToWriteIn();
        if (!room) return;
        const dropped = done();
        view.atBottom = true;
        view.line.value = undefined;
        try {
            const captioned = await sendUploads(key, room, thread, { text: value, mentions: list }, to, inThread);
            if (value && !captioned) {
                const content = await contentOf({ text: value, mentions: list, told: told.current, reply: to, thread: inThread, edit: changed });
                await post(room, "m.room.message", content, { thread, quoted: to !== undefined });
            }
            dropped();
            arrive(room);
        } catch (error) {
            // Nothing that was written is lost: it stands in the field again.
            mentions.current = list;
            change(value);
            throw error;
        }
        if (!view.atEnd.value) await view.open().catch(() => undefined);
    };
    const sendVoice = async (file: File, said: Spoken): Promise<void> => {
        const [to, inThread] = place();
        props.setReply(undefined);
        view.atBottom = true;
        addFiles(key, [file]);
        const room = await roomToWriteIn();
        if (!room) return;
        await attempt(() => sendUploads(key, room, thread, { text: "", mentions: [] }, to, inThread, said));
        arrive(room);
        if (!view.atEnd.value) await view.open().catch(() => undefined);
    };
    /** Whether it worked; undefined for what is sent. */
    const runCommand = async (name: string, rest: string): Promise<boolean | undefined> => {
        const known: Record<string, (commands: Commands) => Promise<unknown>> = {
            invite: (commands) => commands.invite(row.id, rest),
            kick: (commands) => commands.kick(row.id, rest),
            ban: (commands) => commands.ban(row.id, rest),
            unban: (commands) => commands.unban(row.id, rest),
            topic: (commands) => commands.setState(row.id, "m.room.topic", { topic: rest }),
            nick: (commands) => commands.setName(rest),
            leave: (commands) => commands.leave(row.id),
        };
        const run = known[name];
        if (!run || acting.current) return run && false;
        acting.current = true;
        const done = await attempt(async () => run((await running()).commands).then(() => true));
        acting.current = false;
        return done === true;
    };

    const onKey = (event: KeyboardEvent): void => {
        const command = event.ctrlKey || event.metaKey;
        const open = options.length > 0;
        const act = (run: () => void): void => {
            event.preventDefault();
            run();
        };
        if (event.isComposing) return;
        if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) return act(() => choose((chosen + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length));
        if (open && (event.key === "Enter" || event.key === "Tab")) return act(() => options[chosen] && take(options[chosen]));
        if (event.key === "Escape") {
            if (open) return act(() => setOptions([]));
            if (emoji) return act(() => setEmoji(false));
            if (edit) return act(leave);
            if (reply) return act(() => props.setReply(undefined));
            return undefined; // what is around it: the panel, or the end of the conversation
        }
        if (command && !event.altKey) {
            const marks: Record<string, string> = { b: "**", i: "_", e: "`" };
            const mark = marks[event.key.toLowerCase()];
            if (mark) return act(() => wrap(mark));
            if (event.shiftKey && event.key.toLowerCase() === "l") return act(() => wrap("[]"));
        }
        if (event.key === "Enter" && !event.shiftKey) {
            const fences = (field.current?.value.slice(0, field.current.selectionStart).match(/^```/gm) ?? []).length;
            const sends = settings.value.sendWith === "enter" ? !(fences % 2) || command : command;
            if (sends) return act(() => void send());
        }
        if (event.key === "ArrowUp" && app.value && text === "" && !command && !event.shiftKey && !event.altKey) {
            const last = view.items.value.findLast((item): item is Message => item.kind === "message" && item.mine && item.body.type === "text");
            if (last) act(() => props.setEdit(last));
        }
        return undefined;
    };

    const placeholder = useMemo(() => (thread ? t("composer.thread") : row.encrypted ? t("composer.encrypted") : t("composer.message")), [thread, row.encrypted]);
    if (props.locked) return <div class="cmp">{props.locked}</div>;
    if (rights && !rights.send) return <div class="cmp"><div class="deny">{t(row.successor ? "room.replaced" : "composer.denied")}</div></div>;
    const about = edit ?? reply;
    const files = uploadsOf(key);
    return (
        <div class="cmp">
            {options.length > 0 && (
                <div class="pop menu">
                    {options[0]?.mention && <h4 aria-hidden="true">{t("composer.people")}</h4>}
                    <div role="listbox" id="suggest" aria-label={t("composer.suggestions")}>{options.map((option, at) => (
                        <button key={option.insert} id={`opt${at}`} type="button" class="opt" role="option" aria-selected={at === chosen} onPointerDown={(event) => event.preventDefault()} onClick={() => take(option)}>
                            {option.person ? <Face person={option.person} /> : option.row ? <RoomFace row={option.row} /> : <span class="sign">{option.sign}</span>}
                            <span class="cut">{option.label}</span>
                            <small class="cut">{option.note}</small>
                        </button>
                    ))}</div>
                </div>
            )}
            {emoji && <EmojiPicker onPick={(sign) => insert(sign)} onClose={() => setEmoji(false)} />}
            <div class="box">
                {about && (
                    <div class="ctx">
                        <Icon name={edit ? "pencil" : "reply"} flip />
                        <span class="quote grow" style={{ "--vc": voice(about.sender.id) }}><b>{edit ? t("composer.editing") : about.sender.name}</b><span>{textOf(about) || t("composer.attachment")}</span></span>
                        <IconButton icon="x" label={t(edit ? "composer.cancel-edit" : "composer.cancel-reply")} onClick={() => {
                            props.setReply(undefined);
                            leave();
                        }} />
                    </div>
                )}
                {files.length > 0 && <UploadTray draft={key} />}
                {formatting && (
                    <div class="fmt" role="toolbar" aria-label={t("format.label")}>
                        <IconButton icon="bold" label={`${t("format.bold")}, Ctrl B`} onClick={() => wrap("**")} />
                        <IconButton icon="italic" label={`${t("format.italic")}, Ctrl I`} onClick={() => wrap("_")} />
                        <IconButton icon="strikethrough" label={t("format.strike")} onClick={() => wrap("~~")} />
                        <hr />
                        <IconButton icon="link" label={`${t("format.link")}, Ctrl Shift L`} onClick={() => wrap("[]")} />
                        <IconButton icon="list" label={t("format.list")} onClick={() => wrap("- ", true)} />
                        <IconButton icon="list-ordered" label={t("format.numbers")} onClick={() => wrap("1. ", true)} />
                        <IconButton icon="text-quote" label={t("format.quote")} onClick={() => wrap("> ", true)} />
                        <hr />
                        <IconButton icon="code" label={`${t("format.code")}, Ctrl E`} onClick={() => wrap("`")} />
                        <IconButton icon="eye-off" label={t("format.spoiler")} onClick={() => wrap("||")} />
                    </div>
                )}
                {speaking && <Voice onDone={(file, said) => {
                    setSpeaking(false);
                    if (file && said) void sendVoice(file, said);
                    field.current?.focus();
                }} />}
                <div class="ln" hidden={speaking}>
                    <IconButton icon="plus" label={t("composer.attach")} disabled={edit !== undefined} onClick={() => pickFiles((list) => addFiles(key, list))} />
                    <div class="write">
                        {painted.length > 1 && <div class="seen" aria-hidden="true" ref={seen}>{painted.map((piece) => piece.mention ? <mark>{piece.text}</mark> : piece.text)}{"\n"}</div>}
                        <textarea
                            ref={field} id={thread ? undefined : "composer"} rows={1} readOnly={props.busy ?? false} value={text} placeholder={placeholder} spellcheck={settings.value.spellcheck} enterkeyhint="send"
                            aria-label={thread ? t("composer.thread") : t("composer.label", { name: row.name })}
                            aria-autocomplete="list" aria-controls={options.length > 0 ? "suggest" : undefined} aria-activedescendant={options.length > 0 ? `opt${chosen}` : undefined}
                            onInput={(event) => change(event.currentTarget.value)} onKeyDown={onKey} onScroll={follow} onBlur={() => setTimeout(() => setOptions([]), 150)}
                            onPaste={(event) => {
                                const list = [...(event.clipboardData?.files ?? [])];
                                if (list.length === 0) return;
                                event.preventDefault();
                                addFiles(key, list);
                            }}
                        />
                    </div>
                    <IconButton icon="a-large-small" label={t("format.label")} class="wide-only" aria-pressed={formatting} onClick={() => setFormatting(!formatting)} />
                    <IconButton icon="smile" label={t("composer.emoji")} aria-expanded={emoji} onClick={() => setEmoji(!emoji)} />
                    {RECORDS && !text.trim() && files.length === 0 && !edit && <IconButton icon="mic" label={t("voice.record")} onClick={() => void attempt(() => import("./Voice.tsx")).then((here) => here && setSpeaking(true))} />}
                    <IconButton icon={edit ? "check" : "arrow-up"} label={t("composer.send")} class="go" disabled={props.busy || (!text.trim() && files.length === 0)} onClick={() => void send()} />
                </div>
            </div>
        </div>
    );
}
