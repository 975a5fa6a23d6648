// What there is while a site hides its chat out of hours: nothing is shown, and the calls that pages make do nothing.

import type { Api } from "./chat.ts";

export const nothing = (): Api => {
    const global = globalThis as { hromadaChat?: Api };
    if (customElements.get("hromada-chat")) return global.hromadaChat!; // included twice, and the chat is there
    const none = (): void => undefined;
    const calls = "open close toggle show hide setUser setContext setLocale setTheme sendMessage reset destroy".split(" ");
    const api: Api = Object.freeze({ ...Object.fromEntries(calls.map((name) => [name, none])), isOpen: () => false, on: () => none });
    Object.defineProperty(global, "hromadaChat", { value: api, configurable: true, writable: true });
    return api;
};
