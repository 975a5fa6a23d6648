// Two users talk through matrix-js-sdk whose /sync is the WebSocket: node streaming.mjs BASE_URL NAME_A NAME_B COUNT
// Says `heard N` when N messages have been heard, so that somebody can break something, and ends with one line of
// JSON: what each side heard and how. They take turns of ten messages, and each waits until it has heard the other.

import process from "node:process";
import * as sdk from "matrix-js-sdk";
import { register, start } from "./clients.mjs";
import { StreamSync } from "./ws.mjs";

const [baseUrl, nameA, nameB, count] = process.argv.slice(2);
const TURN = 10;
const PATIENCE_MS = 120_000;
const say = (line) => process.stdout.write(`${line}\n`);

class Speaker {
    static async make(name) {
        const speaker = new Speaker();
        speaker.polls = 0;
        speaker.told = [];
        speaker.syncStates = [];
        speaker.stream = new StreamSync({
            fetch: (url, options) => {
                if (String(url).includes("/sync")) speaker.polls++;
                return fetch(url, options);
            },
        });
        speaker.client = await register(baseUrl, name, {
            fetchFn: (url, options) => speaker.fetches(url, options),
            // No queue: the SDK's is stuck for ever behind a message whose echo came and whose answer was lost.
            scheduler: new sdk.MatrixScheduler(undefined, () => null),
        });
        speaker.client.on(sdk.ClientEvent.Sync, (state) => speaker.syncStates.push(state));
        speaker.heard = [];
        speaker.client.on(sdk.RoomEvent.Timeline, (event, _room, backwards) => {
            if (backwards || event.getType() !== "m.room.message") return;
            if (event.getSender() !== speaker.client.getUserId()) speaker.heard.push(event.getContent().body);
            speaker.look?.();
        });
        const filter = new sdk.Filter(speaker.client.getUserId());
        filter.setDefinition({ room: { timeline: { limit: 100 }, state: { lazy_load_members: true } } });
        await start(speaker.client, { filter });
        return speaker;
    }

    /** Fetch through the stream, and note what the SDK is told, which itself would hide what comes twice. */
    async fetches(url, options) {
        const response = await this.stream.fetch(url, options);
        if (new URL(url).pathname.endsWith("/sync")) {
            const { rooms } = await response.clone().json();
            for (const { timeline } of Object.values(rooms?.join ?? {})) {
                this.told.push(...timeline.events.map((event) => event.event_id));
            }
        }
        return response;
    }

    /** Send a message, again and again with its transaction id until it has been sent. */
    async says(room, body) {
        let sending = this.client.sendTextMessage(room, body);
        for (;;) {
            try {
                return await sending;
            } catch {
                await new Promise((done) => setTimeout(done, 100));
                const events = this.client.getRoom(room).getLiveTimeline().getEvents();
                const event = events.findLast((event) => event.getContent().body === body);
                if (event.status === null) return; // it has come back, so only the answer was lost
                sending = this.client.resendEvent(event, this.client.getRoom(room));
            }
        }
    }

    /** Wait until so many messages of the other have been heard. */
    hears(number) {
        return new Promise((resolve, reject) => {
            const give = () => reject(new Error(`heard ${this.heard.length}, not ${number}; ${states()}`));
            const timer = setTimeout(give, PATIENCE_MS);
            this.look = () => {
                if (this.heard.length < number) return;
                clearTimeout(timer);
                resolve();
            };
            this.look();
        });
    }

    report(room) {
        const events = this.client.getRoom(room).getLiveTimeline().getEvents();
        const messages = events.filter((event) => event.getType() === "m.room.message");
        return {
            heard: this.heard,
            told: this.told,
            timeline: messages.map((event) => event.getContent().body),
            unsent: messages.filter((event) => event.status !== null).length,
            polls: this.polls,
            stats: this.stream.stats,
            failed: this.syncStates.filter((state) => state === "ERROR" || state === "RECONNECTING").length,
        };
    }

    end() {
        this.client.stopClient();
        this.stream.dispose();
    }
}

/** Where everybody is, for the message of a failure. */
function states() {
    const rooms = [alice, bob].map(({ client }) => client.getRoom(room));
    const unsent = rooms.map((one) => one.getLiveTimeline().getEvents().filter((event) => event.status !== null));
    const sending = unsent.flat().map((event) => `${event.getContent().body} ${event.status}`);
    return JSON.stringify([alice, bob].map(({ stream }) => [stream.status, stream.stats]).concat(sending));
}

const [alice, bob] = await Promise.all([Speaker.make(nameA), Speaker.make(nameB)]);
const { room_id: room } = await alice.client.createRoom({ preset: "public_chat", name: "Streaming" });
await bob.client.joinRoom(room);
// The SDK shows no echo of what is sent into a room that it does not know yet, and puts it behind what is sent next.
const known = Date.now() + PATIENCE_MS;
while ([alice, bob].some(({ client }) => client.getRoom(room)?.getMyMembership() !== "join")) {
    if (Date.now() > known) throw new Error(`the room did not come; ${JSON.stringify([alice.syncStates, bob.syncStates])}`);
    await new Promise((done) => setTimeout(done, 20));
}

const turns = [
    [alice, bob],
    [bob, alice],
];
const said = new Map([[alice, 0], [bob, 0]]);
for (let number = 0; number < count; number += TURN) {
    const [speaker, listener] = turns[(number / TURN) % 2];
    for (let turn = 0; turn < TURN; turn++) await speaker.says(room, `message ${number + turn}`);
    said.set(speaker, said.get(speaker) + TURN);
    await listener.hears(said.get(speaker));
    say(`heard ${number + TURN}`);
}
// The last echo: whoever spoke last has to see its own messages come back, too.
await alice.says(room, "message end");
await bob.hears(said.get(alice) + 1);
const deadline = Date.now() + 60_000;
while ([alice, bob].some((one) => one.report(room).unsent) && Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 20));
}
const results = { alice: alice.report(room), bob: bob.report(room) };
alice.end();
bob.end();
// The SDK's timers would keep the process for a while.
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
