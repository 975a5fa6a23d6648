import assert from "node:assert/strict";
import test from "node:test";
import { waveLine } from "../render/wave.ts";
import { largestShown } from "../sdk/media.ts";

test("a voice is drawn as strokes, the loudest of each part", () => {
    assert.equal(waveLine([0, 1], 2), "M2 15v2M6 1v30");
    assert.equal(waveLine([0, 0.5, 1, 0], 2), "M2 8.5v15M6 1v30");
    assert.equal(waveLine([1], 3), "M2 1v30M6 1v30M10 1v30");
    assert.equal(waveLine([]), "");
});

test("what has to be fetched whole has a largest size, what the server plays has none", () => {
    assert.equal(largestShown(true, true), 100e6);
    assert.equal(largestShown(true, false), 100e6);
    assert.equal(largestShown(false, true), Infinity);
    assert.equal(largestShown(false, false), 25e6);
});
