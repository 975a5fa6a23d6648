// Encrypted conversations: this browser's device, kept in IndexedDB. Loaded, with its wasm, only where a room is encrypted.
//
// The device is signed by cross-signing keys that it makes itself: others neither send keys to devices without such a
// signature, nor show what they say (spec: client-server-api#recommended-client-behaviour).

import {
    Attachment,
    CollectStrategy,
    DecryptionSettings,
    DeviceId,
    DeviceLists,
    EncryptedAttachment,
    EncryptionSettings,
    initAsync,
    OlmMachine,
    RequestType,
    RoomId,
    TrustRequirement,
    UserId,
} from "@matrix-org/matrix-sdk-crypto-wasm";
import wasm from "hromada:crypto.wasm";
import * as api from "./api.ts";
import { given } from "./given.ts";
import { Secrets } from "./secrets.ts";
import type { RoomEvent } from "./timeline.ts";
import type { Sealed } from "./files.ts";

const YIELD_MS = 4_000;
const SETTLE_MS = 150;
/** Between two looks into the backup for what could not be read. */
const FETCH_MS = 30_000;
const PREFIX = `hromada:${given.site}:`;

/** What a sync says to the device. */
export interface DeviceUpdate {
    to_device?: { events: unknown[] };
    device_lists?: { changed?: string[]; left?: string[] };
    device_one_time_keys_count?: Record<string, number>;
    device_unused_fallback_key_types?: string[];
}
interface Request {
    id?: string | undefined;
    type: RequestType;
    body: string;
    event_type?: string;
    txn_id?: string;
}

/** The server knows keys of this device that this browser has no more. */
export class KeysLost extends Error {}
/** Another browser of the same user has the keys that sign devices (docs/adr/0014). */
export class Apart extends Error {}

const trusting = (): DecryptionSettings => new DecryptionSettings(TrustRequirement.CrossSignedOrLegacy);
const users = (ids: Iterable<string>): UserId[] => [...ids].map((id) => new UserId(id));

/** Whether IndexedDB serves here; in memory the device lives as long as the page. */
async function lasts(): Promise<boolean> {
    return new Promise((done) => {
        try {
            const request = indexedDB.open(`${PREFIX}probe`);
            request.onsuccess = () => {
                request.result.close();
                done(true);
            };
            request.onerror = request.onblocked = () => done(false);
        } catch {
            done(false);
        }
    });
}

/** Be the only tab that has this device: who had it lets go, and is robbed if it does not answer. */
async function seize(name: string, lost: () => void): Promise<() => void> {
    const channel = new BroadcastChannel(name);
    let release: () => void = () => undefined;
    let mine = false;
    const gone = (): void => {
        if (!mine) return;
        mine = false;
        channel.close();
        lost();
        release();
    };
    channel.postMessage("yield");
    await new Promise<void>((held) => {
        const hold = (): Promise<void> =>
            new Promise((done) => {
                release = done;
                held();
            });
        // There are none on pages that are no secure context, and where storage is denied they refuse.
        const without = (): unknown => setTimeout(held, SETTLE_MS);
        const locks = navigator.locks as LockManager | undefined;
        if (!locks) return void without();
        const patience = new AbortController();
        const timer = setTimeout(() => patience.abort(), YIELD_MS);
        locks
            .request(name, { signal: patience.signal }, () => {
                clearTimeout(timer);
                return hold();
            })
            .catch((error: unknown) => (mine ? gone() : (error as Error).name === "AbortError" ? locks.request(name, { steal: true }, hold).catch(gone) : without()));
    });
    mine = true;
    channel.onmessage = gone;
    return () => {
        if (!mine) return;
        mine = false;
        channel.close();
        release();
    };
}

/** Forget the keys of devices that this browser was, but for one of them. */
export async function forget(but = ""): Promise<void> {
    const known = await indexedDB.databases().catch(() => []);
    for (const { name } of known) {
        if (name?.startsWith(PREFIX) && (!but || !name.startsWith(PREFIX + but))) indexedDB.deleteDatabase(name);
    }
}

export class Device {
    /** Something that could not be read may be readable now. */
    onkeys: () => void = () => undefined;
    #machine: OlmMachine;
    #release: () => void;
    #me: string;
    #last: Promise<unknown> = Promise.resolve();
    #closed = false;
    #apart: (() => void) | null = null;
    #secrets: Secrets | null = null;
    #unread = false;
    #fetched = 0;
    /** What was said before can be read here, though this device is new. */
    restored = false;

