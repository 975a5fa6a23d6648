// What stands in the place of messages that cannot be opened here. Loaded when there is one.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import type { Body } from "../sdk/types.ts";
import { confirmed, restoring } from "../stores/crypto.ts";
import { s } from "./trust-texts.ts";

/** So long a key may take to come before anything is said. */
const PATIENCE_MS = 4_000;

function lockedText(reason: string, since: number): { title: string; text?: string } {
    switch (reason) {
        case "HISTORICAL_MESSAGE_NO_KEY_BACKUP":
        case "HISTORICAL_MESSAGE_BACKUP_UNCONFIGURED":
        case "HISTORICAL_MESSAGE_WORKING_BACKUP":
            return { title: s("locked.before") };
        case "HISTORICAL_MESSAGE_USER_NOT_JOINED":
            return { title: t("locked.closed"), text: s("locked.not-joined") };
        case "MEGOLM_KEY_WITHHELD_FOR_UNVERIFIED_DEVICE":
            return { title: t("locked.closed"), text: s("locked.unconfirmed") };
        case "MEGOLM_KEY_WITHHELD":
            return { title: t("locked.closed"), text: s("locked.withheld") };
        case "UNSIGNED_SENDER_DEVICE":
        case "UNKNOWN_SENDER_DEVICE":
            return { title: t("locked.closed"), text: s("locked.sender") };
        default:
            return Date.now() - since > 3_600_000 ? { title: s("locked.never") } : { title: s("locked.waiting"), text: s("locked.patience") };
    }
}

const Bone = (): JSX.Element => <span class="utd" role="status" aria-label={t("loading")}><span class="bone" /></span>;

/** A message that cannot be opened, and why. */
export function Locked({ body, unlock }: { body: Extract<Body, { type: "locked" }>; unlock: () => void }): JSX.Element {
    const [, again] = useState(0);
    const { reason, since, tried } = body;
    const left = tried + PATIENCE_MS - Date.now();
    useEffect(() => {
        if (left <= 0) return undefined;
        const timer = setTimeout(() => again(tried), left);
        return () => clearTimeout(timer);
    }, [tried]);
    if (left > 0 || (restoring.value && reason.startsWith("HISTORICAL_MESSAGE_W"))) return <Bone />;
    const { title, text } = lockedText(reason, since);
    const helps = reason.endsWith("UNVERIFIED_DEVICE") && confirmed.value === false;
    return (
        <span class="utd">
            <Icon name={text === s("locked.patience") ? "hourglass" : "lock"} />
            <span>{title}{text && <small>{text}</small>}{helps && <button type="button" class="linked" onClick={unlock}>{t("locked.confirm-yes")}</button>}</span>
        </span>
    );
}

/** So many messages in a row are from before this device. */
export const Sealed = ({ count }: { count: number }): JSX.Element => (restoring.value ? <Bone /> : <><Icon name="lock" size=".875rem" /> {s("locked.run", { n: count })}</>);
