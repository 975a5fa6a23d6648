// What only parts say and draw that are loaded when asked for: it is loaded with them.

import icons from "hromada:icons/asked";
import { learnIcons } from "../../ui/Icon.tsx";
import { more } from "../i18n/en.more.ts";
import { learn } from "../i18n/t.ts";

learn(more);
learnIcons(icons);
