// What only the pages of settings and keys say is loaded with them.

import { settings } from "./en.settings.ts";
import { learn } from "./t.ts";

learn(settings);
