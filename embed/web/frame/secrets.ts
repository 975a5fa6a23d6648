// The keys of a known visitor, kept on the server under a secret that their site gives and the server never sees
// (docs/adr/0016). Laid down as the specification says, so that any client opens them with the same key.
// spec: client-server-api#secret-storage, client-server-api#server-side-key-backups

import { BackupDecryptionKey, type OlmMachine, RequestType, RoomId } from "@matrix-org/matrix-sdk-crypto-wasm";
import * as api from "./api.ts";

const KEY = "chat.hromada.site";
const NAMES = ["m.cross_signing.master", "m.cross_signing.self_signing", "m.cross_signing.user_signing", "m.megolm_backup.v1"] as const;
const BACKUP = "m.megolm_backup.v1.curve25519-aes-sha2";
const LEAST = 16;
/** Batches of keys in a row; the rest goes with the next. */
const MOST_BATCHES = 20;

interface Sealed {
    iv: string;
    ciphertext: string;
    mac: string;
}
interface Session {
    session_data: { ephemeral: string; mac: string; ciphertext: string };
}
interface Version {
    version: string;
    algorithm: string;
    auth_data: { public_key?: string };
}

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const base64 = (data: ArrayBuffer | Uint8Array): string => btoa(String.fromCharCode(...new Uint8Array(data))).replace(/=+$/, "");
const unbase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

async function stretch(key: BufferSource, salt: BufferSource, info: string, bits: number): Promise<ArrayBuffer> {
    const from = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
    return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info: bytes(info) }, from, bits);
}

/** The two keys of one secret's place.  spec: client-server-api#msecret_storagev1aes-hmac-sha2 */
async function keysOf(key: BufferSource, name: string): Promise<[aes: CryptoKey, mac: CryptoKey]> {
    const both = await stretch(key, new Uint8Array(32), name, 512);
    return Promise.all([
        crypto.subtle.importKey("raw", both.slice(0, 32), "AES-CTR", false, ["encrypt", "decrypt"]),
        crypto.subtle.importKey("raw", both.slice(32), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]),
    ]);
}

async function seal(key: BufferSource, name: string, data: BufferSource): Promise<Sealed> {
    const [aes, hmac] = await keysOf(key, name);
    const iv = crypto.getRandomValues(new Uint8Array(16));
    iv[8]! &= 0x7f;
    const ciphertext = await crypto.subtle.encrypt({ name: "AES-CTR", counter: iv, length: 64 }, aes, data);
    return { iv: base64(iv), ciphertext: base64(ciphertext), mac: base64(await crypto.subtle.sign("HMAC", hmac, ciphertext)) };
}

/** Throws if it was sealed with another key, or changed. */
async function unseal(key: BufferSource, name: string, { iv, ciphertext, mac }: Sealed): Promise<string> {
    const [aes, hmac] = await keysOf(key, name);
    const data = unbase64(ciphertext);
    if (!(await crypto.subtle.verify("HMAC", hmac, unbase64(mac), data))) throw new Error("another key");
    return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-CTR", counter: unbase64(iv), length: 64 }, aes, data));
}

const address = (me: string, type: string): string => `/user/${encodeURIComponent(me)}/account_data/${encodeURIComponent(type)}`;
const missing = (error: unknown): null => {
    if (error instanceof api.Refused && error.status === 404) return null;
    throw error;
};
const version = async (): Promise<Version | null> => (await api.call("GET", "/room_keys/version").catch(missing)) as Version | null;

/** What one device puts there and takes from there. */
export class Secrets {
    /** The version that keys are backed up to. */
    #version = "";

    private constructor(
        readonly machine: OlmMachine,
        readonly me: string,
        readonly key: ArrayBuffer,
    ) {}

    /** Nothing without a secret worth the name, or where the browser has no cryptography (pages without TLS). */
    static async with(secret: string, machine: OlmMachine, me: string): Promise<Secrets | null> {
        const subtle = crypto.subtle as SubtleCrypto | undefined;
        if (secret.length < LEAST || !subtle) return null;
        return new Secrets(machine, me, await stretch(bytes(secret), bytes(me), "hromada.site.secret", 256));
    }

