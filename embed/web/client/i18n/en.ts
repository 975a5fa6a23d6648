// English; its keys are the type of all languages. {slots} are filled in, plural forms are chosen by {n}.

import { chat } from "./en.chat.ts";
import { entry } from "./en.entry.ts";
import { more } from "./en.more.ts";
import { rooms } from "./en.rooms.ts";
import { settings } from "./en.settings.ts";

export const en = { ...entry, ...chat, ...more, ...rooms, ...settings } as const;
