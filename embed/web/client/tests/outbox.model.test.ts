// The outbox against a model: in whatever order people write, change and take back, and networks lose, refuse and tell
// twice, nothing is lost, nothing comes twice, and the order stays.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import fc from "fast-check";
import type { Engine } from "../sdk/engine.ts";
import type { Entry } from "../sdk/entry.ts";
import type { Outbox as Box } from "../sdk/outbox.ts";
import { concerns, rootOf, unsent } from "../sdk/refers.ts";

// A browser that keeps nothing: what is put away lies in memory.
class Refused extends EventTarget {
    constructor() {
        super();
        queueMicrotask(() => this.dispatchEvent(new Event("error")));
    }
}
Object.assign(globalThis, { indexedDB: { open: () => new Refused() }, IDBRequest: Refused, addEventListener: () => undefined });
const { REDACTION } = await import("../sdk/entry.ts");
const { Outbox } = await import("../sdk/outbox.ts");

type Content = Record<string, unknown>;
const MESSAGE = "m.room.message";
const ROOMS = ["!a:b", "!b:b"];
const USERS = ["ada", "maya"] as const;
const NOON = Date.UTC(2026, 5, 4, 12);
/** Longer than the longest wait between two tries. */
const WAIT_MS = 80_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 25 * HOUR_MS;

/** What the server has. */
interface Stored {
    id: string;
    user: string;
    txn: string;
    room: string;
    type: string;
    content: Content;
    removed: boolean;
}

/** A request, or the upload of a file, that has no answer yet. */
interface Try {
    room: string;
    txn: string;
    upload: boolean;
    /** The event that it is to remove. */
    redacts?: string;
    /** The server takes it; again, if it has it. */
    take: () => string;
    done: (id: string) => void;
    fail: (error: object) => void;
}

/** What somebody wrote, and what has become of it as far as they can tell. */
interface Said {
    user: string;
    room: string;
    txn: string;
    number: number;
    /** What it is to say in the end; undefined if a change of it was given up or refused. */
    body: string | undefined;
    /** What it answers in a thread, or reacts to. */
    to: string | undefined;
    kind: "message" | "reaction";
    taken: boolean;
    /** The tab that followed when it was written there. */
    tab: Page | undefined;
    /** Where it was changed last. */
    changed?: Page;
}

const refusal = { httpStatus: 403, errcode: "M_FORBIDDEN" };
const settled = (): Promise<void> => new Promise((done) => setImmediate(done));
const chosen = <T>(from: readonly T[], n: number): T | undefined => from[n % Math.max(1, from.length)];
const numberOf = (content: Content): number => Number(/^\D*(\d+)/.exec(String(content["body"]))?.[1]);

/** One page of one user. It hears of events in their order, from where its store was. */
class Page {
    readonly tries: Try[] = [];
    readonly seen = new Map<string, Stored>();
    readonly box: Box;
    readonly world: World;
    readonly user: string;
    readonly userId: string;
    /** So many events it has heard of. */
    at: number;
    loaded = false;
    #hear: ((event: object) => void)[] = [];
    #status: ((status: string) => void)[] = [];

