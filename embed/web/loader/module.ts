// The same as a module, for pages that are built of modules: `import { HromadaChat } from "https://…/embed.mjs"`.

import { type Api, type Options, start } from "./chat.ts";

export const HromadaChat = Object.freeze({ mount: (options: Options): Api => start(new URL(import.meta.url).origin, { ...options }) });
