// An encrypted conversation over connections that break: node storm.mjs BASE_URL NAME_A NAME_B COUNT
// Says `sent N` after each ten messages, so that somebody can break something, and ends with one line of JSON: what each
// device reads. Alice has two signed devices and one that nobody signed; Bob has one.

import process from "node:process";
import * as sdk from "matrix-js-sdk";
import { OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { login, register } from "./clients.mjs";
import { begin, bootstrap, meet, reading, signSelf, until, vault } from "./crypto.mjs";
import { StreamSync } from "./ws.mjs";

const [baseUrl, nameA, nameB, count] = process.argv.slice(2);
const streams = [];
const mine = vault();

function options(more = {}) {
    const stream = new StreamSync();
    streams.push(stream);
    // No queue: the SDK's is stuck for ever behind a message whose echo came and whose answer was lost.
    return { fetchFn: stream.fetch, scheduler: new sdk.MatrixScheduler(undefined, () => null), ...more };
}

async function go(client) {
    const filter = new sdk.Filter(client.getUserId());
    filter.setDefinition({ room: { timeline: { limit: 100 }, state: { lazy_load_members: true } } });
    await begin(client, { filter });
    client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
    return client;
}

/** Send a message, again and again with its transaction id until it has been sent. */
async function says(client, room, body) {
    let sending = client.sendTextMessage(room, body);
    for (;;) {
        try {
            return await sending;
        } catch {
            await new Promise((done) => setTimeout(done, 100));
            const events = client.getRoom(room).getLiveTimeline().getEvents();
            const event = events.findLast((event) => event.getContent().body === body);
            if (event.status === null) return; // it has come back, so only the answer was lost
            sending = client.resendEvent(event, client.getRoom(room));
        }
    }
}

const [alice, bob] = await Promise.all([
    register(baseUrl, nameA, options({ cryptoCallbacks: mine.cryptoCallbacks })).then(go),
    register(baseUrl, nameB, options()).then(go),
]);
await Promise.all([bootstrap(alice), bootstrap(bob)]);
const recovery = await alice.getCrypto().createRecoveryKeyFromPassphrase();
mine.key = recovery.privateKey;
await alice.getCrypto().bootstrapSecretStorage({ createSecretStorageKey: async () => recovery });
const room = await meet(alice, bob);
const second = await go(await login(baseUrl, nameA, options({ cryptoCallbacks: mine.cryptoCallbacks })));
await signSelf(second);
const unsigned = await go(await login(baseUrl, nameA, options()));
for (const client of [alice, bob]) {
    await until("second device signed", async () => {
        const devices = await client.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
        const crypto = client.getCrypto();
        const status = await crypto.getDeviceVerificationStatus(alice.getUserId(), second.getDeviceId());
        return status?.signedByOwner && devices.get(alice.getUserId()).size === 3;
    });
}

const devices = { alice, second, bob, unsigned };
const speakers = [alice, bob, second];
const said = [];
for (let number = 0; number < count; number++) {
    said.push(`secret ${number}`);
    await says(speakers[number % speakers.length], room, said.at(-1));
    if (number % 10 !== 9) continue;
    // What is cut next is everybody's.
    await until("streaming", () => streams.every((stream) => stream.status === "streaming"));
    process.stdout.write(`sent ${number + 1}\n`);
}
const readings = () => Object.entries(devices).map(([name, client]) => [name, reading(client, room)]);
const far = () => JSON.stringify(readings().map(([name, { read, unread }]) => [name, read.length, unread]));
await until(far, () => readings().every(([, { read, unread }]) => read.length + unread >= said.length));
// A message whose key is late is read when it comes.
await until(far, () => readings().every(([name, { unread }]) => name === "unsigned" || unread === 0));
const results = { sent: said.length };
for (const [name, { read, unread }] of readings()) {
    results[name] = { all: [...read].sort().join() === [...said].sort().join(), read: read.length, unread };
}
results.sockets = streams.map((stream) => stream.stats.sockets);
for (const client of Object.values(devices)) client.stopClient();
for (const stream of streams) stream.dispose();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
