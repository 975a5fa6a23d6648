// The index of encrypted rooms, from when somebody first searches them. Its code is loaded then, and after every start
// that follows; signing out removes the mark for that with everything else.
//
// What it works with is given to it: whatever it imported of the first script would be cut out of that for everybody.

import * as kv from "../../core/kv.ts";
import type { Engine } from "../sdk/engine.ts";
import { Finder } from "../sdk/find/finder.ts";

let opening: Promise<Finder> | undefined;

/** The finder of this session. Throws if this browser cannot have one. */
export function theFinder(engine: Engine): Promise<Finder> {
    opening ??= open(engine).catch((error: unknown) => {
        opening = undefined;
        throw error;
    });
    return opening;
}

async function open(engine: Engine): Promise<Finder> {
    // A key that no script can read. It is also the mark.
    const known = await kv.get<CryptoKey>("kv", "finds");
    const key = known ?? (await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]));
    if (!known) await kv.put("kv", "finds", key);
    return Finder.open(engine, key);
}
