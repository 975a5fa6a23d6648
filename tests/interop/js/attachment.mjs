// One user sends an encrypted file through matrix-js-sdk, another one reads it: node attachment.mjs BASE_URL NAME_A NAME_B
// Prints one line of JSON. The file's format is the specification's: AES-256-CTR with a key in the event, the hash of
// the ciphertext beside it.  spec: client-server-api#sending-encrypted-attachments

import process from "node:process";
import { webcrypto as crypto } from "node:crypto";
import * as sdk from "matrix-js-sdk";
import { register, start } from "./clients.mjs";

const [baseUrl, nameA, nameB] = process.argv.slice(2);
const algorithm = "AES-CTR";
const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Ciphertext, and the `file` of an event, without its address. */
async function encrypt(plain) {
    const key = await crypto.subtle.generateKey({ name: algorithm, length: 256 }, true, ["encrypt", "decrypt"]);
    const iv = new Uint8Array(16);
    crypto.getRandomValues(iv.subarray(0, 8)); // the other half counts
    const sealed = await crypto.subtle.encrypt({ name: algorithm, counter: iv, length: 64 }, key, plain);
    const hash = await crypto.subtle.digest("SHA-256", sealed);
    const file = {
        v: "v2",
        key: await crypto.subtle.exportKey("jwk", key),
        iv: unpadded(iv),
        hashes: { sha256: unpadded(hash) },
    };
    return [new Uint8Array(sealed), file];
}

async function decrypt(sealed, file) {
    if (unpadded(await crypto.subtle.digest("SHA-256", sealed)) !== file.hashes.sha256) throw new Error("wrong hash");
    const key = await crypto.subtle.importKey("jwk", file.key, { name: algorithm }, false, ["decrypt"]);
    const counter = Buffer.from(file.iv, "base64");
    return crypto.subtle.decrypt({ name: algorithm, counter, length: 64 }, key, sealed);
}

/** The address of media, and the answer to asking for it with a token. */
async function fetchMedia(client, mxc) {
    const url = client.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true);
    return [url, await fetch(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } })];
}

const alice = await register(baseUrl, nameA);
const bob = await register(baseUrl, nameB);
const { room_id: room } = await alice.createRoom({ preset: "public_chat" });
await bob.joinRoom(room);

const plain = new TextEncoder().encode("a sentence that the server never sees ".repeat(20_000));
const [sealed, file] = await encrypt(plain);
let told = 0;
const sent = await alice.uploadContent(new Blob([sealed]), {
    name: "secret.txt",
    type: "application/octet-stream",
    includeFilename: false,
    progressHandler: ({ loaded }) => { told = loaded; },
});
await alice.sendMessage(room, {
    msgtype: "m.file",
    body: "secret.txt",
    info: { mimetype: "text/plain", size: plain.length },
    file: { ...file, url: sent.content_uri },
});

await start(bob);
const event = bob.getRoom(room).getLiveTimeline().getEvents().find((e) => e.getContent().msgtype === "m.file");
const received = event.getContent().file;
const [url, answer] = await fetchMedia(bob, received.url);
const opened = new Uint8Array(await decrypt(await answer.arrayBuffer(), received));
const config = await alice.getMediaConfig(true);

process.stdout.write(`${JSON.stringify({
    url,
    type: answer.headers.get("content-type"),
    disposition: answer.headers.get("content-disposition"),
    same: Buffer.compare(Buffer.from(opened), Buffer.from(plain)) === 0,
    limit: config["m.upload.size"],
    told,
    sdk: typeof sdk.createClient,
})}\n`);
bob.stopClient();
process.exit(0);
