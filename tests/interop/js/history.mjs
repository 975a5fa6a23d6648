// An invitation brings the keys of what was said before (MSC4268): node history.mjs BASE_URL NAME_A NAME_B COUNT
// The keys travel in an encrypted file and a message to Bob's devices. Prints one line of JSON: what Bob reads.

import process from "node:process";
import { register } from "./clients.mjs";
import { begin, bootstrap, reading, until } from "./crypto.mjs";

const [baseUrl, nameA, nameB, count] = process.argv.slice(2);
const [alice, bob] = await Promise.all([register(baseUrl, nameA).then(begin), register(baseUrl, nameB).then(begin)]);
await Promise.all([bootstrap(alice), bootstrap(bob)]);
for (const client of [alice, bob]) await until("cross-signing", () => client.getCrypto().isCrossSigningReady());
const { room_id: room } = await alice.createRoom({
    preset: "private_chat",
    initial_state: [
        { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } },
    ],
});
await until("encryption", () => alice.getRoom(room)?.hasEncryptionStateEvent());
const said = [];
for (let number = 0; number < count; number++) {
    said.push(`before ${number}`);
    await alice.sendTextMessage(room, said.at(-1));
}
await alice.invite(room, bob.getUserId());
await until("invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
await bob.joinRoom(room);
await until("the room", () => bob.getRoom(room)?.getMyMembership() === "join");
await bob.scrollback(bob.getRoom(room), 50);
await until(
    () => `history: ${JSON.stringify(reading(bob, room))}`,
    () => said.every((body) => reading(bob, room).read.includes(body)),
);
const results = { history: reading(bob, room).unread };
for (const client of [alice, bob]) client.stopClient();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
