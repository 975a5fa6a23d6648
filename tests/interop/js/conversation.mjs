// Two users hold a conversation through matrix-js-sdk: node conversation.mjs BASE_URL NAME_A NAME_B
// Prints one line of JSON: what each step gave. Exits with an error at the first step that fails.

import process from "node:process";
import * as sdk from "matrix-js-sdk";
import { register, start } from "./clients.mjs";

const [baseUrl, nameA, nameB] = process.argv.slice(2);
const results = {};

/** Wait until `condition` gives something, looking again whenever the client says that something happened. */
function until(client, what, condition) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`timed out: ${what}`)), 90_000);
        const look = () => {
            const found = condition();
            if (!found) return false;
            clearTimeout(timer);
            for (const event of events) client.off(event, look);
            resolve(found);
            return true;
        };
        const events = [
            sdk.RoomEvent.Timeline,
            sdk.RoomEvent.MyMembership,
            sdk.RoomEvent.Redaction,
            sdk.RoomEvent.Receipt,
            sdk.RoomMemberEvent.Typing,
            sdk.RoomStateEvent.Events,
            sdk.ClientEvent.Room,
            sdk.MatrixEventEvent.Replaced,
            sdk.ClientEvent.Sync,
        ];
        for (const event of events) client.on(event, look);
        look();
    });
}

/** Run a step that a server may not have yet: an unknown endpoint is an answer, any other error is not. */
async function optional(step) {
    try {
        await step();
        return true;
    } catch (error) {
        if (error.errcode === "M_UNRECOGNIZED") return false;
        throw error;
    }
}

const find = (client, room, id) => client.getRoom(room)?.findEventById(id);

const alice = await register(baseUrl, nameA);
const bob = await register(baseUrl, nameB);
await Promise.all([start(alice), start(bob)]);

const { room_id: room } = await alice.createRoom({ preset: "private_chat", name: "Conversation" });
await alice.invite(room, bob.getUserId());
await until(bob, "invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
results.invitedTo = bob.getRoom(room).name;
await bob.joinRoom(room);
await until(bob, "join", () => bob.getRoom(room)?.getMyMembership() === "join");
await until(alice, "bob's join", () => alice.getRoom(room)?.getMember(bob.getUserId())?.membership === "join");

const { event_id: message } = await alice.sendTextMessage(room, "helo");
const received = await until(bob, "message", () => find(bob, room, message));
results.received = received.getContent().body;

await alice.sendMessage(room, {
    "msgtype": "m.text",
    "body": "* hello",
    "m.new_content": { msgtype: "m.text", body: "hello" },
    "m.relates_to": { rel_type: "m.replace", event_id: message },
});
await until(bob, "edit", () => received.replacingEvent());
results.edited = received.getContent().body;

const { event_id: reaction } = await bob.sendEvent(room, "m.reaction", {
    "m.relates_to": { rel_type: "m.annotation", event_id: message, key: "👍" },
});
results.reaction = (await until(alice, "reaction", () => find(alice, room, reaction))).getRelation().key;

const { event_id: regretted } = await alice.sendTextMessage(room, "oops");
await until(bob, "regretted message", () => find(bob, room, regretted));
await alice.redactEvent(room, regretted, undefined, { reason: "typo" });
await until(bob, "redaction", () => find(bob, room, regretted).isRedacted());
results.redacted = true;

results.typing = await optional(() => alice.sendTyping(room, true, 10_000));
if (results.typing) {
    await until(bob, "typing", () => bob.getRoom(room).getMember(alice.getUserId())?.typing);
}
results.receipt = await optional(() => bob.sendReadReceipt(received));

for (let number = 0; number < 500; number++) {
    await alice.sendTextMessage(room, `message ${number}`);
}
const fresh = sdk.createClient({ baseUrl, accessToken: bob.getAccessToken(), userId: bob.getUserId() });
bob.stopClient();
await start(fresh);
const timeline = fresh.getRoom(room).getLiveTimeline();
while (await fresh.paginateEventTimeline(timeline, { backwards: true, limit: 100 }));
const bodies = timeline.getEvents().map((event) => event.getContent().body ?? "");
results.paged = bodies.filter((body) => body.startsWith("message "));

fresh.stopClient();
alice.stopClient();
await fresh.logout(true);
await alice.logout(true);
results.loggedOut = await alice.whoami().then(() => false, (error) => error.errcode);
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
