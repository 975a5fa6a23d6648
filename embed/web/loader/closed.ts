// What the script is while a site hides its chat out of hours: nothing is shown, and the calls that pages make do nothing.

(() => {
    if (customElements.get("hromada-chat")) return; // included twice, and the chat is there
    const nothing = (): void => undefined;
    const calls = "open close toggle show hide setUser setContext setLocale setTheme sendMessage reset destroy".split(" ");
    const api = { ...Object.fromEntries(calls.map((name) => [name, nothing])), isOpen: () => false, on: () => nothing };
    Object.defineProperty(globalThis, "hromadaChat", { value: Object.freeze(api), configurable: true, writable: true });
})();