    private constructor(machine: OlmMachine, me: string, release: () => void) {
        this.#machine = machine;
        this.#me = me;
        this.#release = release;
        void machine.registerRoomKeyUpdatedCallback(() => Promise.resolve(this.onkeys()));
    }

    /**
     * Take the session's device up. `lost` is called when another tab takes it, or (`apart`) another browser has taken
     * the place of this one. `move`: take the place of another browser. `secret`: what the site gives its user, by which
     * all their browsers share one identity and read everything. Throws KeysLost, Apart.
     */
    static async open(session: api.Session, lost: (apart?: boolean) => void, move: boolean, secret: string): Promise<Device> {
        await initAsync(new URL(wasm, location.origin));
        const name = PREFIX + session.device_id;
        let device: Device | undefined;
        const release = await seize(name, () => {
            device?.close();
            lost();
        });
        try {
            const [me, id] = [session.user_id, session.device_id];
            const machine = await OlmMachine.initialize(new UserId(me), new DeviceId(id), (await lasts()) ? name : undefined);
            device = new Device(machine, me, release);
            // Only users whom the site knows have several browsers.
            if (session.verified) {
                device.#apart = () => (device?.close(), lost(true));
                device.#secrets = await Secrets.with(secret, machine, me);
            }
            await device.#settle(id, move);
            await device.#secrets?.give().catch(() => undefined); // tried again when the chat is opened the next time
            void forget(id);
            return device;
        } catch (error) {
            device?.close();
            release();
            throw error;
        }
    }

