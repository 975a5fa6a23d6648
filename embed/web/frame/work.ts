// Proof of work, for sites that ask for it: SHA-256 of `nonce:key:number` with so many zero bits in front. WebCrypto is
// not there on pages that are no secure context, and a promise for each try would take longer than the work.

const STEP_MS = 20;

/** Of the first 64 primes. */
const powers = (part: (root: number) => number): number[] => {
    const found: number[] = [];
    for (let n = 2; found.length < 64; n++) {
        let prime = true;
        for (let by = 2; by * by <= n; by++) if (n % by === 0) prime = false;
        if (prime) found.push(part(n));
    }
    return found;
};
const fraction = (value: number): number => ((value - Math.floor(value)) * 2 ** 32) | 0;
const K = Int32Array.from(powers((prime) => fraction(Math.cbrt(prime))));
const H = powers((prime) => fraction(Math.sqrt(prime))).slice(0, 8);
const w = new Int32Array(64);

function block(state: Int32Array, bytes: Uint8Array, at: number): void {
    for (let i = 0; i < 16; i++) {
        const j = at + i * 4;
        w[i] = (bytes[j]! << 24) | (bytes[j + 1]! << 16) | (bytes[j + 2]! << 8) | bytes[j + 3]!;
    }
    for (let i = 16; i < 64; i++) {
        const x = w[i - 15]!;
        const y = w[i - 2]!;
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    let [a, b, c, d] = [state[0]!, state[1]!, state[2]!, state[3]!];
    let [e, f, g, h] = [state[4]!, state[5]!, state[6]!, state[7]!];
    for (let i = 0; i < 64; i++) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + t1) | 0;
        d = c;
        c = b;
        b = a;
        a = (t1 + t2) | 0;
    }
    const words = [a, b, c, d, e, f, g, h];
    for (let i = 0; i < 8; i++) state[i] = state[i]! + words[i]!;
}

/** What is asked of a text that begins with `prefix`: the first word of its SHA-256. Texts are ASCII. */
export function hasher(prefix: string): (rest: string) => number {
    const whole = prefix.length & ~63;
    const encoder = new TextEncoder();
    const before = Int32Array.from(H);
    const head = encoder.encode(prefix);
    for (let at = 0; at < whole; at += 64) block(before, head, at);
    const bytes = new Uint8Array(192);
    bytes.set(head.subarray(whole));
    const state = new Int32Array(8);
    return (rest) => {
        const from = prefix.length - whole;
        const to = from + rest.length;
        bytes.fill(0, from);
        for (let i = 0; i < rest.length; i++) bytes[from + i] = rest.charCodeAt(i);
        bytes[to] = 0x80;
        const end = ((to + 8) >> 6) * 64 + 64;
        const bits = (whole + to) * 8;
        for (let i = 0; i < 4; i++) bytes[end - 1 - i] = bits >>> (8 * i);
        state.set(before);
        for (let at = 0; at < end; at += 64) block(state, bytes, at);
        return state[0]! >>> 0;
    };
}

/** A number for it. The page goes on meanwhile. */
export async function solve(nonce: string, key: string, bits: number): Promise<string> {
    const first = hasher(`${nonce}:${key}:`);
    for (let tried = 0, rest = performance.now(); ; tried++) {
        if (first(`${tried}`) < 2 ** (32 - bits)) return `${tried}`;
        if ((tried & 255) === 0 && performance.now() - rest > STEP_MS) {
            await new Promise((done) => setTimeout(done));
            rest = performance.now();
        }
    }
}
