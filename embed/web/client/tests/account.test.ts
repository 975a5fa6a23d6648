import assert from "node:assert/strict";
import test from "node:test";
import { Account } from "../sdk/account.ts";
import { ApiError } from "../sdk/api.ts";
import { askLetter, forget, proof, waiting } from "../sdk/letters.ts";
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

test("an address is added with the password, once its letter was answered", async () => {
    const letter = { email: "ada@b", secret: "s", sid: "1", attempt: 1 };
    const asked: Json[] = [];
    const account = new Account("@ada:b", (_, path, body = {}) => {
        asked.push({ path, ...(body as Json) });
        return (body as Json)["auth"] ? Promise.resolve({}) : Promise.reject(new ApiError(401, "", "", { session: "x", flows: [] }));
    });
    await assert.rejects(account.addAddress(letter), { session: "x" });
    await account.addAddress(letter, "password");
    const body = { path: "/account/3pid/add", sid: "1", client_secret: "s" };
    const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: "@ada:b" }, password: "password", session: "x" };
    assert.deepEqual(asked, [body, body, { ...body, auth }]);
    const plain = server({});
    await new Account("@ada:b", plain.ask).removeAddress("ada@b");
    assert.deepEqual(plain.asked, [["POST", "/account/3pid/delete", { medium: "email", address: "ada@b" }]]);
});

test("a letter is remembered until it is of no use, and asked for again by the same secret", async () => {
    const kept = new Map<string, string>();
    Object.assign(globalThis, { sessionStorage: { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value), removeItem: (key: string) => kept.delete(key) } });
    const asked: [string, Json][] = [];
    const post = (path: string, body: object): Promise<unknown> => Promise.resolve((asked.push([path, body as Json]), { sid: "1" }));
    assert.equal(waiting("password"), undefined);
    const first = await askLetter(post, "password", "ada@b");
    const again = await askLetter(post, "password", "ada@b", first);
    assert.match(first.secret, /^[0-9a-f]{48}$/);
    assert.deepEqual(asked.map(([path, body]) => [path, body["email"], body["client_secret"], body["send_attempt"]]), [1, 2].map((attempt) => ["/account/password/email/requestToken", "ada@b", first.secret, attempt]));
    assert.deepEqual(waiting("password"), again);
    assert.equal(waiting("add"), undefined);
    assert.deepEqual(proof(again), { type: "m.login.email.identity", threepid_creds: { sid: "1", client_secret: first.secret } });
    forget("password");
    assert.equal(waiting("password"), undefined);
    for (const odd of ["", "{", "null", "3", "{}", JSON.stringify({ email: "a", sid: "b" })]) {
        kept.set("hromada.letter.add", odd);
        assert.equal(waiting("add"), undefined);
    }
    Reflect.deleteProperty(globalThis, "sessionStorage");
    assert.equal((await askLetter(post, "add", "ada@b")).attempt, 1, "without storage it holds for the page");
    assert.equal(waiting("add"), undefined);
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
