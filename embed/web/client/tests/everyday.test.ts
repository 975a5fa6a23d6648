import assert from "node:assert/strict";
import test from "node:test";
import { contentOf, formatted, mentionsIn, pieces, tooLong } from "../render/compose.ts";
import { kept } from "../stores/attached.ts";
import { due } from "../stores/due.ts";
import { quietAt } from "../stores/quiet.ts";
import { BACK_MS, wayIn } from "../stores/way.ts";

test("one comes back to one's place for ten minutes", () => {
    const now = 1_000_000_000;
    assert.equal(wayIn(undefined, false, 0, now), "afresh");
    assert.equal(wayIn(undefined, true, now - BACK_MS + 1, now), "stay");
    assert.equal(wayIn(undefined, true, now - BACK_MS, now), "afresh");
    assert.equal(wayIn(undefined, true, 0, now), "stay");
    assert.equal(wayIn("$event", true, now - 1, now), "around");
});

test("a message that is changed keeps its mentions, and tells only those who are new", async () => {
    const ada = { text: "@Ada <3", id: "@ada:b" }, room = { text: "@room", id: "@room" };
    const html = await formatted("@Ada <3 and @room, *now*", [ada, room]);
    const told = mentionsIn("@Ada <3 and @room, now", html, true);
    assert.deepEqual(told, [room, ada]);
    assert.deepEqual(mentionsIn("nobody, @room", '<a href="https://example.org">nobody</a>', false), []);
    const maya = { text: "@Maya", id: "@maya:b" };
    const changed = await contentOf({ text: "@Ada <3, @Maya and @room", mentions: [...told, maya], told, reply: undefined, thread: undefined, edit: "$e" });
    assert.deepEqual(changed["m.mentions"], { user_ids: ["@maya:b"] });
    const now = changed["m.new_content"] as Record<string, unknown>;
    assert.deepEqual(now["m.mentions"], { user_ids: ["@ada:b", "@maya:b"], room: true });
    assert.match(String(now["formatted_body"]), /matrix\.to\/#\/@ada:b/);
});

test("what one message holds is counted in bytes, as it is sent", () => {
    assert.equal(tooLong("w".repeat(59_000), false, false), false);
    assert.equal(tooLong("w".repeat(61_000), false, false), true);
    assert.equal(tooLong("ж".repeat(29_000), false, false), false);
    assert.equal(tooLong("ж".repeat(31_000), false, false), true, "two bytes each");
    assert.equal(tooLong("\n".repeat(31_000), false, false), true, "written as two signs");
    assert.equal(tooLong("w".repeat(31_000), true, false), true, "with marks there are two of it");
    assert.equal(tooLong("w".repeat(46_000), false, true), true, "encryption takes a third");
    assert.equal(tooLong("w".repeat(44_000), false, true), false);
});

test("whom one mentions is painted, and nothing else", () => {
    const [ada, adam] = [{ text: "@Ada", id: "@ada:b" }, { text: "@Ada (M.)", id: "@adam:b" }];
    const marked = (text: string, ...mentions: (typeof ada)[]): string[] => pieces(text, mentions).map((piece) => (piece.mention ? `[${piece.text}]` : piece.text));
    assert.deepEqual(marked("nobody"), ["nobody"]);
    assert.deepEqual(marked("@Maya", ada), ["@Maya"]);
    assert.deepEqual(marked("so, @Ada (M.) and @Ada\n", ada, adam), ["so, ", "[@Ada (M.)]", " and ", "[@Ada]", "\n"]);
    assert.equal(pieces("a @Ada b", [ada]).map((piece) => piece.text).join(""), "a @Ada b");
});

test("another build is taken when nobody looks, and offered after a day", () => {
    const day = 86_400_000, now = 20 * day;
    assert.equal(due(undefined, 0, true, true, now), undefined);
    assert.equal(due(now - 1, 0, true, true, now), "take");
    assert.equal(due(now - 2 * day, 0, true, false, now), undefined);
    assert.equal(due(now - 1, 0, false, true, now), undefined);
    assert.equal(due(now - day, 0, false, true, now), "offer");
    assert.equal(due(now - 2 * day, now - 1, false, true, now), undefined);
});

test("of the files that wait, those that fit are kept", () => {
    const files = (...sizes: number[]): { file: { size: number } }[] => sizes.map((size) => ({ file: { size } }));
    const sizes = (...all: number[]): number[] => kept(files(...all)).map(({ file }) => file.size);
    assert.deepEqual(sizes(), []);
    assert.deepEqual(sizes(1, 2, 3, 4), [1, 2, 3]);
    assert.deepEqual(sizes(20e6, 6e6, 5e6), [20e6, 5e6], "what does not fit leaves its room to the next");
    assert.deepEqual(sizes(26e6), []);
});

test("the night is quiet from 22:00 to 7:30", () => {
    const at = (hour: number, minute: number): boolean => quietAt(new Date(2026, 0, 5, hour, minute));
    assert.deepEqual([at(21, 59), at(22, 0), at(0, 0), at(7, 29), at(7, 30), at(12, 0)], [false, true, true, true, false, false]);
});
