// A key backup outlives the device that made it: node backup.mjs BASE_URL NAME_A NAME_B COUNT
// Prints one line of JSON: what a new device reads before and after the recovery key. Exits with an error at the first
// step that fails.

import process from "node:process";
import { decodeRecoveryKey, OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { login, register } from "./clients.mjs";
import { begin, bootstrap, meet, reading, signSelf, until, vault } from "./crypto.mjs";

const [baseUrl, nameA, nameB, count] = process.argv.slice(2);
const results = {};
const mine = vault();

const [alice, bob] = await Promise.all([
    register(baseUrl, nameA, { cryptoCallbacks: mine.cryptoCallbacks }).then(begin),
    register(baseUrl, nameB).then(begin),
]);
await Promise.all([bootstrap(alice), bootstrap(bob)]);
for (const client of [alice, bob]) client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
const recovery = await alice.getCrypto().createRecoveryKeyFromPassphrase();
mine.key = recovery.privateKey;
await alice.getCrypto().bootstrapSecretStorage({
    createSecretStorageKey: async () => recovery,
    setupNewSecretStorage: true,
    setupNewKeyBackup: true,
});
const room = await meet(alice, bob);
const said = [];
for (let number = 0; number < count; number++) {
    const [speaker, listener] = number % 2 ? [bob, alice] : [alice, bob];
    said.push(`secret ${number}`);
    await speaker.sendTextMessage(room, said.at(-1));
    await until(`message ${number}`, () => listener.messages.includes(said.at(-1)));
}
// One session of each speaker. The SDK would tell what it knew of the backup when that was made.
let backup = {};
await until(() => `backed up: ${JSON.stringify(backup)}`, async () => {
    const headers = { Authorization: `Bearer ${alice.getAccessToken()}` };
    backup = await (await fetch(`${baseUrl}/_matrix/client/v3/room_keys/version`, { headers })).json();
    return backup.count === 2;
});
await alice.logout(true);
await until("device gone", async () => {
    const devices = await bob.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
    return devices.get(alice.getUserId()).size === 0;
});
await bob.sendTextMessage(room, "to nobody");

// A new device knows nothing, and after the recovery key all that was in the backup.
delete mine.key;
const again = await begin(await login(baseUrl, nameA, { cryptoCallbacks: mine.cryptoCallbacks }));
await again.scrollback(again.getRoom(room), 100);
await until("undecryptable", () => reading(again, room).unread === said.length + 1);
results.before = reading(again, room);

mine.key = decodeRecoveryKey(recovery.encodedPrivateKey);
const crypto = again.getCrypto();
await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
const { imported, total } = await crypto.restoreKeyBackup();
results.restored = [imported, total];
const restored = () => `history: ${JSON.stringify(reading(again, room))}`;
await until(restored, () => reading(again, room).read.length === said.length);
results.history = reading(again, room).read.join() === said.join();
results.unread = reading(again, room).unread;

// Signed with the keys of secret storage, it takes part again.
await signSelf(again);
await until("signed", async () => {
    const status = await bob.getCrypto().getDeviceVerificationStatus(again.getUserId(), again.getDeviceId());
    return status?.signedByOwner;
});
await bob.sendTextMessage(room, "welcome back");
await until("welcome back", () => again.messages.includes("welcome back"));
results.again = true;

for (const client of [again, bob]) client.stopClient();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
