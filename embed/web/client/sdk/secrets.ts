// What a device is given by the user's other ones: the keys that sign, and the one that opens the backup.

import type { CryptoApi } from "matrix-js-sdk/lib/crypto-api/index.js";

interface AskingBackend extends CryptoApi {
    /** Private names of the only implementation: the SDK asks by itself, but once. */
    olmMachine: { requestMissingSecretsIfNeeded(): Promise<boolean> };
    outgoingRequestsManager: { doProcessOutgoingRequests(): Promise<void> };
}

const ASK_MS = 2_000, LONGEST_ASK_MS = 60_000;

/**
 * Ask for the key to the backup until it is there, some times; false if it did not come.
 *
 * A device passes over what it is asked by one that it does not know to be confirmed, and when two have just confirmed
 * each other the question may come before that.
 */
export async function askForSecrets(api: CryptoApi, after = ASK_MS): Promise<boolean> {
    await new Promise((done) => setTimeout(done, after));
    if ((await api.getSessionBackupPrivateKey()) !== null) return true;
    if (after > LONGEST_ASK_MS) return false;
    const { olmMachine, outgoingRequestsManager } = api as AskingBackend;
    if (await olmMachine.requestMissingSecretsIfNeeded()) await outgoingRequestsManager.doProcessOutgoingRequests();
    return askForSecrets(api, after * 3);
}
