// Two users and three devices talk in an encrypted room, with the SDK's real crypto stack:
// node encrypted.mjs BASE_URL NAME_A NAME_B TRANSPORT COUNT, where TRANSPORT is `poll` or `socket`.
// Prints one line of JSON: what each step gave. Exits with an error at the first step that fails.

import process from "node:process";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";
import { OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { login, register } from "./clients.mjs";
import { begin, bootstrap, meet, until } from "./crypto.mjs";
import { StreamSync } from "./ws.mjs";

const [baseUrl, nameA, nameB, transport, count] = process.argv.slice(2);
const streams = [];
const results = { transport };

function options() {
    if (transport !== "socket") return {};
    const stream = new StreamSync();
    streams.push(stream);
    return { fetchFn: stream.fetch };
}

/** The user's own devices compare emoji, and trust each other from then on. */
async function verify(from, to) {
    const incoming = new Promise((resolve) => to.on(CryptoEvent.VerificationRequestReceived, resolve));
    const request = await from.getCrypto().requestOwnUserVerification();
    const received = await incoming;
    await received.accept();
    await until("verification ready", () => request.phase === VerificationPhase.Ready);
    const verifier = await request.startVerification("m.sas.v1");
    const other = await until("verification started", () => received.verifier);
    const emoji = await Promise.all(
        [verifier, other].map(
            (side) =>
                new Promise((resolve, reject) => {
                    side.on(VerifierEvent.ShowSas, async (sas) => {
                        resolve(sas.sas.decimal.join());
                        await sas.confirm();
                    });
                    side.verify().catch(reject);
                }),
        ),
    );
    await until("verification done", () => request.phase === VerificationPhase.Done);
    await until("verification done there", () => received.phase === VerificationPhase.Done);
    return emoji[0] === emoji[1];
}

const [alice, bob] = await Promise.all([
    register(baseUrl, nameA, options()).then(begin),
    register(baseUrl, nameB, options()).then(begin),
]);
await Promise.all([bootstrap(alice), bootstrap(bob)]);
for (const client of [alice, bob]) {
    client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
    await until("cross-signing", () => client.getCrypto().isCrossSigningReady());
}
results.bootstrapped = true;

const room = await meet(alice, bob);

const said = [];
for (let number = 0; number < count; number++) {
    const speaker = number % 2 ? bob : alice;
    const listener = number % 2 ? alice : bob;
    const body = `secret ${number}`;
    await speaker.sendTextMessage(room, body);
    said.push([speaker, body]);
    await until(`message ${number}`, () => listener.messages.includes(body));
}
const heardFrom = (speaker) => said.filter(([who]) => who === speaker).map(([, body]) => body);
results.heard = [bob.messages.join() === heardFrom(alice).join(), alice.messages.join() === heardFrom(bob).join()];

// A second device of Alice is not signed yet: Bob's messages are not for it, until the first one has vouched for it.
const second = await begin(await login(baseUrl, nameA, options()));
await bob.sendTextMessage(room, "not for the unsigned");
await until("not for the unsigned", () => alice.messages.includes("not for the unsigned"));
results.sasMatched = await verify(second, alice);
const crypto = second.getCrypto();
await until("second device signed", async () => {
    const status = await bob.getCrypto().getDeviceVerificationStatus(alice.getUserId(), second.getDeviceId());
    return status?.signedByOwner;
});
await until("secrets shared", () => crypto.isCrossSigningReady());
await bob.sendTextMessage(room, "for both");
await Promise.all([alice, second].map((client) => until("for both", () => client.messages.includes("for both"))));
results.second = second.messages;

// A device that is gone gets nothing any more, and the others go on.
await second.logout(true);
await until("device gone", async () => {
    const devices = await bob.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
    return devices.get(alice.getUserId()).size === 1;
});
await alice.sendTextMessage(room, "after the logout");
await until("after the logout", () => bob.messages.includes("after the logout"));
results.afterLogout = true;

const raw = await (
    await fetch(`${baseUrl}/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100`, {
        headers: { Authorization: `Bearer ${alice.getAccessToken()}` },
    })
).json();
results.plaintext = raw.chunk.filter((event) => event.type === "m.room.message").length;
results.encrypted = raw.chunk.filter((event) => event.type === "m.room.encrypted").length;

for (const client of [alice, bob]) client.stopClient();
for (const stream of streams) stream.dispose();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
