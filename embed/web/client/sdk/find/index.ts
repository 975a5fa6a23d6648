// The index of what this device has read in encrypted rooms. Words and texts are sealed; ids and moments, which the
// server knows too, are not. One page works with it at a time; what changes it is done in order.

import type { Change, Disk } from "./disk.ts";
import { Segment } from "./segment.ts";
import { wantedOf } from "./words.ts";

export interface Said {
    id: string;
    room: string;
    sender: string;
    time: number;
    text: string;
    /** Of an edit: the message whose words it replaces. */
    of?: string;
}
export interface Found {
    id: string;
    room: string;
    time: number;
}
export interface Doc extends Found {
    sender: string;
    text: string;
}

/** What is kept of a room in the clear. */
interface RoomRecord {
    segments: { number: number; from: number; to: number; count: number; size: number; bytes: number }[];
    /** From where older messages are fetched: not begun, or null at the room's beginning. */
    back?: string | null;
}
/** A message. The one who wrote it and its words are sealed. */
interface DocRecord {
    room: string;
    segment: number;
    edits: string[];
    iv: Uint8Array<ArrayBuffer>;
    data: ArrayBuffer;
}
interface Words {
    sender: string;
    text: string;
    /** When the words were edited. */
    edited?: number;
}
interface Inside extends Words {
    time: number;
    /** The message is not known yet, and so not whose edits of it hold: the last one of each who wrote any. */
    alone?: Words[];
}
interface Sealed {
    iv: Uint8Array<ArrayBuffer>;
    data: ArrayBuffer;
}
type AnyRecord = DocRecord | { room: string; of: string } | { room: string; gone: true };

export const BUDGET = 100 * 1024 * 1024;
const PER_SEGMENT = 256;
/** What a record takes besides its sealed bytes: keys and the like. */
const RECORD_BYTES = 200;
/** Only one of them wrote the message, so others are kept for a prank at most. */
const MOST_EDITORS = 4;
/** Of a longer message the rest is not found. */
const LONGEST = 20_000;
/** Work is put down for a moment after so long, that the page answers to its user. */
const SLICE_MS = 5;
const OWNER = "";

const isDoc = (record: AnyRecord | undefined): record is DocRecord => record !== undefined && "data" in record;

export class Index {
    #disk: Disk;
    #key: CryptoKey;
    #budget: number;
    #rooms = new Map<string, RoomRecord>();
    #queue: Promise<unknown> = Promise.resolve();
    #since = 0;

    private constructor(disk: Disk, key: CryptoKey, budget: number) {
        this.#disk = disk;
        this.#key = key;
        this.#budget = budget;
    }

    /** Open what there is for this user under this key; anything else is removed. */
    static async open(disk: Disk, key: CryptoKey, user: string, budget = BUDGET): Promise<Index> {
        const index = new Index(disk, key, budget);
        const [owner] = (await disk.get("rooms", [OWNER])) as (Sealed | undefined)[];
        const known = owner && (await index.open(OWNER, owner).catch(() => undefined));
        if (known !== user) {
            await disk.clear();
            await disk.write([["rooms", OWNER, await index.seal(OWNER, user)]]);
        }
        for (const [room, record] of await disk.all("rooms")) if (room !== OWNER) index.#rooms.set(room, record as RoomRecord);
        return index;
    }

