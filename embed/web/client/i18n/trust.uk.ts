// Ukrainian: people's identities and the recovery key.

import type { TrustTexts } from "./trust.en.ts";

export const trustUk: TrustTexts = {
    "again": "Підтвердити знову",
    "anyway": "Усе одно надіслати",
    "asked": "{name} просить підтвердити одне одного: ви порівняєте емодзі.",
    "asked-own": "Інший ваш пристрій просить підтвердження",
    "check": "Перевірити",
    "compare": "Порівняти",
    "confirm": "Підтвердити",
    "confirm-text": "Ви порівняєте емодзі, поруч або під час дзвінка.",
    "confirmed": "Підтверджено",
    "confirmed-text": "Ви порівнювали емодзі. Це справді {name}.",
    "decline": "Не зараз",
    "dismiss": "Усе гаразд",
    "new": "{name}: нова особа. Напевно, новий телефон.",
    "new-confirmed": "{name}: нова особа",
    "new-confirmed-text": "Вона не та, яку ви підтвердили: або новий телефон, або хтось видає себе за цю людину. Поки ви не вирішите, сюди нічого не надсилається.",
};
