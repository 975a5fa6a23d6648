// What is being sent: one after the other, each with one transaction id for all its tries, kept over a reload.

import { Refused } from "./api.ts";
import { given } from "./given.ts";

export interface Entry {
    txn: string;
    type: string;
    content: Record<string, unknown>;
    at: number;
    state: "waiting" | "sent" | "failed";
    retryAt?: number;
    error?: string;
    /** What it is made of is not uploaded yet (parcels.ts). */
    parcel?: boolean;
    /** It ends with the page; says so. */
    loose?: string;
}

const MOST = 200;
const AGAIN_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

export class Outbox {
    entries: Entry[] = [];
    ready = false;
    #send: (entry: Entry) => Promise<unknown>;
    #changed: () => void;
    #key: string;
    #busy = false;
    #tries = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(
        name: string,
        send: (entry: Entry) => Promise<unknown>,
        changed: () => void,
        readonly ondrop: (txn: string) => void = () => undefined,
    ) {
        this.#send = send;
        this.#changed = changed;
        this.#key = `${name}:${given.site}`;
        try {
            const kept = JSON.parse(localStorage.getItem(this.#key) ?? "[]") as Entry[];
            this.entries = kept.filter((entry) => entry.state !== "sent" && Date.now() - entry.at < 86_400_000);
        } catch {
            // Storage is denied: what is not sent ends with the page.
        }
        addEventListener("online", () => this.kick());
    }

    add(type: string, content: Record<string, unknown>, parcel = false): Entry | null {
        if (this.entries.length >= MOST) return null;
        const entry: Entry = { txn: `w${crypto.getRandomValues(new Uint32Array(3)).join("")}`, type, content, at: Date.now(), state: "waiting", parcel };
        this.entries.push(entry);
        this.keep();
        this.kick();
        return entry;
    }

    /** Try what failed again. */
    retry(txn: string): void {
        for (const entry of this.entries) if (entry.txn === txn) entry.state = "waiting";
        this.#changed();
        this.kick();
    }
    drop(txn: string): void {
        if (!this.entries.some((entry) => entry.txn === txn)) return;
        this.entries = this.entries.filter((entry) => entry.txn !== txn);
        this.ondrop(txn);
        this.keep();
        this.#changed();
    }
    clear(): void {
        for (const { txn } of this.entries) this.ondrop(txn);
        this.entries = [];
        this.ready = false;
        this.keep();
    }

    /** It has come back from the server: the timeline shows it from here on. */
    echoed(txn: string | undefined): void {
        if (txn) this.drop(txn);
    }

    /** More came than was told of one by one: what was sent is in the gap, and is shown with what is read of that. */
    passed(): void {
        for (const { txn, state } of this.entries) if (state === "sent") this.drop(txn);
    }

    kick(): void {
        clearTimeout(this.#timer);
        if (this.#busy || !this.ready) return;
        // A new message does not shorten the time for which the server asked.
        const wait = (this.entries.find((each) => each.state === "waiting")?.retryAt ?? 0) - Date.now();
        if (wait > 0) this.#timer = setTimeout(() => this.kick(), wait);
        else void this.#work();
    }

    async #work(): Promise<void> {
        this.#busy = true;
        for (let entry; (entry = this.entries.find((each) => each.state === "waiting")); ) {
            try {
                await this.#send(entry);
                entry.state = "sent";
                delete entry.retryAt;
                this.#tries = 0;
            } catch (error) {
                const wait = this.#judge(entry, error);
                if (wait !== null) {
                    this.#timer = setTimeout(() => this.kick(), wait);
                    this.#changed();
                    break;
                }
            }
            this.keep();
            this.#changed();
        }
        this.#busy = false;
    }

    /** How long to wait; null if it will not get better by itself. */
    #judge(entry: Entry, error: unknown): number | null {
        if (error instanceof Refused && error.status === 429) {
            const wait = error.retryMs ?? 5_000;
            entry.retryAt = Date.now() + wait;
            return wait;
        }
        if (error instanceof Refused && error.status < 500 && error.status !== 401 && error.status !== 408) {
            entry.state = "failed";
            entry.error = error.message;
            return null;
        }
        return AGAIN_MS[Math.min(this.#tries++, AGAIN_MS.length - 1)] ?? 1_000;
    }

    keep(): void {
        try {
            const waiting = this.entries.filter((entry) => entry.state !== "sent" && !entry.loose);
            if (waiting.length) localStorage.setItem(this.#key, JSON.stringify(waiting));
            else localStorage.removeItem(this.#key);
        } catch {
            // As above.
        }
    }
}
