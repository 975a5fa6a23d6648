import assert from "node:assert/strict";
import test from "node:test";
import type { Engine } from "../sdk/engine.ts";
import type { Entry } from "../sdk/entry.ts";
import type { Outbox as Box } from "../sdk/outbox.ts";
import { ROOTLESS } from "../sdk/refers.ts";

// A browser that keeps nothing: what is put away lies in memory.
class Refused extends EventTarget {
    constructor() {
        super();
        queueMicrotask(() => this.dispatchEvent(new Event("error")));
    }
}
Object.assign(globalThis, { indexedDB: { open: () => new Refused() }, IDBRequest: Refused, addEventListener: () => undefined });
const { Outbox } = await import("../sdk/outbox.ts");

type Content = Record<string, unknown>;
interface Try {
    path: string;
    content: Content;
    answer: (id: string) => void;
    refuse: () => void;
    /** The network is away before there is an answer. */
    lose: () => void;
}

/** A server that answers when it is told to. `next` is the next request that comes. */
class Server {
    #come: ((found: Try) => void)[] = [];
    #had: Try[] = [];
    #hear: ((event: object) => void)[] = [];
    /** The server leaves out what came in a room meanwhile. */
    gap: (room: string) => void = () => undefined;

    readonly engine = {
        userId: `@${crypto.randomUUID()}:b`,
        on: (name: string, hear: (room: string) => void) => name === "gap" && (this.gap = hear),
        answered: true,
        room: () => null,
        client: {
            on: (_: string, hear: (event: object) => void) => this.#hear.push(hear),
            getRoom: () => null,
            http: {
                authedRequest: (_: string, path: string, __: unknown, content: Content) =>
                    new Promise((done, fail) => {
                        const found = { path, content, answer: (id: string) => done({ event_id: id }), refuse: () => fail(Object.assign(new Error(), { httpStatus: 403, errcode: "M_FORBIDDEN" })), lose: () => fail(new Error("no network")) };
                        const waiting = this.#come.shift();
                        if (waiting) waiting(found);
                        else this.#had.push(found);
                    }),
            },
        },
    } as unknown as Engine;

