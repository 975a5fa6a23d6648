// The texts of e-mail addresses and lost passwords, which come when one of them is shown.

import { fill, language, type Slots } from "../i18n/t.ts";
import { type MailKey, mailEn } from "../i18n/mail.en.ts";
import { mailUk } from "../i18n/mail.uk.ts";

/** As `t`, of these texts. */
export const m = (key: MailKey, slots: Slots = {}): string => fill((language.value === "uk" ? mailUk : mailEn)[key], slots, language.value);

const KNOWN: Record<string, MailKey> = {
    M_INVALID_PARAM: "no-address",
    M_RESOURCE_LIMIT_EXCEEDED: "many",
    M_THREEPID_AUTH_FAILED: "not-yet",
    M_THREEPID_IN_USE: "in-use",
};

/** What an error about an address means, if it is one of those that say something about it. */
export function mailError(error: unknown): string | undefined {
    const key = KNOWN[(error as { errcode?: string }).errcode ?? ""];
    return key && m(key);
}
