import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Dialog } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { type Key, t } from "../i18n/t.ts";
import { go, matrixLink, openRoom, roomRoute } from "../routes.ts";
import type { Found } from "../sdk/commands.ts";
import type { Person } from "../sdk/types.ts";
import { openRoomById, rooms, the, writeTo } from "../stores/app.ts";
import { fits, score } from "../stores/score.ts";
import { keysHelp, newDialog, switcher } from "../stores/ui.ts";
import { BadgeView, Face, RoomFace } from "./faces.tsx";

interface Entry {
    key: string;
    section: "chats" | "people" | "public" | "more";
    view: JSX.Element;
    run: () => void;
}

/** What can be done from anywhere. */
const COMMANDS: readonly { key: Key; icon: string; run: () => void }[] = [
    { key: "home.write", icon: "user-plus", run: () => void (newDialog.value = "people") },
    { key: "explore.create", icon: "plus", run: () => void (newDialog.value = "room") },
    { key: "nav.explore", icon: "compass", run: () => go({ page: "explore", query: "", server: undefined }) },
    { key: "nav.settings", icon: "settings", run: () => go({ page: "settings", tab: "profile" }) },
    { key: "keys.title", icon: "keyboard", run: () => void (keysHelp.value = true) },
];

/** A name, with what was typed of it. */
const Name = ({ name, term }: { name: string; term: string }): JSX.Element => <>{fits(name, term).map((part, index) => (index % 2 ? <b>{part}</b> : part))}</>;

/** Ctrl K: go to a chat, a person, a public room, or search messages. */
export function Switcher(): JSX.Element {
    const [term, setTerm] = useState("");
    const [at, move] = useState(0);
    const [people, setPeople] = useState<readonly Person[]>([]);
    const [found, setFound] = useState<readonly Found[]>([]);
    const close = (): void => void (switcher.value = false);
    const wanted = term.trim();
    useEffect(() => {
        move(0);
        setPeople([]);
        setFound([]);
        if (wanted.length < 2) return undefined;
        let current = true;
        const timer = setTimeout(() => {
            const { commands } = the();
            commands.findPeople(wanted).then((list) => current && setPeople(list), () => undefined);
            commands.publicRooms(wanted, undefined).then(({ rooms: list }) => current && setFound(list), () => undefined);
        }, 200);
        return () => {
            current = false;
            clearTimeout(timer);
        };
    }, [wanted]);
    const entries = useMemo<Entry[]>(() => {
        const list: Entry[] = [...rooms.value.values()]
            .filter((row) => row.membership === "join" && row.id !== openRoom.value)
            .map((row) => ({ row, value: wanted ? Math.max(score(row.name, wanted), row.alias ? score(row.alias.slice(1), wanted) : 0) : row.badge.count > 0 ? 2 : 1 }))
            .filter(({ value }) => value > 0)
            .sort((a, b) => b.value - a.value || b.row.time - a.row.time)
            .slice(0, wanted ? 8 : 10)
            .map(({ row }) => ({
                key: row.id, section: "chats",
                view: <><RoomFace row={row} size="2rem" /><span class="grow cut"><Name name={row.name} term={wanted} /></span><BadgeView {...row.badge} dm={row.kind === "dm"} /></>,
                run: () => openRoomById(row.id),
            }));
        const direct = new Set([...rooms.value.values()].map((row) => row.person));
        for (const person of people.filter(({ id }) => !direct.has(id)).slice(0, 4)) {
            list.push({
                key: person.id, section: "people",
                view: <><Face person={person} size="2rem" /><span class="grow cut"><Name name={person.name} term={wanted} /> <small class="sub">{person.id}</small></span></>,
                run: () => writeTo(person.id),
            });
        }
        for (const room of found.filter(({ id }) => !rooms.value.has(id)).slice(0, 4)) {
            list.push({
                key: room.id, section: "public",
                view: <><RoomFace row={{ id: room.id, name: room.name, avatar: room.avatar, kind: "room", person: undefined }} size="2rem" /><span class="grow cut"><Name name={room.name} term={wanted} /><small class="sub"> · {t("room.members", { n: room.members })}</small></span></>,
                run: () => go(roomRoute(room.alias ?? room.id)),
            });
        }
        const link = matrixLink(wanted);
        const address = /^[#!][^\s:]+:\S+$/.test(wanted) ? roomRoute(wanted) : link?.page === "room" ? link : undefined;
        if (address) list.push({ key: "address", section: "more", view: <><Icon name="hash" /><span class="grow cut">{t("explore.go", { address: wanted })}</span></>, run: () => go(address) });
        if (wanted) for (const { key, icon, run } of COMMANDS.filter((each) => score(t(each.key), wanted) > 0)) list.push({ key, section: "more", view: <><Icon name={icon} /><span class="grow cut">{t(key)}</span></>, run });
        if (wanted) list.push({ key: "search", section: "more", view: <><Icon name="search" /><span class="grow cut">{t("switch.messages", { term: wanted })}</span><kbd>Ctrl ↵</kbd></>, run: () => go({ page: "search", query: wanted, room: undefined }) });
        return list;
    }, [wanted, people, found, rooms.value]);
    const run = (entry: Entry | undefined): void => {
        if (!entry) return;
        close();
        entry.run();
    };
    let section = "";
    return (
        <Dialog title={t("switch.title")} onClose={close} bare>
            <div class="switch-top">
                <label class="find tall">
                    <Icon name="search" />
                    <input
                        autofocus value={term} role="combobox" aria-expanded="true" aria-controls="switch-found" aria-activedescendant={entries[at] ? `sw${at}` : undefined} aria-label={t("switch.label")} placeholder={t("switch.label")} autocomplete="off"
                        onInput={(event) => setTerm(event.currentTarget.value)}
                        onKeyDown={(event) => {
                            const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
                            if (step) {
                                event.preventDefault();
                                const next = (at + step + entries.length) % Math.max(1, entries.length);
                                move(next);
                                document.getElementById(`sw${next}`)?.scrollIntoView({ block: "nearest" });
                            } else if (event.key === "Enter" && !event.isComposing) {
                                event.preventDefault();
                                run(event.ctrlKey || event.metaKey ? entries.find(({ key }) => key === "search") : entries[at]);
                            }
                        }}
                    />
                    <kbd>Esc</kbd>
                </label>
            </div>
            <div class="in-dlg menu inline switch-found" role={entries.length > 0 ? "listbox" : undefined} id="switch-found" aria-label={entries.length > 0 ? t("switch.found") : undefined}>
                {entries.map((entry, index) => {
                    const heading = entry.section !== section ? (section = entry.section) : "";
                    return (
                        <>
                            {heading && heading !== "more" && <div class="cap2" aria-hidden="true">{t(`switch.${heading as "chats"}`)}</div>}
                            <button key={entry.key} id={`sw${index}`} type="button" role="option" aria-selected={index === at} tabIndex={-1} onClick={() => run(entry)}>{entry.view}</button>
                        </>
                    );
                })}
                {entries.length === 0 && <p class="nothing">{t("list.none")}</p>}
            </div>
        </Dialog>
    );
}
