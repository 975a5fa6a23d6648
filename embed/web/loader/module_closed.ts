// What the module is while a site hides its chat out of hours.

import { nothing } from "./nothing.ts";

export const HromadaChat = Object.freeze({ mount: nothing });