    constructor(world: World, user: string, userId: string, at: number) {
        this.userId = userId;
        this.world = world;
        this.user = user;
        this.at = at;
        for (const event of world.stream.slice(0, at)) this.seen.set(event.id, event);
        const room = { hasEncryptionStateEvent: () => false, findEventById: (id: string) => (this.seen.has(id) ? { getSender: () => "@noor:b" } : undefined) };
        const engine = {
            userId,
            on: (name: string, hear: (status: string) => void) => name === "status" && this.#status.push(hear),
            room: () => room,
            client: { on: (_: string, hear: (event: object) => void) => this.#hear.push(hear), getRoom: () => room, http: { authedRequest: (_: string, path: string, __: unknown, content: Content) => this.#ask(path, content) } },
        };
        this.box = new Outbox(engine as unknown as Engine);
        this.box.sendFile = (entry) => new Promise((done, fail) => this.#begin({ room: entry.room, txn: entry.txn, upload: true, take: () => "", fail, done: () => {
            entry.content["url"] = "mxc://b/c";
            done();
        } }));
    }

    #ask(path: string, content: Content): Promise<{ event_id: string }> {
        const [, , room = "", way, what = "", txn = ""] = path.split("/").map(decodeURIComponent);
        const event = way === "redact" ? { type: REDACTION, content: { redacts: what } } : { type: what, content };
        return new Promise((done, fail) => this.#begin({ room, txn, upload: false, ...(way === "redact" && { redacts: what }), take: () => this.world.take(this.user, room, txn, event), fail, done: (id) => done({ event_id: id }) }));
    }

    #begin(made: Try): void {
        const beside = this.tries.filter(({ upload, room }) => upload === made.upload && (upload || room === made.room)).length;
        if (beside >= (made.upload ? 3 : 1)) this.world.faults.push(`${beside + 1} at a time`);
        this.tries.push(made);
    }

    /** The next event of the room comes. */
    hear(): void {
        const event = this.loaded ? this.world.stream[this.at] : undefined;
        if (!event) return;
        if (this === this.world.page && this.world.second) this.world.down.push("event");
        this.at++;
        const unsigned = event.user === this.user ? { transaction_id: event.txn } : {};
        for (const hear of this.#hear) hear({ getUnsigned: () => unsigned, getId: () => event.id });
        this.seen.set(event.id, event);
    }

    /** The network is there. */
    streaming(): void {
        for (const tell of this.#status) tell("streaming");
    }

    /** What one sees as sent, of one's own. */
    sent(txn: string): Stored | undefined {
        return [...this.seen.values()].find((event) => event.user === this.user && event.txn === txn);
    }
}

class World {
    readonly stream: Stored[] = [];
    said: Said[] = [];
    readonly faults: string[] = [];
    /** What has stood still once keeps its order no more. */
    readonly late = new Set<string>();
    readonly #refused = new Set<string>();
    readonly #ids = new Map(USERS.map((user) => [user, `@${user}-${crypto.randomUUID()}:b`]));
    readonly #places = new Map<string, number>();
    #count = 0;
    /** The clock was set back. */
    back = false;
    page = this.#open("ada");
    /** Another tab, which follows, and what is on its way between the two, in its order. */
    second: Page | undefined;
    down: (readonly Entry[] | "event" | (() => void))[] = [];
    up: { name: "adopt" | "retry" | "cancel"; what: Entry | string; done: () => void }[] = [];
    /** Where somebody does something. */
    #here: Page = this.page;

    #open(user: (typeof USERS)[number]): Page {
        return new Page(this, user, this.#ids.get(user) ?? "", this.#places.get(user) ?? 0);
    }

    /** Once for each transaction. */
    take(user: string, room: string, txn: string, event: { type: string; content: Content }): string {
        const known = this.stream.find((each) => each.user === user && each.txn === txn);
        if (known) return known.id;
        const made = { id: `$${this.stream.length}`, user, txn, room, removed: false, type: event.type, content: structuredClone(event.content) };
        this.stream.push(made);
        for (const each of this.stream) if (event.type === REDACTION && each.id === event.content["redacts"]) each.removed = true;
        if (unsent(made.content).length > 0) this.faults.push(`it names what the server does not know: ${JSON.stringify(made.content)}`);
        return made.id;
    }

    async load(): Promise<void> {
        if (this.page.loaded) return;
        this.page.loaded = true;
        await this.page.box.load();
    }

    /** The page goes, and another comes, of the same user or another one. Its store may be older, and the clock another. */
    reload(user: (typeof USERS)[number], arrived: boolean, older: number, clock = 0): void {
        while (this.second && this.up.length > 0) this.pass(true);
        for (const each of this.page.tries) if (arrived && !each.upload) each.take();
        const kept = this.#places.get(this.page.user) ?? 0;
        this.#places.set(this.page.user, Math.max(kept, this.page.at - older));
        const now = Date.now() + 1_000 + clock;
        this.back ||= clock < 0;
        mock.timers.reset();
        mock.timers.enable({ apis: ["setTimeout", "Date"], now });
        this.page = this.#here = this.#open(user);
        this.second = undefined;
        this.up = [];
    }

    /** Another tab is opened. */
    follow(): void {
        if (this.second || !this.page.loaded) return;
        const tab = new Page(this, this.page.user, this.page.userId, this.page.at);
        tab.loaded = true;
        tab.box.leader = (name, what) => new Promise<void>((done) => this.up.push({ name, what: structuredClone(what), done }));
        this.down = [];
        this.up = [];
        this.second = tab;
        this.tell();
    }

    /** The first tab says what it has. */
    tell(): void {
        if (this.second) this.down.push(structuredClone(this.page.box.all));
    }

    /** The next word reaches the other tab. */
    pass(upwards: boolean): void {
        if (!this.second) return;
        const asked = upwards ? this.up.shift() : undefined;
        if (asked) {
            this.page.box[asked.name](asked.what as never);
            this.down.push(asked.done);
        }
        const told = upwards ? undefined : this.down.shift();
        if (told === "event") this.second.hear();
        else if (typeof told === "function") told();
        else if (told) this.second.box.mirror(told);
    }

    /** The first tab is closed, and the second one sends from here on. What the first has done is told by then. */
    async rise(arrived: boolean): Promise<void> {
        if (!this.second) return;
        this.tell();
        while (this.down.length > 0) {
            this.pass(false);
            await settled();
        }
        for (const each of this.page.tries) if (arrived && !each.upload) each.take();
        const now = Date.now();
        mock.timers.reset();
        mock.timers.enable({ apis: ["setTimeout", "Date"], now });
        this.page = this.#here = this.second;
        this.second = undefined;
        this.up = [];
        this.page.box.leader = undefined;
        await this.page.box.load();
    }

    get #tab(): Page | undefined {
        return this.#here === this.second ? this.second : undefined;
    }

    /** In the one tab or the other. */
    in(second: boolean): this {
        this.#here = (second && this.second) || this.page;
        return this;
    }

    get #mine(): Said[] {
        return this.said.filter(({ user, taken, txn }) => user === this.#here.user && !taken && (this.#here.sent(txn) ?? this.#entry(txn)));
    }

    #entry(txn: string): Entry | undefined {
        return this.#here.box.all.find((entry) => entry.txn === txn);
    }

    /** As the page names it: by its id once that is there. A page that was open before may still have the transaction. */
    #name(said: Said, old: boolean): string {
        const id = this.#here.sent(said.txn)?.id;
        return id !== undefined && !(old && this.#here.box.idOf(said.txn)) ? id : said.txn;
    }

    #say(room: string, content: Content, options: Parameters<Box["add"]>[3], root?: string): void {
        const number = this.#count++;
        const { txn } = this.#here.box.add(room, MESSAGE, { body: `m${number}`, ...content }, options);
        this.said.push({ user: this.#here.user, room, txn, number, body: `m${number}`, to: root, kind: "message", taken: false, tab: this.#tab });
    }

    say(room: number, file: boolean): void {
        this.#say(chosen(ROOMS, room) ?? "", {}, file ? { upload: { blob: new Blob(), name: "a", progress: 0 } } : {});
    }

    answer(n: number, old: boolean, thread: boolean): void {
        const to = chosen(this.#mine.filter(({ kind }) => kind === "message"), n);
        if (!to) return;
        const name = this.#name(to, old);
        const reply = { "m.in_reply_to": { event_id: name } };
        if (thread && !to.to) this.#say(to.room, { "m.relates_to": { rel_type: "m.thread", event_id: name, is_falling_back: true, ...reply } }, { thread: name }, to.txn);
        else this.#say(to.room, { "m.relates_to": reply }, { quoted: true });
    }

    change(n: number, old: boolean): void {
        const of = chosen(this.#mine.filter(({ kind }) => kind === "message"), n);
        if (!of) return;
        const body = `m${of.number}, changed ${this.#count++}`;
        if (of.body !== undefined) of.body = body;
        // Which of two tabs was first, nobody knows.
        if (this.second && of.changed && of.changed !== this.#here) of.body = undefined;
        of.changed = this.#here;
        this.#here.box.add(of.room, MESSAGE, { body: `* ${body}`, "m.new_content": { body }, "m.relates_to": { rel_type: "m.replace", event_id: this.#name(of, old) } });
    }

    react(n: number, old: boolean): void {
        const to = chosen(this.#mine.filter(({ kind }) => kind === "message"), n);
        if (!to) return;
        const number = this.#count++;
        const { txn } = this.#here.box.add(to.room, "m.reaction", { body: `m${number}`, "m.relates_to": { rel_type: "m.annotation", event_id: this.#name(to, old), key: "+" } });
        this.said.push({ user: this.#here.user, room: to.room, txn, number, body: undefined, to: to.txn, kind: "reaction", taken: false, tab: this.#tab });
    }

    /** As the menu of a message does it, and a second press on a reaction. */
    remove(n: number): void {
        const of = chosen(this.#mine, n);
        if (!of || this.#here.sent(of.txn)) return;
        const state = this.#entry(of.txn)?.state;
        of.taken = true;
        if (of.kind === "message" && (state === "sending" || state === "sent")) this.#here.box.add(of.room, REDACTION, { redacts: of.txn });
        else this.#here.box.cancel(of.txn);
    }

    /** What stands still is tried again, or given up. */
    decide(n: number, again: boolean): void {
        const entry = chosen(this.#here.box.all.filter(({ state }) => state === "failed"), n);
        if (!entry) return;
        if (again) this.#here.box.retry(entry.txn);
        else this.#giveUp(entry);
    }

    #giveUp(entry: Entry): void {
        this.#unsure(entry.txn);
        for (const each of this.said) if (each.txn === entry.txn) each.taken = true;
        this.#here.box.cancel(entry.txn);
    }

    /** Nobody knows any more what a message says whose change was refused or given up. */
    #unsure(txn: string): void {
        const changed = this.#entry(txn)?.content;
        const number = changed?.["m.new_content"] ? numberOf(changed) : undefined;
        for (const each of this.said) if (each.kind === "message" && each.number === number) each.body = undefined;
    }

    network(n: number, fate: "answer" | "lose" | "drop" | "refuse" | "bar" | "busy"): void {
        const found = chosen(this.page.tries, n);
        if (!found) return;
        this.page.tries.splice(this.page.tries.indexOf(found), 1);
        const known = this.stream.some(({ user, txn }) => user === this.page.user && txn === found.txn);
        if (fate === "answer" || (fate === "refuse" && known)) return found.done(found.take());
        if (fate === "refuse" || fate === "bar") {
            this.#unsure(found.txn);
            this.#refused.add(found.txn);
            // What may not be removed stays, and is nobody's promise.
            const stays = this.stream.find(({ id }) => id === found.redacts);
            this.said = this.said.filter(({ user, txn }) => !stays || user !== stays.user || txn !== stays.txn);
        }
        if (fate === "lose") found.take();
        found.fail(fate === "refuse" || fate === "bar" ? refusal : fate === "busy" ? { httpStatus: 503 } : new Error("no network"));
    }

    /** What must hold at every moment. */
    look(): void {
        for (const entry of this.page.box.all) {
            // Nor does what waits for that.
            if (entry.state === "failed" || unsent(entry.content).some((txn) => this.late.has(txn))) this.late.add(entry.txn);
            assert.equal(this.page.sent(entry.txn), undefined, "what has come stands there once");
        }
        assert.deepEqual(this.faults, []);
    }

    /** Everything is answered and told. */
    async calm(): Promise<void> {
        await this.load();
        for (let step = 0; step < 2_000; step++) {
            await settled();
            this.look();
            if (this.up.length > 0 && this.second) this.pass(true);
            else if (this.page.tries.length > 0) this.network(0, "answer");
            else if (this.page.at < this.stream.length) this.page.hear();
            else {
                mock.timers.tick(WAIT_MS);
                await settled();
                if (this.page.tries.length > 0 || this.page.at < this.stream.length || this.up.length > 0) continue;
                this.tell();
                while (this.second && this.down.length > 0) {
                    this.pass(false);
                    await settled();
                }
                const names = (tab: Page | undefined): string[] | undefined => tab?.box.all.map(({ txn }) => txn);
                if (this.second) assert.deepEqual(names(this.second), names(this.page), "both tabs show the same");
                return;
            }
        }
        assert.fail("there is no end of it");
    }

    /** What must hold in the end. */
    judge(): void {
        const { user, box } = this.page;
        const there = this.stream.filter((event) => event.user === user && !event.removed);
        const stuck = (entry: Entry): boolean => entry.state === "failed" || unsent(entry.content).some((txn) => box.all.some((each) => each.txn === txn && stuck(each)));
        for (const entry of box.all) assert.ok(stuck(entry), `${entry.txn} is ${entry.state}`);
        const stands = (said: Said): Stored[] => there.filter(({ type, content }) => numberOf(content) === said.number && (said.kind === "reaction" ? type === "m.reaction" : type === MESSAGE && concerns(content) === undefined));
        for (const said of this.said.filter((each) => each.user === user)) {
            const [first, ...others] = stands(said);
            const waits = box.all.some(({ txn }) => txn === said.txn);
            const what = `m${said.number}`;
            assert.deepEqual(others, [], what);
            assert.ok(!first || !waits, what);
            if (said.taken) assert.deepEqual([first, waits], [undefined, false], `${what} was taken back`);
            else if (said.kind === "message") assert.ok(first ?? waits, `${what} is lost`);
            else if (!this.#refused.has(said.txn) && this.said.some((each) => each.txn === said.to && stands(each).length > 0)) assert.ok(first ?? waits, `${what} is lost`);
            if (said.kind !== "message" || !first || said.body === undefined) continue;
            if (box.all.some(({ content }) => concerns(content) === first.id)) continue;
            const last = there.findLast(({ content }) => concerns(content) === first.id && content["m.new_content"]);
            assert.equal(((last?.content["m.new_content"] ?? first.content) as Content)["body"], said.body);
        }
        // Each tab keeps the order in which things were written in it.
        for (const room of ROOMS) {
            const inOrder = this.stream.filter((event) => event.user === user && event.room === room && event.type === MESSAGE && !event.content["m.new_content"] && rootOf(event.content) === undefined);
            const numbers = inOrder.filter(({ txn }) => !this.late.has(txn)).map(({ content }) => numberOf(content));
            for (const tab of new Set(this.said.map((each) => each.tab))) {
                const there = numbers.filter((number) => this.said.some((each) => each.number === number && each.tab === tab));
                assert.deepEqual(there, [...there].sort((a, b) => a - b));
            }
        }
    }
}

type Act = (world: World) => void | Promise<void>;
const any = fc.nat(30);
const yes = fc.boolean();
const acts: fc.Arbitrary<[string, Act]> = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(any, fc.nat(9), yes).map(([room, file, second]): [string, Act] => [`say ${room} ${file} ${second}`, (world) => world.in(second).say(room, file === 0)]) },
    { weight: 2, arbitrary: fc.tuple(any, yes, yes, yes).map(([to, old, thread, second]): [string, Act] => [`answer ${to} ${old} ${thread} ${second}`, (world) => world.in(second).answer(to, old, thread)]) },
    { weight: 3, arbitrary: fc.tuple(any, yes, yes).map(([of, old, second]): [string, Act] => [`change ${of} ${old} ${second}`, (world) => world.in(second).change(of, old)]) },
    { weight: 2, arbitrary: fc.tuple(any, yes, yes).map(([to, old, second]): [string, Act] => [`react ${to} ${old} ${second}`, (world) => world.in(second).react(to, old)]) },
    { weight: 2, arbitrary: fc.tuple(any, yes).map(([of, second]): [string, Act] => [`remove ${of} ${second}`, (world) => world.in(second).remove(of)]) },
    { weight: 2, arbitrary: fc.tuple(any, yes, yes).map(([of, again, second]): [string, Act] => [`decide ${of} ${again} ${second}`, (world) => world.in(second).decide(of, again)]) },
    { weight: 12, arbitrary: fc.tuple(any, fc.constantFrom("answer", "answer", "answer", "lose", "drop", "refuse", "bar", "busy")).map(([of, fate]): [string, Act] => [`${fate} ${of}`, (world) => world.network(of, fate)]) },
    { weight: 6, arbitrary: fc.constant<[string, Act]>(["hear", (world) => world.page.hear()]) },
    { weight: 2, arbitrary: fc.constant<[string, Act]>(["streaming", (world) => world.page.streaming()]) },
    { weight: 2, arbitrary: fc.constant<[string, Act]>(["load", (world) => world.load()]) },
    { weight: 2, arbitrary: fc.constant<[string, Act]>(["follow", (world) => world.follow()]) },
    { weight: 2, arbitrary: fc.constant<[string, Act]>(["tell", (world) => world.tell()]) },
    { weight: 8, arbitrary: yes.map((up): [string, Act] => [`pass ${up}`, (world) => world.pass(up)]) },
    { weight: 1, arbitrary: yes.map((arrived): [string, Act] => [`rise ${arrived}`, (world) => world.rise(arrived)]) },
    { weight: 1, arbitrary: fc.constantFrom(1_000, WAIT_MS, DAY_MS).map((ms): [string, Act] => [`${ms} ms later`, () => mock.timers.tick(ms)]) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom("ada", "ada", "maya"), yes, any, yes, fc.constantFrom(0, 0, -HOUR_MS)).map(([user, arrived, older, late, clock]): [string, Act] => [`reload ${user} ${arrived} ${older} ${late} ${clock}`, async (world) => {
        world.reload(user, arrived, older, clock);
        // Before what is older is there, a clock that was set back says a wrong order.
        if (!late || world.back) await world.load();
    }]) },
);

const RUNS = Number(process.env["HROMADA_OUTBOX_RUNS"] ?? 300);

test("nothing is lost, nothing comes twice, and the order stays", async (t) => {
    t.after(() => mock.timers.reset());
    const walk = fc.asyncProperty(fc.array(acts, { maxLength: 60, size: "max" }), async (steps) => {
        mock.timers.reset();
        mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOON });
        const world = new World();
        await world.load();
        for (const [, act] of steps) {
            await act(world);
            await settled();
            world.look();
        }
        for (const user of [...USERS, ...USERS]) {
            await world.calm();
            world.judge();
            world.reload(user, true, 0);
        }
    });
    // The same walks each time, so that who changes nothing sees nothing new; more of them, or others, by hand.
    await fc.assert(walk, { numRuns: RUNS, seed: Number(process.env["HROMADA_OUTBOX_SEED"] ?? 1) });
});
