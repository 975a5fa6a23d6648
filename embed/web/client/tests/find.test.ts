import assert from "node:assert/strict";
import test from "node:test";
import { searchEn } from "../i18n/search.en.ts";
import { searchUk } from "../i18n/search.uk.ts";
import { type Disk, memoryDisk } from "../sdk/find/disk.ts";
import { Index, type Said } from "../sdk/find/index.ts";
import { fold, marks, wantedOf, wordsOf } from "../sdk/find/words.ts";

test("words: apostrophes, ґ and accents do not matter, й and ї do", () => {
    assert.equal(fold("Ґанок, об’їзд; за́мок; Café ÉTÉ"), "ганок, обїзд; замок; cafe ete");
    assert.deepEqual([...wordsOf("М'ЯТА м’ята мʼята (ґрунт) foo_bar don't")], ["мята", "грунт", "foo", "bar", "dont"]);
    assert.notEqual(fold("їй"), fold("ии"));
    assert.deepEqual(wantedOf("  Об'їз Ґру "), ["обїз", "гру"]);
    assert.deepEqual(wantedOf("!? …"), []);
    assert.equal(fold("ｆｕｌｌ"), "full");
});

test("words: what is written without spaces is found by any part of it", () => {
    const has = (text: string, term: string): boolean => wantedOf(term).every((wanted) => [...wordsOf(text)].some((word) => word.startsWith(wanted)));
    assert.ok(has("我在北京吃饭", "北京") && has("我在北京吃饭", "京") && has("我在北京吃饭", "饭") && has("東京タワー", "タワー"));
    assert.ok(!has("我在北京吃饭", "京北") && has("iPhone手机", "手机") && has("iPhone手机", "iph"));
});

test("what was found is marked as it was written", () => {
    assert.deepEqual(marks("Біля ґанку об’їзд", "ган об'їз", false), ["Біля ", "ґан", "ку ", "об’їз", "д"]);
    assert.deepEqual(marks("gardener, Edgar", "gar", false), ["", "gar", "dener, Edgar"]);
    assert.deepEqual(marks("Edgar", "gar", true), ["Ed", "gar", ""]);
    assert.deepEqual(marks("我在北京吃饭", "北京", false), ["我在", "北京", "吃饭"]);
    assert.deepEqual(marks("nothing", "x", false), ["nothing"]);
});

const ROOM = "!a:b", OTHER = "!c:b";
const said = (id: string, text: string, more: Partial<Said> = {}): Said => ({ id, room: ROOM, sender: "@ada:b", time: Number(id.replace(/\D/g, "")), text, ...more });
const newKey = () => crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
const fresh = async (budget?: number): Promise<{ index: Index; disk: Disk; key: CryptoKey }> => {
    const disk = memoryDisk(), key = await newKey();
    return { index: await Index.open(disk, key, "@ada:b", budget), disk, key };
};
const found = async (index: Index, term: string): Promise<string[]> => (await index.find(term, [ROOM, OTHER])).map(({ id }) => id);

test("messages are found by all words, the newest first, also after a restart", async () => {
    const { index, disk, key } = await fresh();
    await index.put(ROOM, [said("$1", "Біля ґанку росте м’ята"), said("$3", "Ганок і мати"), said("$2", "constructor __proto__ toString")]);
    await index.put(OTHER, [said("$4", "Ґанок", { room: OTHER })]);
    assert.deepEqual(await found(index, "ганок"), ["$4", "$3"]);
    assert.deepEqual(await found(index, "ган м'ят"), ["$1"]);
    assert.deepEqual(await found(index, "constructor"), ["$2"]);
    assert.deepEqual(await found(index, "valueof"), []);
    assert.deepEqual(index.counted([ROOM]), { count: 3, since: 1 });
    const again = await Index.open(disk, key, "@ada:b");
    assert.deepEqual(await again.read(await again.find("мята", [ROOM])), [{ id: "$1", room: ROOM, time: 1, sender: "@ada:b", text: "Біля ґанку росте м’ята" }]);
    // Somebody else, or another key, finds nothing and leaves nothing.
    assert.deepEqual(await found(await Index.open(disk, key, "@eve:b"), "ган"), []);
    assert.deepEqual(await disk.docsOf(ROOM), []);
});

