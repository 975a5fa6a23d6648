// Where the index lies: a database of its own, or this page's memory where storage is denied.

import { type DBSchema, openDB } from "idb";

/** One of these is written over, or removed if the value is undefined. */
export type Change = readonly [store: Store, key: string, value: unknown];
export type Store = "rooms" | "segments" | "docs";

export interface Disk {
    get(store: Store, keys: readonly string[]): Promise<unknown[]>;
    /** Everything in a store of few records. */
    all(store: Store): Promise<[string, unknown][]>;
    /** The keys of what was kept of a room's messages. */
    docsOf(room: string): Promise<string[]>;
    /** All of it or nothing. */
    write(changes: readonly Change[]): Promise<void>;
    clear(): Promise<void>;
}

interface Schema extends DBSchema {
    rooms: { key: string; value: unknown };
    segments: { key: string; value: unknown };
    docs: { key: string; value: unknown; indexes: { room: string } };
}

const NAME = "hromada-finds";

/** The database; what somebody else left in it stays until `clear`. */
export async function openDisk(): Promise<Disk> {
    let gone = false;
    const db = await openDB<Schema>(NAME, 1, {
        upgrade(fresh) {
            fresh.createObjectStore("rooms");
            fresh.createObjectStore("segments");
            fresh.createObjectStore("docs").createIndex("room", "room");
        },
        // It is about to be deleted: this page signs out. Nothing may be written after that.
        blocking(_, __, event) {
            gone = true;
            (event.target as IDBDatabase).close();
        },
    });
    const there = (): typeof db => {
        if (gone) throw new Error("the index is gone");
        return db;
    };
    return {
        get: async (store, keys) => {
            const from = there().transaction(store).store;
            return Promise.all(keys.map((key) => from.get(key)));
        },
        all: async (store) => {
            const from = there().transaction(store).store;
            const [keys, values] = await Promise.all([from.getAllKeys(), from.getAll()]);
            return keys.map((key, at) => [key, values[at]]);
        },
        docsOf: (room) => there().getAllKeysFromIndex("docs", "room", room),
        write: async (changes) => {
            const transaction = there().transaction(["rooms", "segments", "docs"], "readwrite");
            for (const [store, key, value] of changes) {
                const to = transaction.objectStore(store);
                void (value === undefined ? to.delete(key) : to.put(value, key));
            }
            await transaction.done;
        },
        clear: async () => {
            const transaction = there().transaction(["rooms", "segments", "docs"], "readwrite");
            for (const store of ["rooms", "segments", "docs"] as const) void transaction.objectStore(store).clear();
            await transaction.done;
        },
    };
}

export function memoryDisk(): Disk {
    const stores = { rooms: new Map<string, unknown>(), segments: new Map<string, unknown>(), docs: new Map<string, unknown>() };
    return {
        get: (store, keys) => Promise.resolve(keys.map((key) => stores[store].get(key))),
        all: (store) => Promise.resolve([...stores[store]]),
        docsOf: (room) => Promise.resolve([...stores.docs].flatMap(([key, value]) => ((value as { room: string }).room === room ? [key] : []))),
        write: (changes) => {
            for (const [store, key, value] of changes) {
                if (value === undefined) stores[store].delete(key);
                else stores[store].set(key, value);
            }
            return Promise.resolve();
        },
        clear: () => {
            for (const store of Object.values(stores)) store.clear();
            return Promise.resolve();
        },
    };
}
