// Stores of the crypto library before this one. No device of this client ever had one, so nothing is moved.
const nothing = (): Promise<void> => Promise.resolve();
export { nothing as migrateFromLegacyCrypto, nothing as migrateRoomSettingsFromLegacyCrypto, nothing as migrateLegacyLocalTrustIfNeeded };
class Store {
    containsData(): Promise<boolean> { return Promise.resolve(false); }
    startup(): Promise<this> { return Promise.resolve(this); }
    deleteAllData(): Promise<void> { return Promise.resolve(); }
    static exists(): Promise<boolean> { return Promise.resolve(false); }
}
export { Store as IndexedDBCryptoStore, Store as LocalStorageCryptoStore, Store as MemoryCryptoStore };
