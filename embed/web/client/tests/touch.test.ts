import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { Finger } from "../parts/touch.ts";

function finger(context: TestContext, side = -1): { finger: Finger<string>; said: string[] } {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const said: string[] = [];
    return { said, finger: new Finger<string>({ hold: () => said.push("hold"), pull: (_, px) => said.push(String(px)), answer: () => said.push("answer") }, side) };
}

test("a finger that rests is a long press", (context) => {
    const { finger: it, said } = finger(context);
    it.down("a", 100, 100);
    it.move(104, 97);
    context.mock.timers.tick(500);
    it.up();
    assert.deepEqual(said, ["hold"]);
});

test("a short tap and a scrolling finger are the browser's", (context) => {
    const { finger: it, said } = finger(context);
    it.down("a", 100, 100);
    it.up();
    it.down("a", 100, 100);
    it.move(95, 70);
    it.move(10, 70);
    it.up();
    it.down("a", 100, 100);
    it.cancel();
    context.mock.timers.tick(1_000);
    assert.deepEqual(said, []);
});

test("a pull of 56 answers, a shorter one and one the other way do not", (context) => {
    const { finger: it, said } = finger(context);
    it.down("a", 200, 100);
    it.move(180, 100);
    it.move(145, 104);
    it.up();
    assert.deepEqual(said.splice(0), ["20", "55", "0"]);
    it.down("a", 200, 100);
    it.move(180, 100);
    it.move(144, 130);
    it.up();
    assert.deepEqual(said.splice(0), ["20", "56", "0", "answer"]);
    it.down("a", 200, 100);
    it.move(260, 100);
    it.up();
    it.down("a", 200, 100);
    it.move(100, 100);
    it.cancel();
    context.mock.timers.tick(1_000);
    assert.deepEqual(said, ["80", "0"]);
});

test("from right to left one pulls the other way", (context) => {
    const { finger: it, said } = finger(context, 1);
    it.down("a", 100, 100);
    it.move(170, 100);
    it.up();
    assert.deepEqual(said, ["70", "0", "answer"]);
});