    /** Publish the device's keys and sign it. */
    async #settle(id: string, move: boolean): Promise<void> {
        const machine = this.#machine;
        const known = await api.call("POST", "/keys/query", { device_keys: { [this.#me]: [id] } });
        const devices = known.device_keys as Record<string, Record<string, { keys: Record<string, string> }>> | undefined;
        const published = devices?.[this.#me]?.[id]?.keys[`ed25519:${id}`];
        if (published !== undefined && published !== machine.identityKeys.ed25519.toBase64()) throw new KeysLost();
        await machine.updateTrackedUsers(users([this.#me]));
        await machine.markAllTrackedUsersAsDirty(); // what changed while the page was away was told to nobody
        await this.#flush();
        const { hasMaster, hasSelfSigning } = await machine.crossSigningStatus();
        if ((hasMaster && hasSelfSigning) || (await this.#adopt(id))) return;
        // To make new ones would take the signature from the browser that has them: that is for the visitor to say.
        if (this.#apart && !move && (known.master_keys as Record<string, unknown> | undefined)?.[this.#me]) throw new Apart();
        const made = await machine.bootstrapCrossSigning(true);
        if (made.uploadKeysRequest) await this.#send(made.uploadKeysRequest as Request);
        await api.call("POST", "/keys/device_signing/upload", JSON.parse(made.uploadSigningKeysRequest.body));
        await this.#send(made.uploadSignaturesRequest);
        // The keys that go with what this device sends are the signed ones only once they have been read back.
        await machine.markAllTrackedUsersAsDirty();
        await this.#flush();
    }

    /** Be signed by the identity that another browser of this user has laid down. */
    async #adopt(id: string): Promise<boolean> {
        if (!(await this.#secrets?.take())) return false;
        const own = await this.#machine.getDevice(new UserId(this.#me), new DeviceId(id));
        if (!own) return false;
        const request = await own.verify();
        own.free(); // it holds the key store open
        await this.#send(request);
        await this.#machine.markAllTrackedUsersAsDirty();
        await this.#flush();
        return (this.restored = true);
    }

    /** The site has said its user's secret after the device was taken up. */
    share(secret: string): Promise<void> {
        return this.#alone(async () => {
            this.#secrets ??= this.#apart && (await Secrets.with(secret, this.#machine, this.#me));
            await this.#secrets?.give();
        });
    }

    close(): void {
        if (this.#closed) return;
        this.#closed = true;
        // What is being done comes to its end first.
        void this.#last.finally(() => {
            this.#machine.close();
            this.#release();
        });
    }

    /** One after the other: two shares of a key at once would make two of it. */
    #alone<T>(work: () => Promise<T>): Promise<T> {
        const next = this.#last.then(() => {
            if (this.#closed) throw new Error("closed");
            return work();
        });
        this.#last = next.catch(() => undefined);
        return next;
    }

    async #send(request: Request): Promise<void> {
        const body: unknown = JSON.parse(request.body);
        const posts: Partial<Record<RequestType, string>> = {
            [RequestType.KeysUpload]: "/keys/upload",
            [RequestType.KeysQuery]: "/keys/query",
            [RequestType.KeysClaim]: "/keys/claim",
            [RequestType.SignatureUpload]: "/keys/signatures/upload",
        };
        const post = posts[request.type];
        let answer: unknown;
        if (post) answer = await api.call("POST", post, body);
        else if (request.type === RequestType.ToDevice) {
            answer = await api.call("PUT", `/sendToDevice/${encodeURIComponent(request.event_type ?? "")}/${encodeURIComponent(request.txn_id ?? "")}`, body);
        } else return;
        if (request.id) await this.#machine.markRequestAsSent(request.id, request.type, JSON.stringify(answer));
    }
    async #flush(): Promise<void> {
        for (const request of (await this.#machine.outgoingRequests()) as Request[]) await this.#send(request);
    }

    /** Take in what a sync says to this device. What it asks for in return is sent afterwards. */
    take(update: DeviceUpdate): Promise<void> {
        return this.#alone(async () => {
            const lists = new DeviceLists(users(update.device_lists?.changed ?? []), users(update.device_lists?.left ?? []));
            const counts = new Map(Object.entries(update.device_one_time_keys_count ?? {}));
            const fallback = update.device_unused_fallback_key_types;
            const events = JSON.stringify(update.to_device?.events ?? []);
            await this.#machine.receiveSyncChanges(events, lists, counts, fallback && new Set(fallback), trusting());
            await this.#flush().catch(() => undefined); // asked for again with the next one
            // New keys of this user are known here: the machine has forgotten the old ones.
            if (this.#apart && !(await this.#machine.crossSigningStatus()).hasSelfSigning && !(await this.#adopt(this.#machine.deviceId.toString()))) this.#apart();
            await this.#secrets?.save();
            await this.#again();
        });
    }

    /** Look into the backup for what could not be read. */
    async #again(): Promise<void> {
        if (!this.#secrets || !this.#unread || Date.now() - this.#fetched < FETCH_MS) return;
        [this.#unread, this.#fetched] = [false, Date.now()];
        if (await this.#secrets.fetch().catch(() => 0)) this.onkeys();
    }

    /** A message for a room, readable by who is in it and by `others` (staff that may come into it). */
    encrypt(room: string, content: Record<string, unknown>, readers: Iterable<string>): Promise<Record<string, unknown>> {
        return this.#alone(async () => {
            const ids = new Set([this.#me, ...readers]);
            const machine = this.#machine;
            await machine.updateTrackedUsers(users(ids));
            await this.#flush();
            const claim = await machine.getMissingSessions(users(ids));
            if (claim) await this.#send(claim);
            const settings = new EncryptionSettings();
            settings.sharingStrategy = CollectStrategy.identityBasedStrategy();
            for (const share of await machine.shareRoomKey(new RoomId(room), users(ids), settings)) await this.#send(share);
            const sealed = JSON.parse(await machine.encryptRoomEvent(new RoomId(room), "m.room.message", JSON.stringify(content))) as Record<string, unknown>;
            void this.#alone(async () => this.#secrets?.save()).catch(() => undefined);
            const relation = content["m.relates_to"];
            return relation ? { ...sealed, "m.relates_to": relation } : sealed;
        });
    }

    /** Make an event what it says; it stays as it is if it cannot be read (yet). */
    async read(event: RoomEvent, room: string): Promise<void> {
        if (event.type !== "m.room.encrypted" || this.#closed) return;
        try {
            const clear = await this.#machine.decryptRoomEvent(JSON.stringify(event), new RoomId(room), trusting());
            const { type, content } = JSON.parse(clear.event) as Pick<RoomEvent, "type" | "content">;
            const relation = event.content["m.relates_to"];
            event.type = type;
            event.content = relation ? { ...content, "m.relates_to": relation } : content;
        } catch {
            if (this.#unread) return; // its key may come
            this.#unread = true;
            void this.#alone(() => this.#again()).catch(() => undefined);
        }
    }

    seal(bytes: Uint8Array): { bytes: Uint8Array; info: Record<string, unknown> } {
        const sealed = Attachment.encrypt(bytes);
        const data = sealed.encryptedData;
        return { bytes: data, info: JSON.parse(sealed.mediaEncryptionInfo ?? "{}") as Record<string, unknown> };
    }
    /** Throws if a byte of it is not what was sent. */
    unseal(bytes: Uint8Array, info: Sealed): Uint8Array {
        return Attachment.decrypt(new EncryptedAttachment(bytes, JSON.stringify(info)));
    }
}