    async #read(): Promise<string[] | null> {
        const found = await Promise.all(NAMES.map((name) => api.call("GET", address(this.me, name)).catch(missing)));
        try {
            return await Promise.all(
                found.map((content, at) => {
                    const sealed = (content?.encrypted as Record<string, Sealed> | undefined)?.[KEY];
                    if (!sealed) throw new Error("not there");
                    return unseal(this.key, NAMES[at] ?? "", sealed);
                }),
            );
        } catch {
            return null; // there is none, or the site has another secret now
        }
    }

    /** Take the identity that another browser has laid down. False if there is none that this secret opens. */
    async take(): Promise<boolean> {
        const kept = await this.#read();
        if (!kept) return false;
        const [master, self, user, backup] = kept as [string, string, string, string];
        const status = await this.machine.importCrossSigningKeys(master, self, user);
        if (!status.hasMaster || !status.hasSelfSigning) return false;
        await this.#use(backup);
        await this.fetch().catch(() => undefined); // what was said before can wait, what is said now cannot
        return true;
    }

    /** Lay down the identity of this device, unless it lies there already. Does nothing once keys are backed up. */
    async give(): Promise<void> {
        if (this.#version) return;
        const [keys, kept] = [await this.machine.exportCrossSigningKeys(), await this.#read()];
        if (!keys?.masterKey || !keys.self_signing_key || !keys.userSigningKey) return;
        if (kept?.[0] === keys.masterKey && kept[3] && (await this.#use(kept[3]))) return;
        const backup = BackupDecryptionKey.createRandomKey();
        const proof = await seal(this.key, "", new Uint8Array(32));
        const about = { algorithm: "m.secret_storage.v1.aes-hmac-sha2", iv: proof.iv, mac: proof.mac };
        await api.call("PUT", address(this.me, `m.secret_storage.key.${KEY}`), about);
        const values = [keys.masterKey, keys.self_signing_key, keys.userSigningKey, backup.toBase64()];
        for (const [at, name] of NAMES.entries()) {
            await api.call("PUT", address(this.me, name), { encrypted: { [KEY]: await seal(this.key, name, bytes(values[at] ?? "")) } });
        }
        await api.call("PUT", address(this.me, "m.secret_storage.default_key"), { key: KEY });
        const auth = { public_key: backup.megolmV1PublicKey.publicKeyBase64 };
        const signatures = JSON.parse((await this.machine.sign(JSON.stringify(auth))).asJSON()) as unknown;
        await api.call("POST", "/room_keys/version", { algorithm: BACKUP, auth_data: { ...auth, signatures } });
        await this.#use(backup.toBase64());
    }

    /** Back up to the server's version, if it is that of this key. */
    async #use(secret: string): Promise<boolean> {
        const [key, there] = [BackupDecryptionKey.fromBase64(secret), await version()];
        const ours = key.megolmV1PublicKey.publicKeyBase64;
        if (there?.auth_data.public_key !== ours) return false;
        await this.machine.saveBackupDecryptionKey(key, there.version);
        await this.machine.enableBackupV1(ours, there.version);
        this.#version = there.version;
        return true;
    }

    /** Keys that other browsers have backed up: how many of them are new here. */
    async fetch(): Promise<number> {
        const key = (await this.machine.getBackupKeys()).decryptionKey;
        if (!this.#version || !key) return 0;
        const answer = await api.call("GET", `/room_keys/keys?version=${encodeURIComponent(this.#version)}`);
        const rooms = new Map<RoomId, Map<string, unknown>>();
        for (const [room, { sessions }] of Object.entries(answer.rooms as Record<string, { sessions: Record<string, Session> }>)) {
            const opened = new Map<string, unknown>();
            for (const [id, { session_data: data }] of Object.entries(sessions)) {
                try {
                    opened.set(id, JSON.parse(key.decryptV1(data.ephemeral, data.mac, data.ciphertext)));
                } catch {
                    // Somebody has put there what the key does not open.
                }
            }
            rooms.set(new RoomId(room), opened);
        }
        const result = await this.machine.importBackedUpRoomKeys(rooms, () => undefined, this.#version);
        return result.importedCount;
    }

    /** Back up what is new here. */
    async save(): Promise<void> {
        for (let batch = 0; this.#version && batch < MOST_BATCHES; batch++) {
            const request = await this.machine.backupRoomKeys();
            if (!request) return;
            try {
                const answer = await api.call("PUT", `/room_keys/keys?version=${encodeURIComponent(request.version)}`, JSON.parse(request.body));
                await this.machine.markRequestAsSent(request.id, RequestType.KeysBackup, JSON.stringify(answer));
            } catch (error) {
                // Another browser has begun a new backup: this one goes on without until it is opened again.
                if (error instanceof api.Refused && error.code === "M_WRONG_ROOM_KEYS_VERSION") this.#version = "";
                return;
            }
        }
    }
}
