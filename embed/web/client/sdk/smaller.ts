// Pictures made smaller. The same file runs as a worker, so that a page does not halt while a large one is opened: the
// module knows the address it came from (beside.ts).

import { encode } from "blurhash";
import { serve } from "./serve.ts";

/** What is wanted beside the size: what stands in for the picture while it comes, or a smaller one. */
export type Wish = "hash" | "thumb";
export interface Seen {
    width: number;
    height: number;
    hash?: string;
    thumb?: Blob;
}
export interface Work {
    source: Blob | ImageBitmap;
    wish: Wish;
}

export const address = import.meta.url;
const THUMB = { w: 800, h: 600 }, HASHED = { w: 32, h: 32 };

function drawn(source: ImageBitmap, most: { w: number; h: number }): OffscreenCanvas {
    const scale = Math.min(1, most.w / source.width, most.h / source.height);
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(source.width * scale)), Math.max(1, Math.round(source.height * scale)));
    canvas.getContext("2d")?.drawImage(source, 0, 0, canvas.width, canvas.height);
    return canvas;
}

/** Undefined for what is no picture. */
export async function run({ source, wish }: Work): Promise<Seen | undefined> {
    const bitmap = source instanceof Blob ? await createImageBitmap(source).catch(() => undefined) : source;
    if (!bitmap) return undefined;
    const { width, height } = bitmap;
    const canvas = drawn(bitmap, wish === "thumb" ? THUMB : HASHED);
    bitmap.close();
    if (wish === "thumb") return { width, height, thumb: await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 }) };
    const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height);
    return { width, height, ...(pixels && { hash: encode(pixels.data, pixels.width, pixels.height, 4, 3) }) };
}

serve(run);
