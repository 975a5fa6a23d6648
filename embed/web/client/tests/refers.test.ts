import assert from "node:assert/strict";
import test from "node:test";
import { answered, concerns, outOfThread, rootOf, settled, unanswering, unsent } from "../sdk/refers.ts";

const reply = (to: string): Record<string, unknown> => ({ body: "yes", "m.relates_to": { "m.in_reply_to": { event_id: to } } });
const inThread = (root: string, to: string, falling = true): Record<string, unknown> => ({ body: "so", "m.relates_to": { rel_type: "m.thread", event_id: root, is_falling_back: falling, "m.in_reply_to": { event_id: to } } });
const reaction = (to: string): Record<string, unknown> => ({ "m.relates_to": { rel_type: "m.annotation", event_id: to, key: "+" } });

test("what a message names, and what it goes with", () => {
    assert.deepEqual([concerns({ redacts: "w1" }), concerns(reaction("w1")), concerns(reply("w1")), concerns(inThread("w1", "w2"))], ["w1", "w1", undefined, undefined]);
    assert.deepEqual([rootOf(inThread("w1", "w2")), rootOf(reaction("w1")), answered(inThread("w1", "w2"))], ["w1", undefined, "w2"]);
    assert.deepEqual(unsent(inThread("w1", "w2")), ["w1", "w2"]);
    assert.deepEqual([unsent(inThread("$1", "w2")), unsent(reply("$1")), unsent({ body: "alone" })], [["w2"], [], []]);
});

test("ids take the places of transactions", () => {
    assert.deepEqual(settled({ redacts: "w1" }, "w1", "$1"), { redacts: "$1" });
    assert.deepEqual(settled(reaction("w1"), "w1", "$1"), reaction("$1"));
    assert.deepEqual(settled(reply("w1"), "w1", "$1"), reply("$1"));
    assert.deepEqual(settled(inThread("w1", "w1"), "w1", "$1"), inThread("$1", "$1"));
    assert.deepEqual(settled(inThread("w1", "w2", false), "w2", "$2"), inThread("w1", "$2", false));
    assert.deepEqual(settled(reply("w1"), "w9", "$9"), reply("w1"));
});

test("an answer goes without what is gone", () => {
    assert.deepEqual(unanswering(reply("w1")), { body: "yes" });
    assert.deepEqual(unanswering(inThread("$1", "w2", false)), inThread("$1", "$1"));
    assert.deepEqual(outOfThread(inThread("w1", "w1")), { body: "so" });
    assert.deepEqual(outOfThread(inThread("w1", "$2", false)), { ...reply("$2"), body: "so" });
});
