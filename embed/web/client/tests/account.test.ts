import assert from "node:assert/strict";
import test from "node:test";
import { Account } from "../sdk/account.ts";
import { aboutOf, PRONOUNS, setAbout, ZONE, zones } from "../sdk/profile.ts";

type Json = Record<string, unknown>;

/** A server with these answers by path, and what was asked of it. */
function server(answers: Json): { ask: (method: string, path: string, body?: Json) => Promise<unknown>; asked: unknown[][] } {
    const asked: unknown[][] = [];
    return { asked, ask: (method, path, body) => Promise.resolve((asked.push(body ? [method, path, body] : [method, path]), answers[path])) };
}

test("addresses of the account, and whether the server takes others", async () => {
    const of = (threepids: Json[], capabilities: Json) => new Account("@ada:b", server({ "/account/3pid": { threepids }, "/capabilities": { capabilities } }).ask).addresses();
    assert.deepEqual(await of([], { "m.3pid_changes": { enabled: false } }), { list: [], changes: false });
    assert.deepEqual(await of([{ medium: "email", address: "ada@b" }], {}), { list: ["ada@b"], changes: true });
});

test("what a profile says, in one's language or else the first; nothing that is not so", () => {
    const profile = { [PRONOUNS]: [{ language: "en", summary: "she/her" }, { language: "uk", summary: "вона" }], [ZONE]: "Europe/Kyiv" };
    assert.deepEqual(aboutOf(profile, "uk"), { pronouns: "вона", zone: "Europe/Kyiv" });
    assert.equal(aboutOf(profile, "de").pronouns, "she/her");
    for (const odd of [undefined, null, "x", [null], [{}], [{ summary: 3 }], [{ summary: "\u202E" }], { summary: "x" }]) {
        assert.deepEqual(aboutOf({ [PRONOUNS]: odd, [ZONE]: "Moon/Dark" }, "en"), { pronouns: "", zone: "" });
    }
    assert.equal(aboutOf({ [PRONOUNS]: [{ language: "en", summary: `a\u202E${"b".repeat(99)}` }] }, "en").pronouns.length, 60);
});

test("zones are called as they are today", () => {
    const all = zones();
    assert.ok(all.includes("Europe/Kyiv") && all.includes("UTC") && all.length > 300);
    assert.ok(!all.includes("Europe/Kiev"));
    for (const zone of all) assert.equal(aboutOf({ [ZONE]: zone }, "en").zone, zone);
});

test("only what changed of a profile is sent, and other languages stay", async () => {
    const before = { [PRONOUNS]: [{ language: "en", summary: "she/her" }, { language: "uk", summary: "вона" }], [ZONE]: "Europe/Kyiv" };
    const sent = async (was: Json, language: string, pronouns: string, zone: string) => {
        const { ask, asked } = server({});
        await setAbout(ask, "@ada:b", was, language, { pronouns, zone });
        return asked;
    };
    const path = "/profile/%40ada%3Ab/";
    assert.deepEqual(await sent(before, "en", "she/her", "Europe/Kyiv"), []);
    assert.deepEqual(await sent(before, "en", " she/they ", ""), [
        ["DELETE", path + ZONE],
        ["PUT", path + PRONOUNS, { [PRONOUNS]: [{ language: "en", summary: "she/they" }, { language: "uk", summary: "вона" }] }],
    ]);
    assert.deepEqual(await sent({ [PRONOUNS]: [{ language: "en", summary: "x" }] }, "en", "", "UTC"), [["PUT", path + ZONE, { [ZONE]: "UTC" }], ["DELETE", path + PRONOUNS]]);
});
