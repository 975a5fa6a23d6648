// What is known of files before they are sent (parcels.ts), and when they are shown.

import { given } from "./given.ts";
import { t } from "./i18n/t.ts";
import type { Device } from "./crypto.ts";

/** A size for people. */
export function bytes(size: number): string {
    const units = ["byte", "kilobyte", "megabyte"];
    const step = size < 1000 ? 0 : size < 1_000_000 ? 1 : 2;
    return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: units[step]!, unitDisplay: "short", maximumFractionDigits: 1 }).format(size / 1000 ** step);
}

/** How a file was encrypted.  spec: client-server-api#extensions-to-mroommessage-msgtypes */
export type Sealed = Record<string, unknown>;

/** What encrypts files, where the conversation is encrypted. */
export const sealing: { wanted: boolean; device: Device | null } = { wanted: false, device: null };

/** Why a file cannot be sent; nothing if it can. */
export function refuses(file: File): string {
    if (!given.files.types.includes(file.type)) return t("badType");
    return file.size > given.files.max ? t("tooBig", { size: bytes(given.files.max) }) : "";
}
