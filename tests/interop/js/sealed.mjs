// Somebody of staff in an encrypted support chat, with matrix-js-sdk and its real crypto: node sealed.mjs BASE_URL NAME
// Keys go to, and messages are read of, cross-signed devices only. Says "ready", then one line of JSON for each message
// of the visitor; answers "You said: …", until it reads "goodbye". Asked "who else reads this?" it invites a colleague, with
// the keys of what was said before (MSC4268), says what they can read, and what they hear next.

import process from "node:process";
import * as sdk from "matrix-js-sdk";
import { OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { register } from "./clients.mjs";
import { begin, bootstrap, reading, until } from "./crypto.mjs";

const [baseUrl, name] = process.argv.slice(2);
const client = await register(baseUrl, name);
await begin(client);
await bootstrap(client);
client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
// The SDK looks at a message before it has asked whose device wrote it, and not again: clients do when the room is
// opened anew, and so does this one (from the start: the first message may be looked at before the room is joined
// as far as this script knows). What stays unreadable is said, for who looks at a failed test.
client.on(sdk.MatrixEventEvent.Decrypted, async (event) => {
    if (!event.isDecryptionFailure() || event.lookedAgain) return;
    event.lookedAgain = true;
    await client.getCrypto().getUserDeviceInfo([event.getSender()], true);
    await until(
        () => `unreadable: ${event.decryptionFailureReason}`,
        async () => {
            await event.attemptDecryption(client.getCrypto(), { isRetry: true });
            return !event.isDecryptionFailure();
        },
    );
});
console.log("ready");

const invites = await until("invitations", () => {
    const found = client.getRooms().filter((room) => room.getMyMembership() === "invite");
    return found.length >= 2 && found;
});
for (const { roomId } of invites) await client.joinRoom(roomId);
const cards = () => client.getRooms().flatMap((room) => room.getLiveTimeline().getEvents()).filter((event) => event.getContent()["chat.hromada.support.case"]);
const card = await until("a card", () => cards()[0]);
const room = card.getContent()["chat.hromada.support.case"].room_id;
await client.joinRoom(room);

/** A colleague of another device and account comes into the conversation. */
async function call() {
    const late = await register(baseUrl, `${name}-late`).then(begin);
    await bootstrap(late);
    await until("cross-signing", () => late.getCrypto().isCrossSigningReady());
    await client.invite(room, late.getUserId());
    await until("invite", () => late.getRoom(room)?.getMyMembership() === "invite");
    await late.joinRoom(room);
    await until("the room", () => late.getRoom(room)?.getMyMembership() === "join");
    await late.scrollback(late.getRoom(room), 100);
    const said = () => client.getRoom(room).getLiveTimeline().getEvents().filter((each) => each.getWireType() === "m.room.encrypted").length;
    const all = await until(
        () => `history of ${said()}: ${JSON.stringify(reading(late, room))}`,
        () => reading(late, room).read.length >= said() && reading(late, room),
    );
    late.on(sdk.MatrixEventEvent.Decrypted, (event) => {
        if (event.getSender() === client.getUserId() || event.isDecryptionFailure()) return;
        console.log(JSON.stringify({ heard: event.getContent().body }));
        late.stopClient();
    });
    console.log(JSON.stringify({ late: all }));
}

const answered = new Set();
for (let over = false; !over; ) {
    const lines = () => client.getRoom(room)?.getLiveTimeline().getEvents().map((each) => `${each.getWireType()} ${each.decryptionFailureReason} ${each.isBeingDecrypted()}`);
    const event = await until(() => `a message: ${lines()}`, () =>
        client
            .getRoom(room)
            ?.getLiveTimeline()
            .getEvents()
            .find((each) => each.getWireType() === "m.room.encrypted" && each.getType() === "m.room.message" && each.getSender() !== client.getUserId() && !answered.has(each.getId()) && !each.isDecryptionFailure()),
    );
    answered.add(event.getId());
    const content = event.getContent();
    const info = await client.getCrypto().getEncryptionInfoForEvent(event);
    console.log(JSON.stringify({ said: content.body, file: content.file !== undefined, info: content.info, shield: info?.shieldColour, card: card.getContent().body }));
    over = content.body === "goodbye";
    await client.sendTextMessage(room, `You said: ${content.body}`);
    if (content.body === "who else reads this?") await call();
}
client.stopClient();
process.exit(0);
