// Where and with what a picture was taken is cut out of it before it is sent; how it is turned stays.

const APP1 = 0xe1, SOS = 0xda;

/** The orientation (1 to 8) in an Exif block; 1 if it says nothing. */
function orientation(view: DataView, from: number, length: number): number {
    if (length < 14 || view.getUint32(from) !== 0x45786966) return 1;
    const tiff = from + 6;
    const little = view.getUint16(tiff) === 0x4949;
    const first = tiff + view.getUint32(tiff + 4, little);
    if (first + 2 > view.byteLength) return 1;
    const count = Math.min(view.getUint16(first, little), 200);
    for (let at = first + 2, n = 0; n < count && at + 12 <= view.byteLength; at += 12, n++) {
        if (view.getUint16(at, little) === 0x0112) {
            const value = view.getUint16(at + 8, little);
            return value >= 1 && value <= 8 ? value : 1;
        }
    }
    return 1;
}

function onlyOrientation(value: number): Uint8Array<ArrayBuffer> {
    // An Exif block with one entry.
    return new Uint8Array([
        0xff, APP1, 0, 34, 0x45, 0x78, 0x69, 0x66, 0, 0, 0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0,
    ]);
}

/** A JPEG without its Exif and XMP blocks; everything else as it is. */
export async function withoutExif(file: Blob): Promise<Blob> {
    if (file.type !== "image/jpeg") return file;
    const data = await file.arrayBuffer();
    const view = new DataView(data);
    if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return file;
    const kept: BlobPart[] = [data.slice(0, 2)];
    let turned = 1;
    let at = 2;
    while (at + 4 <= view.byteLength && view.getUint8(at) === 0xff) {
        const marker = view.getUint8(at + 1);
        if (marker === SOS) break;
        const length = view.getUint16(at + 2);
        if (marker === APP1) turned = Math.max(turned, orientation(view, at + 4, length - 2));
        else kept.push(data.slice(at, at + 2 + length));
        at += 2 + length;
    }
    if (turned > 1) kept.splice(1, 0, onlyOrientation(turned));
    return new Blob([...kept, data.slice(at)], { type: file.type });
}
