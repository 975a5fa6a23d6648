// One tab has the session: its socket, its keys, its outbox. The others follow it (ADR 0017), or, where they cannot, wait.
// The browser frees the lock when a tab dies, so nothing sticks.

const STEAL_AFTER_MS = 3_000;

export interface Leader {
    /** Whether this tab got the lock. */
    first: boolean;
    channel: BroadcastChannel | undefined;
    /** Ask the tab that has it to stop, and take over. */
    take: () => Promise<void>;
    /** Have it as soon as it is free. */
    wait: () => Promise<unknown>;
    release: () => void;
}

/** `stop` is called when another tab takes over; what it promises is waited for. All else that tabs say is `hear`'s. */
export async function beLeader(user: string, stop: () => Promise<void>, hear: (channel: BroadcastChannel, word: { op: string }) => void): Promise<Leader> {
    const name = `hromada:${user}`;
    const locks = (navigator as { locks?: LockManager }).locks;
    if (!locks) return { first: true, channel: undefined, take: () => Promise.resolve(), wait: () => Promise.resolve(), release: () => undefined };
    const channel = new BroadcastChannel(name);
    let release = (): void => undefined;
    const hold = (options: LockOptions): Promise<boolean> =>
        new Promise((got) => {
            locks
                .request(name, options, (lock) => {
                    if (lock) lead();
                    got(lock !== null);
                    return lock ? new Promise<void>((done) => (release = done)) : undefined;
                })
                .catch(() => void stop()); // stolen
        });
    const lead = (): void => {
        channel.onmessage = ({ data }: MessageEvent<{ op: string }>) => {
            if (data.op !== "take") return hear(channel, data);
            channel.onmessage = null;
            void stop().finally(() => release());
        };
    };
    const first = await hold({ ifAvailable: true });
    const take = async (): Promise<void> => {
        channel.postMessage({ op: "take" });
        const patient = AbortSignal.timeout(STEAL_AFTER_MS);
        const waited = locks.request(name, { signal: patient }, () => undefined).then(() => true, () => false);
        if (!(await waited)) await locks.request(name, { steal: true }, () => undefined);
        channel.close();
    };
    return { first, channel, take, wait: () => hold({}), release: () => release() };
}