    get rooms(): string[] {
        return [...this.#rooms.keys()];
    }

    get bytes(): number {
        return [...this.#rooms.values()].flatMap(({ segments }) => segments).reduce((sum, { bytes }) => sum + bytes, 0);
    }

    /** Whether more would push out what there is. */
    get full(): boolean {
        return this.bytes > this.#budget * 0.9;
    }

    /** How many messages can be found, and since when. */
    counted(rooms: readonly string[]): { count: number; since: number | undefined } {
        const segments = rooms.flatMap((room) => this.#rooms.get(room)?.segments ?? []).filter(({ count }) => count > 0);
        const since = segments.reduce((least, { from }) => Math.min(least, from), Infinity);
        return { count: segments.reduce((sum, { count }) => sum + count, 0), since: segments.length ? since : undefined };
    }

    back = (room: string): string | null | undefined => this.#rooms.get(room)?.back;

    setBack(room: string, back: string | null | undefined): Promise<void> {
        return this.#inOrder(async () => {
            const { segments } = this.#record(room);
            await this.#save([], room, { segments, ...(back !== undefined && { back }) });
        });
    }

    /** Whether any of these messages is known. */
    async knows(ids: readonly string[]): Promise<boolean> {
        return (await this.#disk.get("docs", ids)).some((record) => record !== undefined);
    }

    // --- what changes it ---

    /** Take in what was said in a room; what is known already changes nothing. */
    put(room: string, said: readonly Said[]): Promise<void> {
        return this.#inOrder(() => this.#put(room, said));
    }

    async #put(room: string, said: readonly Said[]): Promise<void> {
        const work = new Work(this, room, this.#record(room));
        await work.read(said.flatMap(({ id, of }) => (of ? [id, of] : [id])));
        for (const each of said) {
            if (work.records.get(each.id)) {
                const known = work.records.get(each.id);
                // The message itself, after an edit of it.
                if (isDoc(known) && !each.of) await this.#complete(work, each, known);
                continue;
            }
            if (each.of) await this.#edit(work, each, each.of);
            else await work.say(each.id, { sender: each.sender, text: each.text.slice(0, LONGEST), time: each.time });
            await this.#breathe();
        }
        await this.#finish(work);
        if (this.bytes > this.#budget) await this.#shrink();
    }

    async #complete(work: Work, { id, sender, text, time }: Said, record: DocRecord): Promise<void> {
        const inside = await work.open(id, record);
        if (!inside.alone) return;
        const edit = inside.alone.find((each) => each.sender === sender);
        await work.say(id, { sender, text: text.slice(0, LONGEST), time, ...edit });
    }

    async #edit(work: Work, { id, sender, text, time }: Said, of: string): Promise<void> {
        const target = work.records.get(of);
        if (target && !isDoc(target)) return; // it was removed
        const before = target && (await work.open(of, target));
        if (before && !before.alone && before.sender !== sender) return;
        work.alias(id, of);
        const last = before?.alone ? before.alone.find((each) => each.sender === sender) : before;
        if (last && (last.edited ?? 0) >= time) return;
        const words = { sender, text: text.slice(0, LONGEST), edited: time };
        if (before && !before.alone) return work.say(of, { ...before, ...words });
        const alone = [words, ...(before?.alone ?? []).filter((each) => each.sender !== sender)].slice(0, MOST_EDITORS);
        await work.say(of, { ...words, time, alone });
    }

    /** A message was removed, or an edit. The answer is the message that an edit was of: its own words are the ones that hold. */
    remove(room: string, id: string): Promise<string | undefined> {
        return this.#inOrder(async () => {
            const work = new Work(this, room, this.#record(room));
            await work.read([id]);
            const record = work.records.get(id);
            if (record && "gone" in record) return undefined;
            if (record && "of" in record) {
                await work.read([record.of]);
                await work.forget(record.of, false);
                work.put(id, { room, gone: true });
                await this.#finish(work);
                return record.of;
            }
            await work.forget(id, true);
            await this.#finish(work);
            return undefined;
        });
    }

