import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog, IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { RoomFace } from "../parts/faces.tsx";
import { Panel } from "../parts/Panel.tsx";
import { go, panel, route } from "../routes.ts";
import type { Found } from "../sdk/commands.ts";
import type { RoomRow } from "../sdk/types.ts";
import { attempt, openRoomById, rooms, the } from "../stores/app.ts";
import { within } from "../stores/list.ts";
import { rightsOf } from "../stores/room.ts";
import { score } from "../stores/score.ts";
import { inviteTo, newDialog } from "../stores/ui.ts";
import { RoomCard } from "./Explore.tsx";
import "../parts/asked.ts";

const MOST = 50;

/** Rooms one is in, to be put into the space. What the space is in itself is not among them. */
function AddRooms({ row, onClose }: { row: RoomRow; onClose: () => void }): JSX.Element {
    const [term, setTerm] = useState("");
    const found = [...rooms.value.values()]
        .filter((each) => each.membership === "join" && each.kind !== "dm" && each.id !== row.id && !row.children.includes(each.id) && !within(each.id, rooms.value).has(row.id) && (!term || score(each.name, term) > 0))
        .sort((a, b) => a.name.localeCompare(b.name));
    return (
        <Dialog title={t("space.add")} onClose={onClose}>
            <div class="in-dlg">
                <label class="find"><Icon name="search" /><input type="search" autofocus aria-label={t("list.search")} placeholder={t("list.search")} value={term} onInput={(event) => setTerm(event.currentTarget.value.trim())} /></label>
                {found.slice(0, MOST).map((each) => (
                    <div class="set" key={each.id}>
                        <RoomFace row={each} size="2rem" /><b class="grow cut">{each.name}</b>
                        <button type="button" class="btn s soft" aria-label={t("space.add-one", { name: each.name })} onClick={() => void attempt(() => the().commands.addToSpace(row.id, each.id))}>{t("add")}</button>
                    </div>
                ))}
                {found.length === 0 && <p class="nothing">{t("space.add-none")}</p>}
            </div>
        </Dialog>
    );
}

/** A space: what it is and which rooms are in it. */
export function SpaceHome({ row }: { row: RoomRow }): JSX.Element {
    const [list, setList] = useState<readonly Found[]>();
    const [adding, setAdding] = useState(false);
    const rights = rightsOf(row.id);
    const shown = route.value.page === "room" ? route.value.panel : undefined;
    useEffect(() => {
        let current = true;
        the().commands.hierarchy(row.id).then((found) => current && setList(found), () => current && setList([]));
        return () => void (current = false);
    }, [row.id, row.children.join()]);
    return (
        <>
            <main class="main" aria-label={row.name}>
                <header class="bar head">
                    <IconButton icon="arrow-left" flip class="phone-only" label={t("room.back")} onClick={() => go({ page: "home" })} />
                    <RoomFace row={row} size="2.25rem" />
                    <span class="grow"><h2 class="cut">{row.name}</h2><span class="sub cut block">{t("space.sub", { n: row.members })}</span></span>
                    <IconButton icon="panel-right" label={t("room.details")} aria-expanded={shown !== undefined} onClick={() => panel(shown ? undefined : "details")} />
                </header>
                <div class="scroll">
                    <div class="wrap w">
                        <h1>{row.name}</h1>
                        {row.topic && <p class="mut">{row.topic}</p>}
                        <div class="row wrapping above">
                            {rights?.rules && <button type="button" class="btn go" onClick={() => (newDialog.value = { kind: "room", parent: row.id })}><Icon name="plus" />{t("space.new-room")}</button>}
                            {rights?.rules && <button type="button" class="btn" onClick={() => setAdding(true)}><Icon name="hash" />{t("space.add")}</button>}
                            {rights?.invite && <button type="button" class="btn" onClick={() => (inviteTo.value = row.id)}><Icon name="user-plus" />{t("members.invite")}</button>}
                        </div>
                        <div class="rooms">
                            {list?.map((found) => (
                                <RoomCard key={found.id} found={found} extra={rights?.rules ? { label: t("space.remove"), run: () => void attempt(() => the().commands.addToSpace(row.id, found.id, true)) } : undefined} />
                            ))}
                        </div>
                        {list?.length === 0 && <p class="nothing">{t("space.empty")}</p>}
                    </div>
                </div>
            </main>
            {shown && <Panel row={row} shown={shown} />}
            {adding && <AddRooms row={row} onClose={() => setAdding(false)} />}
        </>
    );
}

export const openIfJoined = (id: string): boolean => {
    if (rooms.value.get(id)?.membership !== "join") return false;
    openRoomById(id);
    return true;
};
