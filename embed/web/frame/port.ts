// The one connection to the page around us. It is taken from a page of the site's origins, and from no other.

import { given } from "./given.ts";

export interface Page {
    url: string;
    title: string;
    locale: string;
    open: boolean;
}
type Heard = (name: string, value: unknown) => void;

const MOST = 64 * 1024;
let port: MessagePort | null = null;

/** Whether an origin is one of the site's; `https://*.example.org` stands for its subdomains. */
export function allowed(origin: string): boolean {
    return given.origins.some((each) => {
        if (!each.includes("*.")) return each === origin;
        const [scheme, host] = each.split("*") as [string, string];
        return origin.startsWith(scheme) && origin.endsWith(host);
    });
}

/** Say that we are here, and listen to what comes over the port. */
export function connect(heard: Heard): void {
    addEventListener("message", (event) => {
        if (event.source !== parent || event.data !== "hromada:port" || !event.ports[0] || !allowed(event.origin)) return;
        port?.close();
        port = event.ports[0];
        port.onmessage = ({ data }: MessageEvent<{ m?: unknown; v?: unknown }>) => {
            if (typeof data?.m === "string" && JSON.stringify(data).length < MOST) heard(data.m, data.v);
        };
    });
    // It says nothing that a stranger could use, so it may go to whoever shows us.
    if (parent !== window) parent.postMessage("hromada:hello", "*");
}

/** Tell the page something. */
export const tell = (name: string, value?: unknown): void => port?.postMessage({ m: name, v: value });
