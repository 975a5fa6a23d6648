/** Typed events. */
export class Emitter<Events extends object> {
    #listeners = new Map<keyof Events, Set<(value: never) => void>>();

    /** Listen; the answer stops it. */
    on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void {
        const set = this.#listeners.get(name) ?? new Set();
        this.#listeners.set(name, set.add(listener));
        return () => set.delete(listener);
    }

    protected emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
        for (const listener of [...(this.#listeners.get(name) ?? [])]) (listener as (value: Events[Name]) => void)(value);
    }
}
