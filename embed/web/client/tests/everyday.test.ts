import assert from "node:assert/strict";
import test from "node:test";
import { BACK_MS, wayIn } from "../stores/way.ts";

test("one comes back to one's place for ten minutes", () => {
    const now = 1_000_000_000;
    assert.equal(wayIn(undefined, false, 0, now), "afresh");
    assert.equal(wayIn(undefined, true, now - BACK_MS + 1, now), "stay");
    assert.equal(wayIn(undefined, true, now - BACK_MS, now), "afresh");
    assert.equal(wayIn(undefined, true, 0, now), "stay");
    assert.equal(wayIn("$event", true, now - 1, now), "around");
});
