import type { JSX } from "preact";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { lazy } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { go } from "../routes.ts";
import { sealed } from "../render/group.ts";
import type { Item, RoomRow } from "../sdk/types.ts";
import { app } from "../stores/app.ts";
import { changed, check, confirmed, cryptoState, recovery, restoring, theCrypto } from "../stores/crypto.ts";

const RoomTrust = lazy(() => import("../pages/Trust.tsx").then(({ RoomTrust }) => RoomTrust), null);

const Unlock = lazy(() => import("../pages/Trust.tsx").then(({ Unlock }) => Unlock), null);
/** Rooms in which the bar was closed; it comes again with the page. */
export const shut = signal<ReadonlySet<string>>(new Set());

/** One bar above a conversation with closed messages, if there is a way to open them. */
export function UnlockBar({ row, items }: { row: RoomRow; items: readonly Item[] }): JSX.Element | null {
    const way = confirmed.value === false || recovery.value;
    const closed = row.encrypted && way && !restoring.value && !shut.value.has(row.id) && items.some(sealed);
    return closed ? <Unlock room={row.id} page={confirmed.value ? "unlock" : "verify"} /> : null;
}

/** Above the composer: who asks here to be confirmed, and whose identity has changed. */
export function TrustHere({ row }: { row: RoomRow }): JSX.Element | null {
    const ready = row.encrypted && cryptoState.value === "ready";
    useEffect(() => {
        if (ready) void theCrypto()?.lookAround(row.id);
    }, [row.id, ready]);
    const room = app.value?.engine.room(row.id);
    const users = ready ? [...changed.value.keys()].filter((user) => /^(join|invite)$/.test(room?.getMember(user)?.membership ?? "")) : [];
    const asked = check.value?.phase === "asked" && check.value.room === row.id;
    return asked || users.length > 0 ? <RoomTrust room={row.id} users={users} /> : null;
}

/** What stands in the composer's place while this device may not write here. */
export function useComposerLock(row: RoomRow): JSX.Element | undefined {
    if (!row.encrypted) return undefined;
    if (cryptoState.value === "off" || cryptoState.value === "broken") return <div class="deny">{t("locked.no-crypto")}</div>;
    if (confirmed.value === false) {
        return <div class="deny row centred"><span>{t("locked.confirm")}</span> <button type="button" class="btn s go" onClick={() => go({ page: "verify" })}>{t("locked.confirm-yes")}</button></div>;
    }
    return undefined;
}
