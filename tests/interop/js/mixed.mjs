// One side of an encrypted conversation with another crypto stack: node mixed.mjs BASE_URL NAME PEER COUNT
// Invites PEER (a user id) into an encrypted room, says COUNT messages and waits for an answer to each; the first comes
// after PEER says "ready". Prints one line of JSON: what was read, and what the peer's devices were.

import process from "node:process";
import { AllDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { register } from "./clients.mjs";
import { begin, bootstrap, until } from "./crypto.mjs";

const [baseUrl, name, peer, count] = process.argv.slice(2);
const client = await begin(await register(baseUrl, name));
await bootstrap(client);
// The peer's stack knows no cross-signing.
client.getCrypto().setDeviceIsolationMode(new AllDevicesIsolationMode(false));
const { room_id: room } = await client.createRoom({
    preset: "private_chat",
    invite: [peer],
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
});
process.stdout.write(`\nroom ${room}\n`);
await until("ready", () => client.messages.includes("ready"));
for (let number = 0; number < count; number++) {
    await client.sendTextMessage(room, `js ${number}`);
    await until(`answer ${number}`, () => client.messages.includes(`other ${number}`));
}
// In the order of the timeline; the SDK may tell of one message twice, and of two in any order.
const read = () =>
    client
        .getRoom(room)
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.isEncrypted() && event.getSender() === peer && !event.isBeingDecrypted())
        .filter((event) => event.getClearContent() && !event.isDecryptionFailure())
        .map((event) => event.getContent().body);
await until("bye", () => read().includes("bye") && read().length >= Number(count) + 2);
const devices = await client.getCrypto().getUserDeviceInfo([peer], true);
const results = {
    read: read(),
    devices: [...devices.get(peer).keys()],
    encrypted: client.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.isEncrypted()).length,
};
client.stopClient();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
