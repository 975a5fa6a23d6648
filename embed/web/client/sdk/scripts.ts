// Addresses of scripts that run beside the page. Its policy lets no text be one: this makes addresses of our own alone.

type Factory = { createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL(url: string): string } };

export const WORKER = "/worker.js";
const OURS = /^\/(worker|assets\/[\w.]+)\.js$/;

/** Throws for whatever is not ours. */
export function ours(url: string, origin = globalThis.location?.origin): string {
    const { origin: from, pathname, search } = new URL(url, origin);
    if (from !== origin || search || !OURS.test(pathname)) throw new TypeError("not a script of ours");
    return pathname;
}

let policy: { createScriptURL(url: string): string } | undefined;
export function scriptAddress(url: string): string {
    const types = (globalThis as unknown as { trustedTypes?: Factory }).trustedTypes;
    policy ??= types?.createPolicy("hromada-worker", { createScriptURL: (text) => ours(text) }) ?? { createScriptURL: (text) => ours(text) };
    return policy.createScriptURL(url);
}
