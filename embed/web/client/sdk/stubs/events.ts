// Of extensible events the SDK needs their names alone; nobody asks it for one in another form.
class Named {
    constructor(readonly stable: string | null, readonly unstable?: string) {}
    get name(): string { return this.stable ?? this.unstable ?? ""; }
    get altName(): string | null { return (this.stable ? this.unstable : null) ?? null; }
    matches(name: string): boolean { return name === this.name || name === this.altName; }
    findIn(of: Record<string, unknown> | undefined): unknown { return of?.[this.name] || (this.altName ? of?.[this.altName] : undefined); }
    includedIn(list: string[]): boolean { return list.some((each) => this.matches(each)); }
}
class Unstable extends Named {
    override get name(): string { return this.unstable ?? ""; }
    override get altName(): string | null { return this.stable; }
}
export { Named as NamespacedValue, Unstable as UnstableValue };
export const ExtensibleEvents = { parse: (): undefined => undefined }, M_POLL_START = { matches: (): boolean => false };
