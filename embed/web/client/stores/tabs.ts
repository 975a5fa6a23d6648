// One tab works at a time. The browser frees the lock when a tab dies, so nothing sticks.

const STEAL_AFTER_MS = 3_000;

export interface Leader {
    /** Whether this tab got the lock. */
    first: boolean;
    /** Ask the tab that has it to stop, and take over. */
    take: () => Promise<void>;
    release: () => void;
}

/** `stop` is called when another tab takes over; what it promises is waited for. */
export async function beLeader(user: string, stop: () => Promise<void>): Promise<Leader> {
    const name = `hromada:${user}`;
    const locks = (navigator as { locks?: LockManager }).locks;
    if (!locks) return { first: true, take: () => Promise.resolve(), release: () => undefined };
    const channel = new BroadcastChannel(name);
    let release = (): void => undefined;
    const hold = (options: LockOptions): Promise<boolean> =>
        new Promise((got) => {
            locks
                .request(name, options, (lock) => {
                    got(lock !== null);
                    return lock ? new Promise<void>((done) => (release = done)) : undefined;
                })
                .catch(() => void stop()); // stolen
        });
    const first = await hold({ ifAvailable: true });
    if (first) {
        channel.onmessage = ({ data }) => {
            if (data !== "take") return;
            channel.onmessage = null;
            void stop().finally(() => release());
        };
    }
    const take = async (): Promise<void> => {
        channel.postMessage("take");
        const patient = AbortSignal.timeout(STEAL_AFTER_MS);
        const waited = locks.request(name, { signal: patient }, () => undefined).then(() => true, () => false);
        if (!(await waited)) await locks.request(name, { steal: true }, () => undefined);
        channel.close();
    };
    return { first, take, release: () => release() };
}
