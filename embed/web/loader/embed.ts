// The script that a site names in its pages. What it says of itself is in attributes of its tag.

import { start } from "./chat.ts";

const script = document.currentScript as HTMLScriptElement | null;
if (script) start(new URL(script.src).origin, script.dataset); // or it is not a plain script
