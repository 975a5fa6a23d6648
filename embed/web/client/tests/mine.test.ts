import assert from "node:assert/strict";
import test from "node:test";
import { crc32, inflateRawSync } from "node:zlib";
import { archive, type Entry } from "../sdk/mine/archive.ts";
import { collect, fileName } from "../sdk/mine/collect.ts";

/** What an archive holds by its list at the end, each entry checked against what stands before it. */
function unpacked(bytes: Buffer): [string, string][] {
    const end = bytes.length - 22;
    assert.equal(bytes.readUInt32LE(end), 0x06054b50);
    const found: [string, string][] = [];
    let at = bytes.readUInt32LE(end + 16);
    for (let count = bytes.readUInt16LE(end + 10); count > 0; count--) {
        assert.equal(bytes.readUInt32LE(at), 0x02014b50);
        const [sum, packed, size] = [16, 20, 24].map((offset) => bytes.readUInt32LE(at + offset)) as [number, number, number];
        const length = bytes.readUInt16LE(at + 28), from = bytes.readUInt32LE(at + 42);
        const name = bytes.subarray(at + 46, at + 46 + length).toString();
        // Letters beyond ASCII are said to be UTF-8.
        if (/[^\0-\x7f]/.test(name)) for (const flags of [at + 8, from + 6]) assert.ok(bytes.readUInt16LE(flags) & 0x0800);
        assert.equal(bytes.readUInt32LE(from), 0x04034b50);
        assert.equal(bytes.subarray(from + 30, from + 30 + length).toString(), name);
        const text = inflateRawSync(bytes.subarray(from + 30 + length, from + 30 + length + packed));
        assert.deepEqual([text.length, crc32(text)], [size, sum]);
        found.push([name, text.toString()]);
        at += 46 + length;
    }
    assert.equal(at, end);
    return found;
}

test("an archive holds what was put into it", async () => {
    const entries: Entry[] = [{ name: "profile.json", text: "{}" }, { name: "messages/001 Сад.json", text: "Привіт 🌱 ".repeat(5000) }, { name: "empty", text: "" }];
    async function* slowly(): AsyncGenerator<Entry> {
        for (const entry of entries) yield await Promise.resolve(entry);
    }
    const bytes = Buffer.from(await (await archive(slowly())).arrayBuffer());
    assert.ok(bytes.length < 3000, "it is packed");
    assert.deepEqual(unpacked(bytes), entries.map(({ name, text }) => [name, text]));
    assert.deepEqual(unpacked(Buffer.from(await (await archive([])).arrayBuffer())), []);
});

test("names of rooms become names of files that lead nowhere else", () => {
    for (const [name, file] of [["../../etc/passwd", "_.._etc_passwd"], ["Сад та город", "Сад та город"], ["a:b\\c*", "a_b_c_"], ["\u202Egnp.exe", "gnp.exe"], ["...", "room"], ["", "room"]]) {
        assert.equal(fileName(name ?? ""), file);
    }
});

test("what one takes along begins with the account: who one is, where one is written to, what one uses", async () => {
    const answers: Record<string, unknown> = {
        "/profile/%40ada%3Ab": { displayname: "Ada" },
        "/account/3pid": { threepids: [{ medium: "email", address: "ada@example.org", added_at: 1, validated_at: 1 }] },
        "/devices": { devices: [{ device_id: "D" }] },
    };
    const engine = { userId: "@ada:b", client: { getRooms: () => [] } };
    const held: Record<string, unknown> = {};
    for await (const { name, text } of collect(engine as never, (_method, path) => Promise.resolve(answers[path]), new AbortController().signal, () => undefined)) held[name] = JSON.parse(text);
    assert.deepEqual(held, {
        "profile.json": { user_id: "@ada:b", displayname: "Ada" },
        "addresses.json": [{ medium: "email", address: "ada@example.org", added_at: 1, validated_at: 1 }],
        "devices.json": [{ device_id: "D" }],
        "rooms.json": [],
    });
});
