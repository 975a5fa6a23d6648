import type { JSX } from "preact";
import { t } from "../i18n/t.ts";
import { go } from "../routes.ts";
import type { RoomRow } from "../sdk/types.ts";
import { confirmed, cryptoState } from "../stores/crypto.ts";

/** What stands in the composer's place while this device may not write here. */
export function useComposerLock(row: RoomRow): JSX.Element | undefined {
    if (!row.encrypted) return undefined;
    if (cryptoState.value === "loading") return undefined;
    if (cryptoState.value === "off" || cryptoState.value === "broken") return <div class="deny">{t("locked.no-crypto")}</div>;
    if (confirmed.value === false) {
        return <div class="deny row centred"><span>{t("locked.confirm")}</span> <button type="button" class="btn s go" onClick={() => go({ page: "verify" })}>{t("locked.confirm-yes")}</button></div>;
    }
    return undefined;
}
