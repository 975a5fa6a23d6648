// Ukrainian.

import { chat } from "./uk.chat.ts";
import { entry } from "./uk.entry.ts";
import { more } from "./uk.more.ts";
import { rooms } from "./uk.rooms.ts";
import { settings } from "./uk.settings.ts";
import type { Texts } from "./t.ts";

export const uk: Texts = { ...entry, ...chat, ...more, ...rooms, ...settings };
