import assert from "node:assert/strict";
import test from "node:test";
import { pane } from "../routes.ts";

test("each pane of a telephone is a step, and closing one goes back", () => {
    assert.equal(pane([], "", "details"), "push");
    assert.equal(pane([""], "details", "members"), "replace");
    assert.equal(pane([""], "members", "pinned"), "push");
    assert.equal(pane(["", "members"], "pinned", "members"), -1);
    assert.equal(pane(["", "members"], "pinned", ""), -2);
    assert.equal(pane([""], "details", ""), -1);
    assert.equal(pane([], "thread:$a", ""), "replace");
});
