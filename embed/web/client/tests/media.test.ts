import assert from "node:assert/strict";
import test from "node:test";
import { waveLine } from "../render/wave.ts";
import { run } from "../sdk/attachments.ts";
import { largestShown } from "../sdk/media.ts";
import { ours } from "../sdk/scripts.ts";

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

test("scripts beside the page are ours, at addresses that say nothing else", () => {
    const origin = "https://chat.example";
    for (const good of ["/worker.js", "/assets/c.6WUANNK3.js", `${origin}/assets/c.A.js`]) assert.equal(ours(good, origin), new URL(good, origin).pathname);
    for (const bad of ["https://evil.example/worker.js", "//evil.example/worker.js", "/assets/../_matrix/media/v3/x.js", "/worker.js?x", "/assets/a/b.js", "data:text/javascript,1", "blob:x", ""]) {
        assert.throws(() => ours(bad, origin), bad);
    }
});

test("a file under its own key is opened if not a bit of it has changed", async () => {
    const text = new Blob(["the key is under the mat"], { type: "text/plain" });
    const { blob, file } = await run({ blob: text });
    assert.ok(file);
    assert.deepEqual([blob.type, blob.size], ["application/octet-stream", text.size]);
    const opened = await run({ blob, file, type: "image/png" });
    assert.deepEqual([await opened.blob.text(), opened.blob.type], ["the key is under the mat", "image/png"]);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    bytes[3] = (bytes[3] ?? 0) ^ 1;
    await assert.rejects(run({ blob: new Blob([bytes]), file }), /changed on its way/);
});
