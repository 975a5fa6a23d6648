// A ZIP archive of texts, made in the browser. Sizes are below 4 GB: texts of one person.

export interface Entry {
    name: string;
    text: string;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
});

function crc(bytes: Uint8Array): number {
    let value = ~0;
    for (const byte of bytes) value = (TABLE[(value ^ byte) & 255] ?? 0) ^ (value >>> 8);
    return ~value >>> 0;
}

async function deflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(packed).arrayBuffer());
}

/** Numbers of two and four bytes, as the format has them. */
function fields(...values: [number, 2 | 4][]): Uint8Array<ArrayBuffer> {
    const bytes = new DataView(new ArrayBuffer(values.reduce((sum, [, size]) => sum + size, 0)));
    let at = 0;
    for (const [value, size] of values) {
        if (size === 2) bytes.setUint16(at, value, true);
        else bytes.setUint32(at, value, true);
        at += size;
    }
    return new Uint8Array(bytes.buffer);
}

const UTF8 = 0x0800, DEFLATED = 8, VERSION = 20;

/** The day and the hour as archives have them, in steps of two seconds. */
function moment(at: Date): [number, number] {
    const day = ((at.getFullYear() - 1980) << 9) | ((at.getMonth() + 1) << 5) | at.getDate();
    return [(at.getHours() << 11) | (at.getMinutes() << 5) | (at.getSeconds() >> 1), day];
}

/** Each entry is packed as it comes, so only the packed ones are held. */
export async function zip(entries: AsyncIterable<Entry> | Iterable<Entry>, now = new Date()): Promise<Blob> {
    const [time, day] = moment(now);
    const encoder = new TextEncoder();
    const parts: Uint8Array<ArrayBuffer>[] = [], list: Uint8Array<ArrayBuffer>[] = [];
    let at = 0, count = 0;
    for await (const { name, text } of entries) {
        const called = encoder.encode(name), plain = encoder.encode(text), packed = await deflated(plain);
        const about: [number, 2 | 4][] = [[VERSION, 2], [UTF8, 2], [DEFLATED, 2], [time, 2], [day, 2], [crc(plain), 4], [packed.length, 4], [plain.length, 4], [called.length, 2], [0, 2]];
        const head = fields([0x04034b50, 4], ...about);
        parts.push(head, called, packed);
        list.push(fields([0x02014b50, 4], [VERSION, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), called);
        at += head.length + called.length + packed.length;
        count++;
    }
    const size = list.reduce((sum, { length }) => sum + length, 0);
    const end = fields([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [at, 4], [0, 2]);
    return new Blob([...parts, ...list, end], { type: "application/zip" });
}
