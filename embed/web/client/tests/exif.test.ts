import assert from "node:assert/strict";
import test from "node:test";
import { crc32 } from "node:zlib";
import { withoutExif } from "../sdk/exif.ts";

const text = (of: string): number[] => [...of].map((each) => each.charCodeAt(0));
const big = (n: number): number[] => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const little = (n: number): number[] => big(n).reverse();
/** An Exif block that says how the picture is turned, and a place. */
const exif = (turned: number): number[] => [...text("II"), 42, 0, 8, 0, 0, 0, 2, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, turned, 0, 0, 0, 0x25, 0x88, 4, 0, 1, 0, 0, 0, 38, 0, 0, 0, 0, 0, 0, 0, ...text("50.45N 30.52E")];

async function cut(type: string, data: number[]): Promise<{ out: number[]; words: string }> {
    const out = [...new Uint8Array(await (await withoutExif(new Blob([new Uint8Array(data)], { type }))).arrayBuffer())];
    return { out, words: String.fromCharCode(...out) };
}

const chunk = (name: string, data: number[]): number[] => [...big(data.length), ...text(name), ...data, ...big(crc32(new Uint8Array([...text(name), ...data])))];
const PNG = [0x89, ...text("PNG"), 13, 10, 26, 10];

test("a PNG loses where and when, keeps how it is turned and its pixels", async () => {
    const before = [...PNG, ...chunk("IHDR", [1, 2, 3])], after = [...chunk("IDAT", [4, 5]), ...chunk("IEND", [])];
    const full = (turned: number): number[] => [...before, ...chunk("eXIf", exif(turned)), ...chunk("iTXt", text("XML:com.adobe.xmp 50.45N")), ...after, ...chunk("tIME", [7])];
    assert.deepEqual((await cut("image/png", full(1))).out, [...before, ...after]);
    const { out, words } = await cut("image/png", full(6));
    assert.ok(!words.includes("50.45N"));
    const block = out.slice(before.length, out.length - after.length);
    assert.deepEqual(block, chunk("eXIf", block.slice(8, -4)), "its sum is right");
    assert.deepEqual((await cut("image/png", out)).out, out, "what is left says how it is turned");
});

const riff = (...blocks: number[][]): number[] => [...text("RIFF"), ...little(4 + blocks.flat().length), ...text("WEBP"), ...blocks.flat()];
const block = (name: string, data: number[]): number[] => [...text(name), ...little(data.length), ...data, ...(data.length % 2 ? [0] : [])];

test("a WebP loses where and when, and says in its head what is left", async () => {
    const full = (turned: number, flags: number): number[] => riff(block("VP8X", [flags, 0, 0, 0]), block("VP8 ", [1, 2, 3]), block("EXIF", [...text("Exif"), 0, 0, ...exif(turned)]), block("XMP ", text("50.45N")));
    assert.deepEqual((await cut("image/webp", full(1, 0x1c))).out, riff(block("VP8X", [0x10, 0, 0, 0]), block("VP8 ", [1, 2, 3])));
    const { out, words } = await cut("image/webp", full(6, 0x0c));
    assert.ok(!words.includes("50.45N"));
    assert.ok(words.includes("EXIF"));
    assert.equal(out[20], 0x08);
    assert.deepEqual((await cut("image/webp", out)).out, out);
});

test("a JPEG keeps how it is turned, and broken ones are no error", async () => {
    const app1 = [...text("Exif"), 0, 0, ...exif(6)];
    const { words } = await cut("image/jpeg", [0xff, 0xd8, 0xff, 0xe1, 0, app1.length + 2, ...app1, 0xff, 0xda, 1, 2]);
    assert.ok(words.includes("Exif") && !words.includes("50.45N"));
    for (const type of ["image/jpeg", "image/png", "image/webp"]) {
        for (const whole of [[...PNG, ...chunk("eXIf", exif(6))], riff(block("EXIF", exif(6))), [0xff, 0xd8, 0xff, 0xe1, 0, app1.length + 2, ...app1]]) {
            for (let end = 0; end <= whole.length; end++) await cut(type, whole.slice(0, end));
        }
    }
});
