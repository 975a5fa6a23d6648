// The texts of identities, keys and closed messages, which come when one of them is shown.

import { fill, language, type Slots } from "../i18n/t.ts";
import { trustEn, type TrustKey } from "../i18n/trust.en.ts";
import { trustUk } from "../i18n/trust.uk.ts";

/** As `t`, of these texts. */
export const s = (key: TrustKey, slots: Slots = {}): string => fill((language.value === "uk" ? trustUk : trustEn)[key], slots, language.value);