    /** Keep nothing of a room. */
    leave(room: string): Promise<void> {
        return this.#inOrder(async () => {
            const segments = this.#rooms.get(room)?.segments ?? [];
            const docs = await this.#disk.docsOf(room);
            this.#rooms.delete(room);
            await this.#disk.write([
                ["rooms", room, undefined],
                ...segments.map(({ number }) => ["segments", `${room} ${number}`, undefined] as const),
                ...docs.map((id) => ["docs", id, undefined] as const),
            ]);
        });
    }

    /** The oldest goes, until there is room again. */
    async #shrink(): Promise<void> {
        const all = [...this.#rooms].flatMap(([room, { segments }]) => segments.map((segment) => ({ room, ...segment })));
        for (const { room, number } of all.sort((a, b) => a.to - b.to)) {
            if (this.bytes <= this.#budget * 0.9) break;
            const ids = (await this.segment(room, number)).ids;
            const docs = (await this.#disk.get("docs", ids)) as (DocRecord | undefined)[];
            const gone = [...ids, ...docs.flatMap((doc) => doc?.edits ?? [])];
            const record = this.#record(room);
            const segments = record.segments.filter((each) => each.number !== number);
            await this.#save([["segments", `${room} ${number}`, undefined], ...gone.map((id) => ["docs", id, undefined] as const)], room, { ...record, segments });
            await this.#breathe();
        }
    }

    async #finish(work: Work): Promise<void> {
        const changes = await work.changes();
        if (changes.length) await this.#save(changes, work.room, work.record);
    }

    async #save(changes: Change[], room: string, record: RoomRecord): Promise<void> {
        await this.#disk.write([...changes, ["rooms", room, record]]);
        this.#rooms.set(room, record);
    }

    #record(room: string): RoomRecord {
        const known = this.#rooms.get(room);
        return known ? { ...known, segments: known.segments.map((each) => ({ ...each })) } : { segments: [] };
    }

    #inOrder<T>(run: () => Promise<T>): Promise<T> {
        const done = this.#queue.then(run);
        this.#queue = done.catch(() => undefined);
        return done;
    }

    // --- looking for words ---

    /** Messages of these rooms with a word that begins so for each one of the term, the newest first. */
    async find(term: string, rooms: readonly string[]): Promise<Found[]> {
        const wanted = wantedOf(term);
        if (wanted.length === 0) return [];
        const found: Found[] = [];
        for (const room of rooms) {
            for (const { number, count } of this.#rooms.get(room)?.segments ?? []) {
                if (count === 0) continue;
                const segment = await this.segment(room, number);
                for (const hit of segment.find(wanted)) found.push({ room, ...hit });
                await this.#breathe();
            }
        }
        return found.sort((a, b) => b.time - a.time);
    }

    /** What was found, with its words; what has gone meanwhile is left out. */
    async read(found: readonly Found[]): Promise<Doc[]> {
        const records = (await this.#disk.get("docs", found.map(({ id }) => id))) as (AnyRecord | undefined)[];
        const docs = await Promise.all(
            found.map(async (each, at) => {
                const record = records[at];
                if (!isDoc(record)) return [];
                const { sender, text } = JSON.parse(await this.open(each.id, record)) as Inside;
                return [{ ...each, sender, text }];
            }),
        );
        return docs.flat();
    }

    /** A segment as it is on disk. */
    async segment(room: string, number: number): Promise<Segment> {
        const name = `${room} ${number}`;
        const [sealed] = (await this.#disk.get("segments", [name])) as (Sealed | undefined)[];
        return sealed ? Segment.parse(await this.open(name, sealed)) : new Segment();
    }

    async docs(ids: readonly string[]): Promise<(AnyRecord | undefined)[]> {
        return (await this.#disk.get("docs", ids)) as (AnyRecord | undefined)[];
    }

    // --- under the device's key; a record opens only in its own place ---

    async seal(name: string, text: string): Promise<Sealed> {
        const iv = crypto.getRandomValues(new Uint8Array(12));
        const encoder = new TextEncoder();
        return { iv, data: await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: encoder.encode(name) }, this.#key, encoder.encode(text)) };
    }

    async open(name: string, { iv, data }: Sealed): Promise<string> {
        return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(name) }, this.#key, data));
    }

    async #breathe(): Promise<void> {
        if (performance.now() - this.#since < SLICE_MS) return;
        await new Promise((go) => setTimeout(go, 0));
        this.#since = performance.now();
    }
}

/** Changes to one room, gathered to be written at once. */
class Work {
    index: Index;
    room: string;
    record: RoomRecord;
    records = new Map<string, AnyRecord | undefined>();
    #changed = new Map<string, AnyRecord>();
    #segments = new Map<number, Segment>();
    #inside = new Map<string, Inside>();
    /** By how much the messages of a segment are larger or smaller now. */
    #grown = new Map<number, number>();

    constructor(index: Index, room: string, record: RoomRecord) {
        this.index = index;
        this.room = room;
        this.record = record;
    }

    async read(ids: readonly string[]): Promise<void> {
        const records = await this.index.docs(ids);
        for (const [at, id] of ids.entries()) if (!this.records.has(id)) this.records.set(id, records[at]);
    }

    async open(id: string, record: DocRecord): Promise<Inside> {
        return this.#inside.get(id) ?? (JSON.parse(await this.index.open(id, record)) as Inside);
    }

    put(id: string, record: AnyRecord): void {
        this.records.set(id, record);
        this.#changed.set(id, record);
    }

    alias(id: string, of: string): void {
        this.put(id, { room: this.room, of });
        const target = this.records.get(of);
        if (isDoc(target)) this.put(of, { ...target, edits: [...target.edits, id] });
        else this.#edits.set(of, [id]);
    }
    #edits = new Map<string, string[]>();

    /** The words of a message, new or in the place of others. */
    async say(id: string, inside: Inside): Promise<void> {
        const before = this.records.get(id);
        const number = isDoc(before) ? before.segment : await this.#place();
        const segment = await this.#segment(number);
        segment.put(id, inside.time, inside.text);
        const sealed = await this.index.seal(id, JSON.stringify(inside));
        const edits = isDoc(before) ? before.edits : (this.#edits.get(id) ?? []);
        this.#grow(number, sealed.data.byteLength - (isDoc(before) ? before.data.byteLength : -RECORD_BYTES));
        this.#inside.set(id, inside);
        this.put(id, { room: this.room, segment: number, edits, ...sealed });
    }

    /** Nothing of the message stays; `for good` if it must not be taken in again. */
    async forget(id: string, forGood: boolean): Promise<void> {
        const before = this.records.get(id);
        if (isDoc(before)) {
            (await this.#segment(before.segment)).remove(id);
            this.#grow(before.segment, -before.data.byteLength - RECORD_BYTES);
        }
        if (forGood) this.put(id, { room: this.room, gone: true });
        else {
            this.records.set(id, undefined);
            this.#changed.set(id, undefined as never);
        }
    }

    async #place(): Promise<number> {
        const last = this.record.segments.at(-1);
        if (last && (await this.#segment(last.number)).size < PER_SEGMENT) return last.number;
        const number = (last?.number ?? 0) + 1;
        this.record.segments.push({ number, from: 0, to: 0, count: 0, size: 0, bytes: 0 });
        this.#segments.set(number, new Segment());
        return number;
    }

    async #segment(number: number): Promise<Segment> {
        const known = this.#segments.get(number) ?? (await this.index.segment(this.room, number));
        this.#segments.set(number, known);
        return known;
    }

    #grow(number: number, bytes: number): void {
        this.#grown.set(number, (this.#grown.get(number) ?? 0) + bytes);
    }

    async changes(): Promise<Change[]> {
        const changes: Change[] = [...this.#changed].map(([id, record]) => ["docs", id, record] as const);
        for (const [number, grown] of this.#grown) {
            const segment = await this.#segment(number);
            const name = `${this.room} ${number}`;
            const sealed = await this.index.seal(name, segment.toString());
            const size = sealed.data.byteLength;
            this.record.segments = this.record.segments.map((each) =>
                each.number === number ? { number, from: segment.span?.[0] ?? 0, to: segment.span?.[1] ?? 0, count: segment.ids.length, size, bytes: each.bytes - each.size + size + grown } : each,
            );
            changes.push(["segments", name, sealed]);
        }
        return changes;
    }
}
