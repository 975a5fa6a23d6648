// A few records in IndexedDB. Where storage is denied they live as long as the page.

import { type DBSchema, type IDBPDatabase, type IDBPObjectStore, openDB } from "idb";

interface Schema extends DBSchema {
    kv: { key: string; value: unknown };
    drafts: { key: string; value: unknown };
    outbox: { key: string; value: unknown };
}
type Store = "kv" | "drafts" | "outbox";

const NAME = "hromada";
const memory = new Map<string, unknown>();
let opened: Promise<IDBPDatabase<Schema> | null> | undefined;

function open(): Promise<IDBPDatabase<Schema> | null> {
    opened ??= openDB<Schema>(NAME, 1, {
        upgrade(db) {
            db.createObjectStore("kv");
            db.createObjectStore("drafts");
            db.createObjectStore("outbox");
        },
        blocking(_, __, event) {
            (event.target as IDBDatabase).close(); // another tab wants to delete it
            opened = undefined;
        },
    }).catch(() => null);
    return opened;
}

/** Whether what is written outlives the page. */
export const lasting = async (): Promise<boolean> => (await open()) !== null;

export async function get<T>(store: Store, key: string): Promise<T | undefined> {
    const db = await open();
    return (db ? await db.get(store, key) : memory.get(`${store}/${key}`)) as T | undefined;
}

/** Committed at once: what a page does while it goes would be undone if its browser waited for the page to see that it was done. */
async function change(db: IDBPDatabase<Schema>, store: Store, run: (records: IDBPObjectStore<Schema, Store[], Store, "readwrite">) => Promise<unknown>): Promise<void> {
    const transaction = db.transaction([store], "readwrite");
    const done = run(transaction.objectStore(store));
    transaction.commit();
    await Promise.all([done, transaction.done]);
}

export async function put(store: Store, key: string, value: unknown): Promise<void> {
    const db = await open();
    if (db) await change(db, store, (records) => records.put(value, key));
    else memory.set(`${store}/${key}`, value);
}

export async function remove(store: Store, key: string): Promise<void> {
    const db = await open();
    if (db) await change(db, store, (records) => records.delete(key));
    else memory.delete(`${store}/${key}`);
}

export async function all<T>(store: Store): Promise<[string, T][]> {
    const db = await open();
    if (!db) {
        const prefix = `${store}/`;
        return [...memory].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value as T]);
    }
    const [keys, values] = await Promise.all([db.getAllKeys(store), db.getAll(store)]);
    return keys.map((key, at) => [key, values[at] as T]);
}

/** Forget everything that this browser keeps: at logout. With `only`, those databases whose names it matches. */
export async function wipe(only?: RegExp): Promise<void> {
    if (!only) {
        memory.clear();
        (await open())?.close();
        opened = undefined;
    }
    const known = (await indexedDB.databases?.().catch(() => [])) ?? [{ name: NAME }];
    await Promise.all(
        known.map(
            ({ name }) =>
                new Promise<void>((done) => {
                    if (!name || only?.test(name) === false) return done();
                    const request = indexedDB.deleteDatabase(name);
                    request.onsuccess = request.onerror = request.onblocked = () => done();
                }),
        ),
    );
}
