// The list as it was, under a key that no script can read: it is on the screen before the SDK's store is open, and rows
// are taken over one by one. What was decrypted stands in it, so it is never kept in the clear.

import { effect } from "@preact/signals";
import * as kv from "../../core/kv.ts";
import { openRoom } from "../routes.ts";
import type { Person, RoomRow } from "../sdk/types.ts";
import { app, loaded, me, rooms } from "./app.ts";
import { confirmed } from "./crypto.ts";
import { endOf, keptRoom } from "./room.ts";

/** Another name when rows change their shape: what an older build kept is not shown. */
const KEPT_AS = "snapshot-3";
const MOST = 400;
/** Of an open room's end, in characters of JSON; a longer one is not kept. */
const LONGEST = 150_000;
const REST_MS = 2_000;
interface Kept {
    user: string;
    me: Person;
    rows: RoomRow[];
    open: ReturnType<typeof endOf>;
    /** Whether this device was confirmed. */
    confirmed?: boolean | undefined;
}
interface Sealed {
    iv: Uint8Array<ArrayBuffer>;
    data: ArrayBuffer;
}

async function keyOf(): Promise<CryptoKey> {
    const known = await kv.get<CryptoKey>("kv", "snapshot-key");
    if (known) return known;
    const made = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    await kv.put("kv", "snapshot-key", made);
    return made;
}

/** Show the list as it was; whether there was one. */
export async function showKept(user: string): Promise<boolean> {
    try {
        const sealed = await kv.get<Sealed>("kv", KEPT_AS);
        if (!sealed) return false;
        const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: sealed.iv }, await keyOf(), sealed.data);
        const kept = JSON.parse(new TextDecoder().decode(plain)) as Kept;
        if (kept.user !== user || kept.rows.length === 0) return false;
        rooms.value = new Map(kept.rows.map((row) => [row.id, row]));
        me.value = kept.me;
        keptRoom.value = kept.open;
        confirmed.value = kept.confirmed;
        loaded.value = true;
        return true;
    } catch {
        return false;
    }
}

async function keep(user: string): Promise<void> {
    const rows = [...rooms.value.values()].sort((a, b) => b.time - a.time).slice(0, MOST).map((row) => ({ ...row, typing: [] }));
    const end = openRoom.value ? endOf(openRoom.value) : undefined;
    const open = end && JSON.stringify(end).length <= LONGEST ? end : undefined;
    const plain = new TextEncoder().encode(JSON.stringify({ user, me: me.value, rows, open, confirmed: confirmed.value } satisfies Kept));
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await keyOf(), plain);
    // Somebody may have signed out meanwhile: then nothing is to stay.
    if (app.value) await kv.put("kv", KEPT_AS, { iv, data } satisfies Sealed);
}

/** Keep the list from now on: when it has rested, and when the page goes. */
export function keepList(user: string): void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const now = (): void => {
        clearTimeout(timer);
        timer = undefined;
        void keep(user).catch(() => undefined);
    };
    effect(() => {
        void [openRoom.value, confirmed.value]; // another room was opened, or this device may write where it might not
        if (rooms.value.size > 0) timer ??= setTimeout(now, REST_MS);
    });
    addEventListener("pagehide", () => timer && now());
}
