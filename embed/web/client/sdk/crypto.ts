// Encryption by matrix-js-sdk's machine: when it starts, what it needs, what it tells. Everything here is loaded late.

import { MatrixEvent } from "matrix-js-sdk/lib/models/event.js";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";
import { type CryptoApi, type GeneratedSecretStorageKey, OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/recovery-key.js";
import { VerificationPhase, type VerificationRequest, VerificationRequestEvent, type Verifier, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";
import { initAsync, OlmMachine } from "@matrix-org/matrix-sdk-crypto-wasm";
import wasm from "hromada:crypto.wasm";
import { Emitter } from "./emitter.ts";
import type { Engine } from "./engine.ts";
import { CHANGED, isMissing, orNothing } from "./failure.ts";
import type { Encrypt } from "./outbox.ts";
import { askForSecrets } from "./secrets.ts";
import { storeKey } from "./storekey.ts";

export interface Check {
    /** With one's own device, or with somebody. */
    own: boolean;
    user: string;
    device: string | undefined;
    /** Where a person was asked. */
    room: string | undefined;
    incoming: boolean;
    phase: "asked" | "waiting" | "choose" | "scanned" | "emoji" | "confirming" | "done" | "cancelled" | "differ" | "nobody";
    emoji: readonly (readonly [string, string])[];
    /** What the other device may scan from this screen. */
    code: Uint8ClampedArray | undefined;
    /** This device has a camera, and the other one has a code to show. */
    scan: boolean;
}
/** Somebody's identity is another one than the one known so far; or than the one that was confirmed. */
export type Changed = "changed" | "confirmed-changed";
export interface Restore {
    done: number;
    total: number;
}

interface EncryptingBackend extends CryptoApi {
    /** On the SDK's internal type, public on its only implementation: kept behind `encrypt`. */
    encryptEvent(event: MatrixEvent, room: unknown): Promise<void>;
    setSupportedVerificationMethods(methods: string[]): void;
}

/** How slow it is to try passwords on an exported file. */
const EXPORT_ROUNDS = 200_000;
const NOBODY_MS = 120_000;
/** A person reads it when they come by. */
const NOBODY_CAME_MS = 600_000;
/** In larger rooms people are looked at when their identities change, or when encrypting for them fails. */
const MOST_LOOKED_AT = 500;
const RETRY_MS = 300, LONGEST_RETRY_MS = 60_000;
const SAS = "m.sas.v1", SHOW = "m.qr_code.show.v1", SCAN = "m.qr_code.scan.v1", RECIPROCATE = "m.reciprocate.v1";

/** How this browser can confirm: a code is scanned only where there is a camera. */
async function methods(): Promise<string[]> {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []);
    return [SAS, SHOW, RECIPROCATE, ...(devices?.some(({ kind }) => kind === "videoinput") ? [SCAN] : [])];
}

export class Crypto extends Emitter<{ change: undefined; identities: ReadonlyMap<string, Changed | undefined>; check: Check | undefined; restore: Restore | undefined }> {
    #fresh: GeneratedSecretStorageKey | undefined;
    #backing: Promise<void> | undefined;
    #check: Check | undefined;
    #beginning: Promise<void> | undefined;
    #hasKeys = false;
    #request: VerificationRequest | undefined;
    #verifier: Verifier | undefined;
    #confirm: { yes: () => Promise<void> | void; no: () => void } | undefined;
    #offered: VerificationRequest | undefined;
    #methods: readonly string[] = [SAS];
    #timer: ReturnType<typeof setTimeout> | undefined;

    private constructor(
        readonly engine: Engine,
        readonly api: CryptoApi,
    ) {
        super();
        const { client } = engine;
        for (const event of [CryptoEvent.KeysChanged, CryptoEvent.UserTrustStatusChanged, CryptoEvent.DevicesUpdated, CryptoEvent.KeyBackupStatus] as const) {
            client.on(event as CryptoEvent.KeysChanged, () => {
                this.emit("change", undefined);
                this.#retrySoon();
            });
        }
        client.on(CryptoEvent.UserTrustStatusChanged, (user) => void this.lookAt([user]));
        engine.on("status", (status) => {
            if (status === "streaming") this.#retrySoon();
        });
        engine.on("answered", () => this.emit("change", undefined));
        client.on(CryptoEvent.VerificationRequestReceived, (request) => {
            // One that has ended does not stand in the way, whether its page is still open or not.
            if (!this.#request || this.#request.phase >= VerificationPhase.Cancelled) this.#follow(request, true);
        });
    }

    /** Load the machine and open its store. Throws if this browser cannot. */
    static async start(engine: Engine): Promise<Crypto> {
        await initAsync(new URL(wasm, location.origin));
        const cryptoDatabasePrefix = `hromada-crypto:${engine.userId}`;
        const storageKey = await storeKey(engine.userId, cryptoDatabasePrefix);
        await engine.client.initRustCrypto({ cryptoDatabasePrefix, ...(storageKey && { storageKey }) });
        const api = engine.client.getCrypto();
        if (!api) throw new Error("no crypto");
        api.setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
        const machine = new Crypto(engine, api);
        const can = await methods();
        machine.#methods = can;
        (api as EncryptingBackend).setSupportedVerificationMethods(can);
        return machine;
    }

    #retry: ReturnType<typeof setTimeout> | undefined;

    /** Messages whose sender was not known when they came may open once devices and identities are. */
    #retrySoon(after = RETRY_MS): void {
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => {
            let closed = false;
            for (const room of this.engine.client.getRooms()) {
                if (!room.hasEncryptionStateEvent()) continue;
                const threads = room.getThreads().flatMap((thread) => thread.timeline);
                for (const event of [...room.getLiveTimeline().getEvents(), ...threads]) {
                    if (!event.isDecryptionFailure()) continue;
                    closed = true;
                    void event.attemptDecryption(this.api as EncryptingBackend & Parameters<MatrixEvent["attemptDecryption"]>[0], { isRetry: true }).catch(() => undefined);
                }
            }
            // Another device of one's own may not have put the key into the backup yet.
            if (closed && after < LONGEST_RETRY_MS) this.#retrySoon(after * 3);
        }, after);
    }

    encrypt: Encrypt = async (roomId, type, content) => {
        // Nothing is encrypted by a device that is not signed: the account's first one signs itself when it begins.
        if (!this.#hasKeys && (await this.confirmed()) === undefined) await this.begin();
        const room = this.engine.room(roomId);
        if (!room) throw new Error("no room");
        await room.loadMembersIfNeeded();
        const relation = content["m.relates_to"];
        const event = new MatrixEvent({ type, content: { ...content }, room_id: roomId, sender: this.engine.userId });
        await (this.api as EncryptingBackend).encryptEvent(event, room).catch(async (error: unknown) => {
            const people = await room.getEncryptionTargetMembers().catch(() => []);
            const found = await this.lookAt(people.map(({ userId }) => userId));
            throw [...found.values()].includes("confirmed-changed") ? Object.assign(new Error(), { errcode: CHANGED }) : error;
        });
        const wire = event.getWireContent() as Record<string, unknown>;
        return { type: event.getWireType(), content: relation && !wire["m.relates_to"] ? { ...wire, "m.relates_to": relation } : wire };
    };

    /** Whether this device is signed by its user; undefined if the user has no keys for that yet. */
    async confirmed(): Promise<boolean | undefined> {
        if (!(await this.api.userHasCrossSigningKeys(undefined, true)) || this.#beginning) return undefined;
        this.#hasKeys = true;
        const status = await this.api.getDeviceVerificationStatus(this.engine.userId, this.engine.session.deviceId);
        return status?.crossSigningVerified ?? false;
    }

    /** The user's first device: keys of the account are made and signed, with no question asked. */
    begin(): Promise<void> {
        return (this.#beginning ??= this.api.bootstrapCrossSigning({ authUploadDeviceSigningKeys: async (send) => void (await send(null)) })
            .finally(() => (this.#beginning = undefined))
            .then(() => this.emit("change", undefined)));
    }

    async hasRecovery(): Promise<boolean> {
        return (await this.engine.client.secretStorage.getDefaultKeyId()) !== null;
    }

    /** Whether there is a recovery key by what the server says. Before it has answered, the store may be of before there was one. */
    async #recovers(): Promise<boolean> {
        await this.#backs(); // throws where there is no connection
        await this.#current();
        return this.hasRecovery();
    }

    #current(): Promise<void> {
        const { engine } = this;
        return new Promise((done) => {
            if (engine.answered) done();
            else engine.on("answered", done);
        });
    }

    /** A recovery key that nothing depends on until it is kept. */
    async newRecoveryKey(): Promise<string> {
        this.#fresh = await this.api.createRecoveryKeyFromPassphrase();
        return this.#fresh.encodedPrivateKey ?? "";
    }

    /** The user has saved the new recovery key: from now on the account's secrets lie under it. */
    async keepRecoveryKey(): Promise<void> {
        const key = this.#fresh;
        if (!key) throw new Error("no new key");
        await this.#backing?.catch(() => undefined);
        this.engine.secretKey = key.privateKey;
        // A backup whose key is not on this device could not be opened by the new recovery key.
        const ours = (await this.backupVersion()) !== null && (await this.api.getSessionBackupPrivateKey()) !== null;
        await this.api.bootstrapSecretStorage({ createSecretStorageKey: () => Promise.resolve(key), setupNewSecretStorage: true, setupNewKeyBackup: !ours && (await this.#backs()) });
        this.#fresh = undefined;
        this.emit("change", undefined);
    }

    /** Keys of messages go to the server, encrypted; the key to them stays here until there is a recovery key to put it under. */
    backUp(): Promise<void> {
        return (this.#backing ??= this.#backUp());
    }

    /**
     * Whether the user wants keys to be backed up, here and elsewhere. The server is asked: what is on disk here may be
     * of before the choice. spec: client-server-api#key-backup-enabled-preference
     */
    async #backs(): Promise<boolean> {
        const kept = await this.engine.client.http.authedRequest<{ enabled?: unknown }>("GET" as never, this.#preference).catch(orNothing);
        return kept?.enabled !== false;
    }
    get #preference(): string {
        return `/user/${encodeURIComponent(this.engine.userId)}/account_data/m.key_backup`;
    }

    /** How many keys the backup holds; null if there is none. */
    async backedUp(): Promise<number | null> {
        if ((await this.backupVersion()) === null) return null;
        return (await this.engine.client.http.authedRequest<{ count: number }>("GET" as never, "/room_keys/version")).count;
    }

    /** Begin the backup anew, or delete it. False if the recovery key, under which the backup's key lies, is needed for that. */
    async setBackup(on: boolean, recoveryKey?: string): Promise<boolean> {
        if (on && !this.engine.secretKey && (await this.#recovers()) && !(recoveryKey && (await this.#typed(recoveryKey)))) return false;
        await this.#backing?.catch(() => undefined);
        await this.engine.client.http.authedRequest("PUT" as never, this.#preference, undefined, { enabled: on });
        if (!on) await this.#deleteBackup();
        else if ((await this.api.checkKeyBackupAndEnable()) === null) await this.api.resetKeyBackup();
        this.emit("change", undefined);
        return true;
    }

    async #deleteBackup(): Promise<void> {
        const version = await this.backupVersion();
        if (version !== null) await this.api.deleteKeyBackupVersion(version);
    }

    async #backUp(): Promise<void> {
        if (!(await this.#backs())) return;
        if ((await this.api.checkKeyBackupAndEnable()) !== null || (await this.#recovers())) return;
        // Only if the server says so: where there is a backup, beginning anew deletes it.
        const none = await this.engine.client.http.authedRequest("GET" as never, "/room_keys/version").then(() => false, isMissing);
        if (none) await this.api.resetKeyBackup();
    }

    /** Take the recovery key, which the user has typed. False if it is another one. */
    async #typed(text: string): Promise<boolean> {
        const { secretStorage } = this.engine.client;
        const key = decodeRecoveryKey(text);
        await this.#current();
        const found = await secretStorage.getKey();
        if (!found) throw new Error("no secret storage");
        if (!(await secretStorage.checkKey(key, found[1]))) return false;
        this.engine.secretKey = key;
        return true;
    }

    /** Open what the recovery key opens: this device is signed, and old messages come. False if the key is another one. */
    async unlock(text: string): Promise<boolean> {
        if (!(await this.#typed(text))) return false;
        await this.api.bootstrapCrossSigning({});
        this.emit("change", undefined);
        void this.restore();
        return true;
    }

    /** Older messages open once another device of the user has given the key to the backup. */
    async openPast(): Promise<void> {
        if (!(await this.restore()) && (await askForSecrets(this.api))) await this.restore();
    }

    /** Fetch the keys of old messages from the backup; goes on in the background. False if that could not be. */
    async restore(): Promise<boolean> {
        let done = false;
        try {
            if (!(await this.api.getSessionBackupPrivateKey())) await this.api.loadSessionBackupPrivateKeyFromSecretStorage();
            await this.api.checkKeyBackupAndEnable();
            await this.api.restoreKeyBackup({
                progressCallback: (progress) => {
                    const { successes, total } = progress as { successes?: number; total?: number };
                    if (total) this.emit("restore", { done: successes ?? 0, total });
                },
            });
            done = true;
        } catch {
            // no backup, or it is another one's: what can be read is read
        }
        this.emit("restore", undefined);
        this.emit("change", undefined);
        return done;
    }

    /** Everything anew: older encrypted messages stay closed. */
    async reset(password: string | undefined): Promise<void> {
        await this.api.resetEncryption(async (send) => {
            try {
                await send(null);
            } catch (error) {
                const session = (error as { data?: { session?: string } }).data?.session;
                if (!session || password === undefined) throw error;
                await send({ type: "m.login.password", identifier: { type: "m.id.user", user: this.engine.userId }, password, session });
            }
        });
        if (!(await this.#backs())) await this.#deleteBackup();
        this.emit("change", undefined);
    }

    fingerprint = async (): Promise<string> => (await this.api.getOwnDeviceKeys()).ed25519;
    backupVersion = (): Promise<string | null> => this.api.getActiveSessionBackupVersion().catch(() => null);
    /** All keys of messages, as a file that clients of Matrix read. spec: client-server-api#key-exports */
    exportKeys = async (password: string): Promise<string> => OlmMachine.encryptExportedRoomKeys(await this.api.exportRoomKeysAsJson(), password, EXPORT_ROUNDS);
    /** Take such a file, or one that is under no password. Throws if the password is another one. */
    importKeys = async (text: string, password?: string): Promise<void> => this.api.importRoomKeysAsJson(password === undefined ? text : OlmMachine.decryptExportedRoomKeys(text, password));

    /** Which of the user's devices are confirmed. */
    async confirmedDevices(fetch = true): Promise<ReadonlySet<string>> {
        const devices = (await this.api.getUserDeviceInfo([this.engine.userId], fetch)).get(this.engine.userId) ?? new Map<string, unknown>();
        const checked = await Promise.all([...devices.keys()].map(async (id) => ((await this.api.getDeviceVerificationStatus(this.engine.userId, id))?.crossSigningVerified ? [id] : [])));
        return new Set(checked.flat());
    }

    /** The user's other devices that nobody has confirmed, as far as they are known here. */
    async strangers(): Promise<string[]> {
        const known = (await this.api.getUserDeviceInfo([this.engine.userId])).get(this.engine.userId);
        const good = await this.confirmedDevices(false);
        return [...(known?.entries() ?? [])].flatMap(([id, device]) => (id === this.engine.session.deviceId || device.dehydrated || good.has(id) ? [] : [id]));
    }

    personVerified = async (user: string): Promise<boolean> => (await this.api.getUserVerificationStatus(user)).isCrossSigningVerified();

    /** Tell of those people who have another identity now, and of those who had one and are settled. */
    async lookAt(users: readonly string[]): Promise<ReadonlyMap<string, Changed | undefined>> {
        const found = new Map(await Promise.all(users.map(async (user) => [user, await this.#changed(user).catch(() => undefined)] as const)));
        this.emit("identities", found);
        return found;
    }

    /** The same for the people of a room, when it is opened. */
    async lookAround(roomId: string): Promise<void> {
        const room = this.engine.room(roomId);
        const known = room?.getMembers().filter(({ membership, userId }) => (membership === "join" || membership === "invite") && userId !== this.engine.userId) ?? [];
        if (known.length <= MOST_LOOKED_AT) await this.lookAt(known.map(({ userId }) => userId));
    }

    async #changed(user: string): Promise<Changed | undefined> {
        if (user === this.engine.userId) return undefined;
        const status = await this.api.getUserVerificationStatus(user);
        if (status.wasCrossSigningVerified() && !status.isCrossSigningVerified()) return "confirmed-changed";
        return status.needsUserApproval ? "changed" : undefined;
    }

    /** From now on the new identity is the one that is known; of who was confirmed before, nothing is asked any more. */
    async accept(user: string): Promise<void> {
        if ((await this.#changed(user)) === "confirmed-changed") await this.api.withdrawVerificationRequirement(user);
        if ((await this.#changed(user)) === "changed") await this.api.pinCurrentUserIdentity(user);
        await this.lookAt([user]);
    }

    // --- comparing emoji, scanning a code ---

    get check(): Check | undefined {
        return this.#check;
    }

    #tell(change: Partial<Check>): void {
        if (!this.#check) return;
        this.#check = { ...this.#check, ...change };
        this.emit("check", this.#check);
    }

    /** Ask one's other devices, one of them, or a person in a direct chat. */
    async ask(with_: { device?: string; user?: string; room?: string }): Promise<void> {
        // The people of a room that nobody has written in are not known yet: preparing to write to them asks for their keys.
        if (with_.room) await this.encrypt(with_.room, "m.dummy", {}).catch(() => undefined);
        const request =
            with_.user && with_.room
                ? await this.api.requestVerificationDM(with_.user, with_.room)
                : with_.device
                  ? await this.api.requestDeviceVerification(this.engine.userId, with_.device)
                  : await this.api.requestOwnUserVerification();
        this.#follow(request, false);
    }

    #follow(request: VerificationRequest, incoming: boolean): void {
        this.#request = request;
        this.#verifier = undefined;
        const user = request.otherUserId;
        this.#check = { own: request.isSelfVerification, user, device: request.otherDeviceId, room: request.roomId, incoming, phase: incoming ? "asked" : "waiting", emoji: [], code: undefined, scan: false };
        this.emit("check", this.#check);
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
            if (this.#check?.phase === "waiting" || this.#check?.phase === "asked") {
                void request.cancel().catch(() => undefined);
                this.#tell({ phase: "nobody" });
            }
        }, request.isSelfVerification ? NOBODY_MS : NOBODY_CAME_MS);
        const change = (): void => {
            if (this.#request !== request) return;
            if (request.phase === VerificationPhase.Cancelled) {
                if (this.#check?.phase !== "differ" && this.#check?.phase !== "nobody") this.#tell({ phase: "cancelled" });
            } else if (request.phase === VerificationPhase.Done) {
                this.#tell({ phase: "done" });
                this.emit("change", undefined);
                if (request.isSelfVerification) this.openPast().catch(console.error);
            } else if (request.phase === VerificationPhase.Ready) {
                void this.#offer(request);
            } else if (request.verifier) {
                this.#verify(request.verifier);
            }
        };
        request.on(VerificationRequestEvent.Change, change);
        change();
    }

    /** Both are there: a code is shown or can be scanned, or emoji are compared at once. */
    async #offer(request: VerificationRequest): Promise<void> {
        if (this.#offered === request) return;
        this.#offered = request;
        const scan = this.#methods.includes(SCAN) && request.otherPartySupportsMethod(SHOW);
        const code = request.otherPartySupportsMethod(SCAN) ? await request.generateQRCode().catch(() => undefined) : undefined;
        if (this.#request !== request || request.phase !== VerificationPhase.Ready) return;
        if (code || scan) this.#tell({ phase: "choose", code, scan });
        else if (request.initiatedByMe) await this.byEmoji();
    }

    /** Compare emoji instead of scanning. */
    async byEmoji(): Promise<void> {
        const request = this.#request;
        if (!request) return;
        this.#tell({ phase: "waiting" });
        await request.startVerification(SAS).then((verifier) => this.#verify(verifier), () => this.#tell({ phase: "cancelled" }));
    }

    /** The other device's code was read. Throws if it is no code of this request; then another can be scanned. */
    async scanned(code: Uint8ClampedArray): Promise<void> {
        const verifier = await this.#request?.scanQRCode(code);
        if (!verifier) return;
        this.#tell({ phase: "confirming" });
        this.#verify(verifier);
    }

    /** The other device says that it has read the code of this screen. */
    #read(verifier: Verifier): void {
        const found = verifier.getReciprocateQrCodeCallbacks();
        if (!found || this.#check?.phase === "confirming") return;
        this.#confirm = { yes: () => found.confirm(), no: () => found.cancel() };
        this.#tell({ phase: "scanned" });
    }

    #verify(verifier: Verifier): void {
        if (this.#verifier === verifier) {
            this.#read(verifier);
            return;
        }
        this.#verifier = verifier;
        verifier.on(VerifierEvent.ShowReciprocateQr, () => this.#read(verifier));
        verifier.on(VerifierEvent.ShowSas, (sas) => {
            this.#confirm = { yes: () => sas.confirm(), no: () => sas.mismatch() };
            this.#tell({ phase: "emoji", emoji: sas.sas.emoji ?? [] });
        });
        verifier.verify().catch(() => undefined);
        this.#read(verifier);
    }

    async acceptCheck(): Promise<void> {
        this.#tell({ phase: "waiting" });
        await this.#request?.accept();
    }

    async answer(match: boolean): Promise<void> {
        if (match) {
            this.#tell({ phase: "confirming" });
            await this.#confirm?.yes();
        } else {
            this.#tell({ phase: "differ" });
            this.#confirm?.no();
        }
    }

    endCheck(): void {
        const request = this.#request;
        this.#request = undefined;
        this.#check = undefined;
        clearTimeout(this.#timer);
        this.emit("check", undefined);
        if (request && request.phase < VerificationPhase.Cancelled) void request.cancel().catch(() => undefined);
    }
}
