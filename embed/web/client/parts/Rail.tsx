import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { BadgeView, Face, RoomFace } from "./faces.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useRoving } from "../../ui/roving.ts";
import { t } from "../i18n/t.ts";
import { format, go, openRoom, route } from "../routes.ts";
import { admin, awaySince, loaded, me, openRoomById, rooms } from "../stores/app.ts";
import { nextUnread, space, spaces, sum, waiting, within } from "../stores/list.ts";
import { newDialog } from "../stores/ui.ts";

const Entry = ({ icon, label, href, on }: { icon: string; label: string; href: string; on: boolean }): JSX.Element => (
    <a class="ib" href={href} title={label} aria-label={label} aria-current={on ? "page" : undefined}><Icon name={icon} /></a>
);

/** A press on a badge opens the next room of those that it counts. */
function byBadge(event: MouseEvent, inside?: ReadonlySet<string>): boolean {
    const next = (event.target as Element).closest(".badge, .dot") && nextUnread(openRoom.value, inside);
    if (!next) return false;
    event.preventDefault();
    openRoomById(next.id);
    return true;
}

/** The user's spaces: beside the list, on a telephone above it. */
export function Spaces(): JSX.Element {
    const { page } = route.value;
    return (
        <>
            {spaces.value.slice(0, 30).map((row) => {
                const inside = within(row.id, rooms.value);
                const total = sum(inside);
                const label = total.count ? t("nav.space-unread", { name: row.name, n: total.count }) : row.name;
                return (
                    <button
                        key={row.id} type="button" class="sp" title={row.name} aria-pressed={space.value === row.id}
                        onClick={(event) => {
                            if (byBadge(event, inside)) return;
                            space.value = space.value === row.id ? undefined : row.id;
                            if (page !== "room") go({ page: "home" });
                        }}
                    >
                        <RoomFace row={row} />
                        <span aria-hidden="true"><BadgeView {...total} dm /></span>
                        <span class="vh">{label}</span>
                    </button>
                );
            })}
        </>
    );
}

/** The first column: chats, the user's spaces, what is around. */
export function Rail(): JSX.Element {
    const { page } = route.value;
    const chats = page === "home" || page === "room" || page === "invites" || page === "search";
    const bar = useRef<HTMLElement>(null);
    const roving = useRoving(bar, "a, button");
    return (
        <nav class="rail" ref={bar} {...roving} aria-label={t("nav.main")}>
            <img class="mark" src="/assets/logo.svg" alt="Hromada" />
            <a
                class="ib" href="#/" title={t("nav.chats")} aria-label={t("nav.chats")} aria-current={chats && !space.value ? "page" : undefined}
                onClick={() => (space.value = undefined)}
            >
                <Icon name="messages-square" />
            </a>
            <Spaces />
            <hr />
            <Entry icon="compass" label={t("nav.explore")} href="#/explore" on={page === "explore"} />
            <button type="button" class="ib" title={t("nav.new")} aria-label={t("nav.new")} onClick={() => (newDialog.value = "people")}><Icon name="plus" /></button>
            <div class="end">
                {admin.value && <Entry icon="server" label={t("nav.admin")} href="#/admin/users" on={page === "admin"} />}
                <Entry icon="settings" label={t("nav.settings")} href="#/settings/profile" on={page === "settings"} />
                <a href="#/settings/profile" title={me.value.name}><Face person={me.value} size="2.25rem" back="var(--rail)" online={loaded.value && awaySince.value === undefined} /><span class="vh">{t("nav.account", { name: me.value.name })}</span></a>
            </div>
        </nav>
    );
}

/** The same on a phone, at the foot. */
export function TabBar(): JSX.Element {
    const { page } = route.value;
    const tab = (icon: string, label: string, href: string, on: boolean, n = 0): JSX.Element => (
        <a href={href} aria-current={on ? "page" : undefined} onClick={(event) => void byBadge(event)}>
            <Icon name={icon} />
            {label}
            {n > 0 && <span class="badge you">{n}</span>}
        </a>
    );
    return (
        <nav class="tabbar phone-only" aria-label={t("nav.main")}>
            {tab("messages-square", t("nav.chats"), format({ page: "home" }), page === "home", waiting.value)}
            {tab("compass", t("nav.explore-short"), "#/explore", page === "explore")}
            {tab("settings", t("nav.settings"), "#/settings", page === "settings")}
        </nav>
    );
}