test("edits take the place of what was said, in whatever order they come", async () => {
    const orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    const events = [said("$1", "seeds"), said("$2", "bulbs", { of: "$1" }), said("$3", "flowers", { of: "$1" }), said("$4", "hijacked", { of: "$1", sender: "@eve:b" })];
    for (const order of orders) {
        const { index } = await fresh();
        for (const at of order) await index.put(ROOM, [events[at] as Said]);
        assert.deepEqual(await index.read(await index.find("flo", [ROOM])), [{ id: "$1", room: ROOM, time: 1, sender: "@ada:b", text: "flowers" }], order.join());
        for (const word of ["seeds", "bulbs", "hijacked"]) assert.deepEqual(await found(index, word), [], `${word} ${order.join()}`);
        // The last edit is taken back: whoever feeds the index says anew what holds.
        assert.equal(await index.remove(ROOM, "$3"), "$1");
        assert.deepEqual(await found(index, "flowers"), []);
        await index.put(ROOM, [said("$1", "bulbs")]);
        assert.deepEqual(await found(index, "bulbs"), ["$1"]);
    }
});

test("what was removed stays away, and of a room that was left nothing is kept", async () => {
    const { index, disk } = await fresh();
    await index.put(ROOM, [said("$1", "secret"), said("$2", "open")]);
    assert.equal(await index.remove(ROOM, "$1"), undefined);
    await index.put(ROOM, [said("$1", "secret"), said("$3", "secret again", { of: "$1" })]);
    assert.deepEqual(await found(index, "secret"), []);
    assert.deepEqual(await found(index, "op"), ["$2"]);
    assert.deepEqual((await index.segment(ROOM, 1)).find(["secret"]), []);
    await index.leave(ROOM);
    assert.deepEqual([await disk.docsOf(ROOM), await disk.all("segments"), index.rooms, index.bytes], [[], [], [], 0]);
});

test("the oldest goes when there is too much", async () => {
    const { index, disk } = await fresh(200_000);
    for (let at = 0; at < 2_000; at += 50) await index.put(ROOM, Array.from({ length: 50 }, (_, n) => said(`$${at + n + 1}`, `word${at + n + 1} ${"many words ".repeat(3)}`)));
    assert.ok(index.bytes <= 200_000 && index.bytes > 100_000, String(index.bytes));
    assert.deepEqual(await found(index, "word2000"), ["$2000"]);
    assert.deepEqual(await found(index, "word1 "), (await found(index, "word1")));
    assert.ok(!(await found(index, "word1")).includes("$1"));
    assert.equal((await disk.docsOf(ROOM)).length, index.counted([ROOM]).count);
    assert.ok((index.counted([ROOM]).since ?? 0) > 1);
});

test("nothing that was said can be read on the disk", async () => {
    const { index, disk } = await fresh();
    await index.put(ROOM, [said("$1", "unmistakable"), said("$2", "unforgettable", { of: "$1" })]);
    const bytes: string[] = [];
    const walk = (value: unknown): void => {
        if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) bytes.push(Buffer.from(value as ArrayBuffer).toString("latin1"));
        else if (typeof value === "object" && value !== null) for (const each of Object.entries(value).flat()) walk(each);
        else bytes.push(String(value));
    };
    for (const store of ["rooms", "segments", "docs"] as const) walk(await disk.all(store));
    assert.ok(bytes.length > 20 && !/unmis|unfor|ada/.test(bytes.join("\n")));
});

test("the page of search has all its texts in Ukrainian", () => {
    const slots = (text: unknown): string => [...new Set(JSON.stringify(text).match(/\{\w+\}/g))].sort().join();
    for (const key of Object.keys(searchEn) as (keyof typeof searchEn)[]) assert.equal(slots(searchUk[key]), slots(searchEn[key]), key);
});
