// Somebody of staff answers a support chat with nothing but matrix-js-sdk: node agent.mjs BASE_URL NAME [invited]
// Says "ready" when the account is there and may be put on a desk; then one line of JSON: what each step gave.
// `invited`: takes the case by accepting the invitation that offers it, and not by a reaction to its card.

import process from "node:process";
import * as sdk from "matrix-js-sdk";
import { register, start } from "./clients.mjs";

const [baseUrl, name, way] = process.argv.slice(2);
const client = await register(baseUrl, name);
await start(client);
console.log("ready");

function until(what, condition) {
    const events = [sdk.RoomEvent.Timeline, sdk.RoomEvent.MyMembership, sdk.RoomStateEvent.Events, sdk.ClientEvent.Room, sdk.ClientEvent.Sync];
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`timed out: ${what}`)), 120_000);
        const look = () => {
            const found = condition();
            if (!found) return;
            clearTimeout(timer);
            for (const event of events) client.off(event, look);
            resolve(found);
        };
        for (const event of events) client.on(event, look);
        look();
    });
}
const react = (room, target, key) =>
    client.sendEvent(room, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: target, key } });
const messages = (room) => client.getRoom(room)?.getLiveTimeline().getEvents() ?? [];
/** Something said in a room: how much has happened since decides whether the first update of the room still has it. */
async function said(what, room, is) {
    if (!messages(room).some(is)) await client.scrollback(client.getRoom(room), 100);
    return until(what, () => messages(room).find(is));
}

const invites = await until("invitations", () => {
    const found = client.getRooms().filter((room) => room.getMyMembership() === "invite");
    return found.length >= 2 && found;
});
for (const { roomId } of invites) await client.joinRoom(roomId);
const desk = await until("the desk", () => client.getRooms().find((room) => room.getMyMembership() === "join" && room.name.endsWith("· desk"))?.roomId);
const card = await said("a card", desk, (event) => event.getContent()["chat.hromada.support.case"]);
const room = card.getContent()["chat.hromada.support.case"].room_id;
if (way === "invited") await until("an offer", () => client.getRoom(room)?.getMyMembership() === "invite");
else await react(desk, card.getId(), "🙋");
await client.joinRoom(room);
const ticket = () => client.getRoom(room)?.currentState.getStateEvents("chat.hromada.support.ticket", "")?.getContent() ?? {};
await until("the case to be mine", () => ticket().status === "open" && ticket().assignee === client.getUserId());
const question = await said("the question", room, (event) => event.getType() === "m.room.message" && event.getSender() !== client.getUserId());
await client.sendTextMessage(room, `You asked: ${question.getContent().body}`);
const thanks = await until("thanks", () => messages(room).find((event) => event.getContent().body === "thank you"));
await client.sendReadReceipt(thanks);
await react(desk, card.getId(), "✅");
await until("the case to be done", () => ticket().status === "resolved");
console.log(JSON.stringify({ asked: question.getContent().body, room: client.getRoom(room).name }));
client.stopClient();
process.exit(0);
