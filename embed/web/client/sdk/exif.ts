// Where and with what a picture was taken is cut out of it before it is sent; how it is turned stays.

const APP1 = 0xe1, SOS = 0xda;

/** The orientation (1 to 8) in an Exif block of TIFF form at `tiff`; 1 if it says nothing. */
function orientation(view: DataView, tiff: number, end: number): number {
    if (tiff + 8 > end) return 1;
    const little = view.getUint16(tiff) === 0x4949;
    const first = tiff + view.getUint32(tiff + 4, little);
    if (first + 2 > end) return 1;
    const count = Math.min(view.getUint16(first, little), 200);
    for (let at = first + 2, n = 0; n < count && at + 12 <= end; at += 12, n++) {
        if (view.getUint16(at, little) === 0x0112) {
            const value = view.getUint16(at + 8, little);
            return value >= 1 && value <= 8 ? value : 1;
        }
    }
    return 1;
}

/** An Exif block with one entry. */
const only = (value: number): number[] => [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0];
const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];
const bytes = (list: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(list);

/** The four letters of a block's name. */
const name = (view: DataView, at: number): string => String.fromCharCode(...[0, 1, 2, 3].map((n) => view.getUint8(at + n)));

function jpeg(data: ArrayBuffer, view: DataView): BlobPart[] | undefined {
    if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return undefined;
    const kept: BlobPart[] = [data.slice(0, 2)];
    let turned = 1;
    let at = 2;
    while (at + 4 <= view.byteLength && view.getUint8(at) === 0xff) {
        const marker = view.getUint8(at + 1);
        if (marker === SOS) break;
        const length = view.getUint16(at + 2);
        const end = Math.min(at + 2 + length, view.byteLength);
        if (marker !== APP1) kept.push(data.slice(at, end));
        else if (at + 10 <= end && view.getUint32(at + 4) === 0x45786966) turned = Math.max(turned, orientation(view, at + 10, end));
        at += 2 + length;
    }
    if (turned > 1) kept.splice(1, 0, bytes([0xff, APP1, 0, 34, ...EXIF, ...only(turned)]));
    return [...kept, data.slice(at)];
}

/** The sum that ends a block of a PNG. */
function crc(of: number[]): number[] {
    let sum = 0xffffffff;
    for (const each of of) {
        sum ^= each;
        for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    }
    sum = ~sum;
    return [24, 16, 8, 0].map((shift) => (sum >>> shift) & 0xff);
}

const PNG_TOLD = new Set(["eXIf", "tEXt", "zTXt", "iTXt", "tIME"]);

function png(data: ArrayBuffer, view: DataView): BlobPart[] | undefined {
    if (view.byteLength < 8 || view.getUint32(0) !== 0x89504e47) return undefined;
    const kept: BlobPart[] = [data.slice(0, 8)];
    let turned = 1;
    let at = 8;
    while (at + 12 <= view.byteLength) {
        const end = at + 12 + view.getUint32(at);
        if (end > view.byteLength) break;
        const what = name(view, at + 4);
        if (what === "eXIf") turned = orientation(view, at + 8, end - 4);
        if (!PNG_TOLD.has(what)) kept.push(data.slice(at, end));
        at = end;
    }
    const block = [0x65, 0x58, 0x49, 0x66, ...only(turned)];
    if (turned > 1) kept.splice(2, 0, bytes([0, 0, 0, 26, ...block, ...crc(block)])); // after the first block, IHDR
    return [...kept, data.slice(at)];
}

const WEBP_EXIF = 0x08, WEBP_XMP = 0x04;

function webp(data: ArrayBuffer, view: DataView): BlobPart[] | undefined {
    if (view.byteLength < 12 || name(view, 0) !== "RIFF" || name(view, 8) !== "WEBP") return undefined;
    const kept: Uint8Array<ArrayBuffer>[] = [];
    let turned = 1;
    let flags: Uint8Array<ArrayBuffer> | undefined;
    for (let at = 12; at + 8 <= view.byteLength; ) {
        const size = view.getUint32(at + 4, true), end = Math.min(at + 8 + size + (size & 1), view.byteLength);
        const what = name(view, at);
        if (what === "EXIF") {
            const prefixed = at + 14 <= end && name(view, at + 8) === "Exif";
            turned = orientation(view, at + (prefixed ? 14 : 8), end);
        } else if (what !== "XMP ") {
            const block = new Uint8Array(data.slice(at, end));
            if (what === "VP8X") flags = block;
            kept.push(block);
        }
        at = end;
    }
    if (flags) flags[8] = ((flags[8] ?? 0) & ~WEBP_XMP & ~WEBP_EXIF) | (turned > 1 ? WEBP_EXIF : 0);
    if (flags && turned > 1) kept.push(bytes([0x45, 0x58, 0x49, 0x46, 26, 0, 0, 0, ...only(turned)]));
    const head = new Uint8Array(data.slice(0, 12));
    new DataView(head.buffer).setUint32(4, kept.reduce((sum, { length }) => sum + length, 4), true);
    return [head, ...kept];
}

const KINDS: Record<string, (data: ArrayBuffer, view: DataView) => BlobPart[] | undefined> = { "image/jpeg": jpeg, "image/png": png, "image/webp": webp };

/** A JPEG, PNG or WebP without what was written into it about it; everything else as it is. */
export async function withoutExif(file: Blob): Promise<Blob> {
    const cut = KINDS[file.type];
    if (!cut) return file;
    const data = await file.arrayBuffer();
    const parts = cut(data, new DataView(data));
    return parts ? new Blob(parts, { type: file.type }) : file;
}
