// Addresses of media, uploads, and files under a key of their own.

import { signal } from "@preact/signals";

/** The server gave this browser its cookie for media. */
export const cookie = signal(false);

export type Method = "crop" | "scale";

const parts = (mxc: string): [string, string] | undefined => {
    const found = /^mxc:\/\/([A-Za-z0-9.:[\]-]+)\/([A-Za-z0-9._~-]+)$/.exec(mxc);
    return found ? [found[1] ?? "", found[2] ?? ""] : undefined;
};
const BASE = "/_matrix/client/v1/media";

/** The address of a picture in this size; undefined for what is no media id, or while the server gives no cookie. */
export function thumbnail(mxc: string | undefined, width: number, height = width, method: Method = "crop"): string | undefined {
    const found = mxc ? parts(mxc) : undefined;
    if (!found || !cookie.value) return undefined;
    const dense = Math.min(2, Math.ceil(globalThis.devicePixelRatio || 1));
    return `${BASE}/thumbnail/${found[0]}/${found[1]}?width=${width * dense}&height=${height * dense}&method=${method}`;
}

/** Up to how many bytes a file is shown: encrypted ones, and all where there is no cookie, are fetched whole. */
export const largestShown = (encrypted: boolean, served: boolean): number => (encrypted ? 100e6 : served ? Infinity : 25e6);

/** Where the bytes are, for those who send the token themselves. */
export function address(mxc: string): string | undefined {
    const found = parts(mxc);
    return found && `${BASE}/download/${found[0]}/${found[1]}`;
}

/** The address of the file itself; `name` makes it a download. */
export function original(mxc: string | undefined, name?: string): string | undefined {
    const found = mxc ? parts(mxc) : undefined;
    if (!found || !cookie.value) return undefined;
    return `${BASE}/download/${found[0]}/${found[1]}${name ? `/${encodeURIComponent(name)}` : ""}`;
}