    next(): Promise<Try> {
        const had = this.#had.shift();
        return had ? Promise.resolve(had) : new Promise((come) => this.#come.push(come));
    }

    /** The event comes to the newest page with a sync. */
    tell(transaction_id: string, id: string): void {
        this.#hear.at(-1)?.({ getUnsigned: () => ({ transaction_id }), getId: () => id });
    }

    get idle(): boolean {
        return this.#had.length === 0;
    }
}

/** The list of a page that has what an earlier one left. */
async function opened(server: Server): Promise<Box> {
    const box = new Outbox(server.engine);
    await box.load();
    return box;
}

const say = (box: Box, body: string, relation?: Content, thread?: string): Entry =>
    box.add("!r", "m.room.message", { body, ...(relation && { "m.relates_to": relation }) }, { thread, quoted: relation !== undefined && thread === undefined });
const to = (id: string): Content => ({ "m.in_reply_to": { event_id: id } });
const under = (root: string): Content => ({ rel_type: "m.thread", event_id: root, is_falling_back: true, "m.in_reply_to": { event_id: root } });
/** When the entry is in this state. */
const becomes = (box: Box, entry: Entry, state: Entry["state"]): Promise<void> =>
    new Promise((done) => {
        const look = (): void => void (entry.state === state && (stop(), done()));
        const stop = box.on("change", look);
        look();
    });

/** When nothing is left to be sent. */
const empty = (box: Box): Promise<void> => new Promise((done) => box.on("change", () => box.all.length === 0 && done()));

test("nothing goes out before its room is there, which says whether it is encrypted", async () => {
    const server = new Server();
    const heard: ((rooms: ReadonlySet<string>) => void)[] = [];
    const there = new Set<string>();
    Object.assign(server.engine, { answered: false, room: (id: string) => (there.has(id) ? {} : null), on: (name: string, hear: (typeof heard)[number]) => name === "rooms" && heard.push(hear) });
    say(await opened(server), "left behind");
    const box = await opened(server);
    say(box, "new");
    heard.at(-1)?.(new Set(["!r"]));
    assert.ok(server.idle);
    there.add("!r");
    heard.at(-1)?.(new Set(["!r"]));
    assert.deepEqual((await server.next()).content, { body: "left behind" });
});

test("an answer waits for the id of what it answers, over a reload too", async () => {
    const server = new Server();
    const before = await opened(server);
    const first = say(before, "one");
    say(before, "yes", to(first.txn));
    await server.next(); // its answer never comes: the page goes
    await opened(server);
    const again = await server.next();
    assert.match(again.path, new RegExp(first.txn.replaceAll(".", "\\.")));
    again.answer("$1");
    const second = await server.next();
    assert.deepEqual(second.content, { body: "yes", "m.relates_to": to("$1") });
});

test("an answer to what is refused or taken back goes without it", async () => {
    const server = new Server();
    const box = await opened(server);
    const bad = say(box, "bad");
    const reply = say(box, "yes", to(bad.txn));
    (await server.next()).refuse();
    const alone = await server.next();
    assert.deepEqual([alone.content, reply.quoted], [{ body: "yes" }, false]);
    const slip = say(box, "a slip");
    say(box, "no", to(slip.txn));
    box.cancel(slip.txn);
    alone.answer("$1");
    assert.deepEqual((await server.next()).content, { body: "no" });
});

test("answers in a thread wait for its root, also for one that was refused", async () => {
    const server = new Server();
    const box = await opened(server);
    const root = say(box, "root");
    const answer = say(box, "so", under(root.txn), root.txn);
    const other = say(box, "something else");
    (await server.next()).refuse();
    const passing = await server.next();
    assert.equal(passing.content["body"], "something else");
    assert.deepEqual([answer.state, box.stuck(answer), box.stuck(other)], ["waiting", true, false]);
    box.retry(root.txn);
    assert.equal(box.stuck(answer), false);
    passing.answer("$2");
    (await server.next()).answer("$1");
    assert.deepEqual((await server.next()).content, { body: "so", "m.relates_to": under("$1") });
    assert.deepEqual([answer.thread, box.idOf(root.txn)], ["$1", "$1"]);
});

test("answers in a thread whose root is taken back are asked about", async () => {
    const server = new Server();
    const box = await opened(server);
    const root = say(box, "root");
    const answer = say(box, "so", under(root.txn), root.txn);
    (await server.next()).refuse();
    await becomes(box, root, "failed");
    box.cancel(root.txn);
    assert.deepEqual([answer.state, answer.error, answer.thread], ["failed", ROOTLESS, undefined]);
    assert.ok(server.idle);
    box.retry(answer.txn);
    assert.deepEqual((await server.next()).content, { body: "so" });
});

test("edits of edits keep their order", async () => {
    const server = new Server();
    const box = await opened(server);
    const first = say(box, "one");
    const edit = (body: string): Entry => box.add("!r", "m.room.message", { body: `* ${body}`, "m.new_content": { body }, "m.relates_to": { rel_type: "m.replace", event_id: first.txn } });
    const sent = await server.next();
    edit("two");
    edit("three");
    sent.answer("$1");
    const second = await server.next();
    second.answer("$2");
    const third = await server.next();
    assert.deepEqual([second, third].map(({ content }) => [content["body"], (content["m.relates_to"] as Content)["event_id"]]), [["* two", "$1"], ["* three", "$1"]]);
});

test("a change that was refused stands at its message until it is tried again, given up or made anew", async () => {
    const server = new Server();
    const box = await opened(server);
    const edit = (body: string): Entry => box.add("!r", "m.room.message", { body: `* ${body}`, "m.new_content": { body }, "m.relates_to": { rel_type: "m.replace", event_id: "$1" } });
    const first = edit("two");
    (await server.next()).refuse();
    await becomes(box, first, "failed");
    assert.deepEqual(box.all, [first]);
    const second = edit("three");
    assert.deepEqual(box.all, [second]);
});

test("a reaction that was refused is gone", async () => {
    const server = new Server();
    const box = await opened(server);
    const told: (string | undefined)[] = [];
    const gone = new Promise<void>((done) => box.on("failed", ({ error }) => (told.push(error), done())));
    box.add("!r", "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: "$1", key: "+" } });
    (await server.next()).refuse();
    await gone;
    assert.deepEqual([box.all, told], [[], ["M_FORBIDDEN"]]);
});

test("what is a day old is asked about, also where the page was never closed", async (t) => {
    const server = new Server();
    const box = await opened(server);
    const root = say(box, "on its way");
    const late = say(box, "late");
    const sent = await server.next();
    const now = Date.now;
    t.after(() => (Date.now = now));
    Date.now = () => now() + 25 * 3_600_000;
    sent.answer("$1");
    await becomes(box, late, "failed");
    assert.deepEqual([root.state, late.error], ["sent", "stale"]);
    box.retry(late.txn);
    assert.equal((await server.next()).content["body"], "late");
});

test("what is written before that of an earlier page is there goes after it", async (t) => {
    const server = new Server();
    say(await opened(server), "of before");
    await server.next(); // its answer never comes: the page goes
    const now = Date.now;
    t.after(() => (Date.now = now));
    Date.now = () => now() + 1_000;
    const box = new Outbox(server.engine);
    const fresh = say(box, "new");
    await box.load();
    const first = await server.next();
    assert.deepEqual([first.content["body"], fresh.state], ["of before", "waiting"]);
    first.answer("$1");
    assert.equal((await server.next()).content["body"], "new");
});

test("what is taken back on its way is removed when it has arrived, by another page too", async () => {
    const server = new Server();
    const before = await opened(server);
    const slip = say(before, "a slip");
    const sent = await server.next();
    before.cancel(slip.txn);
    sent.answer("$1");
    const removal = await server.next();
    assert.deepEqual([removal.content, before.all.length], [{ redacts: "$1" }, 1]);
    server.tell(before.all[0]?.txn ?? "", "$2");
    removal.answer("$2");
    const other = say(before, "another slip");
    await server.next(); // its answer never comes
    before.cancel(other.txn);
    const box = await opened(server);
    assert.ok(server.idle);
    server.tell(other.txn, "$3");
    assert.deepEqual((await server.next()).content, { redacts: "$3" });
    assert.equal(box.all.length, 1);
});

test("what may have arrived is not changed where it stands", async () => {
    const server = new Server();
    const box = await opened(server);
    const entry = say(box, "one");
    (await server.next()).lose();
    await becomes(box, entry, "waiting");
    await new Promise(setImmediate);
    box.hurry();
    (await server.next()).refuse();
    await becomes(box, entry, "failed");
    box.add("!r", "m.room.message", { body: "* two", "m.new_content": { body: "two" }, "m.relates_to": { rel_type: "m.replace", event_id: entry.txn } });
    box.retry(entry.txn);
    const again = await server.next();
    assert.deepEqual(again.content, { body: "one" });
    again.answer("$1");
    assert.equal((await server.next()).content["body"], "* two");
});

test("what was to be removed is gone when it is refused", async () => {
    const server = new Server();
    const box = await opened(server);
    const told: Entry[] = [];
    box.on("failed", (entry) => told.push(entry));
    const slip = say(box, "a slip");
    const sent = await server.next();
    box.add("!r", "m.room.redaction", { redacts: slip.txn });
    const gone = empty(box);
    sent.refuse();
    await gone;
    assert.deepEqual([box.all, told], [[], []]);
});

test("what a tab asked of one that went is done by the tab that sends next", async () => {
    const server = new Server();
    const leader = await opened(server);
    say(leader, "on its way");
    const [slip, again] = [say(leader, "a slip"), say(leader, "not yet")];
    await server.next();
    const box = new Outbox(server.engine);
    box.leader = () => new Promise(() => undefined); // it goes before it answers
    const told = (): void => box.mirror(structuredClone(leader.all));
    told();
    box.cancel(slip.txn);
    told(); // it did not know that yet
    assert.deepEqual(box.all.map(({ content }) => content["body"]), ["on its way", "not yet"]);
    box.retry(again.txn);
    box.leader = undefined;
    await box.load();
    (await server.next()).answer("$1");
    assert.equal((await server.next()).content["body"], "not yet");
    assert.equal(box.all.length, 2);
});

test("of two changes the later one stands, whatever becomes of the message and of the earlier one", async () => {
    const server = new Server();
    const box = await opened(server);
    const change = (of: string, body: string): Entry => box.add("!r", "m.room.message", { body: `* ${body}`, "m.new_content": { body }, "m.relates_to": { rel_type: "m.replace", event_id: of } });
    const first = say(box, "one");
    const sent = await server.next();
    change(first.txn, "two");
    sent.refuse();
    await becomes(box, first, "failed");
    change(first.txn, "three");
    const again = await server.next();
    assert.deepEqual([again.content, box.all.length], [{ body: "three" }, 1]);
    again.answer("$1");
    change("$1", "four");
    const earlier = await server.next();
    change("$1", "five");
    earlier.refuse();
    assert.equal((await server.next()).content["body"], "* five");
    assert.deepEqual(box.all.map(({ content }) => content["body"]), ["three", "* five"]);
});

test("what was refused while one was asked whether to remove it is gone at once, also for another tab", async () => {
    const server = new Server();
    const box = await opened(server);
    const slip = say(box, "a slip");
    (await server.next()).refuse();
    await becomes(box, slip, "failed");
    box.add("!r", "m.room.redaction", { redacts: slip.txn });
    assert.deepEqual(box.all, []);
    assert.deepEqual((await opened(server)).all, []);
});

test("what another tab takes back after it was sent and seen is removed", async () => {
    const server = new Server();
    const box = await opened(server);
    const slip = say(box, "a slip");
    (await server.next()).answer("$1");
    server.tell(slip.txn, "$1");
    assert.deepEqual(box.all, []);
    box.cancel(slip.txn); // said before that tab had heard of it
    assert.deepEqual((await server.next()).content, { redacts: "$1" });
});

test("what the server has taken does not stand at the end when its echo was left out", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const server = new Server();
    const box = await opened(server);
    say(box, "before the gap");
    (await server.next()).answer("$1");
    await Promise.resolve();
    say(box, "in the gap");
    const second = await server.next();
    server.gap("!elsewhere");
    context.mock.timers.tick(10_000);
    assert.equal(box.all.length, 2, "another room's");
    server.gap("!r");
    second.answer("$2");
    while (box.all[1]?.state !== "sent") await Promise.resolve();
    context.mock.timers.tick(2_000);
    assert.equal(box.all.length, 2, "the echo may come yet");
    context.mock.timers.tick(1_000);
    assert.equal(box.all.length, 0);
    // One that comes after it waits for its echo as ever.
    const third = say(box, "after the gap");
    (await server.next()).answer("$3");
    while (box.all[0]?.state !== "sent") await Promise.resolve();
    context.mock.timers.tick(10_000);
    assert.equal(box.all.length, 1);
    server.tell(third.txn, "$3");
    assert.equal(box.all.length, 0);
});
