// What the script is while a site hides its chat out of hours.

import { nothing } from "./nothing.ts";

nothing();
