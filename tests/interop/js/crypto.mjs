// Clients with the SDK's real crypto stack, and what their conversations share.

import * as sdk from "matrix-js-sdk";
import { start } from "./clients.mjs";

const PATIENCE_MS = 120_000;

/** Start a client with encryption; `messages` has what it could read of others. `options` are those of `start`. */
export async function begin(client, options = {}) {
    await client.initRustCrypto({ useIndexedDB: false });
    client.messages = [];
    const note = (event) => {
        if (event.getType() !== "m.room.message" || event.getSender() === client.getUserId()) return;
        if (!event.isDecryptionFailure()) client.messages.push(event.getContent().body);
    };
    client.on(sdk.RoomEvent.Timeline, (event, _room, backwards) => {
        if (!backwards && !event.isEncrypted()) note(event);
    });
    client.on(sdk.MatrixEventEvent.Decrypted, note);
    await start(client, options);
    return client;
}

/** Wait until `condition` gives something. */
export async function until(what, condition) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await condition();
        if (found) return found;
        if (Date.now() > deadline) throw new Error(`timed out: ${typeof what === "function" ? what() : what}`);
        await new Promise((done) => setTimeout(done, 25));
    }
}

export const bootstrap = (client) =>
    client.getCrypto().bootstrapCrossSigning({ authUploadDeviceSigningKeys: async (request) => request(null) });

/** Sign a new device of a user with the cross-signing keys that are in secret storage. */
export async function signSelf(client) {
    const crypto = client.getCrypto();
    // The public keys have to be known: only then does it take the private ones for the user's.
    await until("own identity", () => crypto.userHasCrossSigningKeys(client.getUserId(), true));
    await crypto.bootstrapCrossSigning({});
}

/** Callbacks and what they keep: the user's recovery key, and secret storage opened with it. */
export function vault() {
    const kept = {};
    kept.cryptoCallbacks = {
        getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], kept.key],
        cacheSecretStorageKey: () => {},
    };
    return kept;
}

/** An encrypted room in which both are. */
export async function meet(alice, bob) {
    const { room_id: room } = await alice.createRoom({
        preset: "private_chat",
        name: "Secret",
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    });
    await alice.invite(room, bob.getUserId());
    await until("invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
    await bob.joinRoom(room);
    await until("bob's join", () => alice.getRoom(room)?.getMember(bob.getUserId())?.membership === "join");
    await until("encryption", () => bob.getRoom(room)?.hasEncryptionStateEvent());
    return room;
}

/** What a device makes of the encrypted messages of its timeline: those it reads, and how many it cannot. */
export function reading(client, room) {
    const events = client.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.isEncrypted());
    const settled = events.filter((event) => !event.isBeingDecrypted());
    const read = settled.filter((event) => event.getClearContent() && !event.isDecryptionFailure());
    return {
        read: read.map((event) => event.getContent().body),
        unread: settled.filter((event) => event.isDecryptionFailure()).length,
    };
}
