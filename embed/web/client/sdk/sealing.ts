// Files are opened and closed beside the page.

import { beside } from "./beside.ts";
import type { Done, Sealed, Work } from "./attachments.ts";

const ask = beside<Work, Done>(() => import("./attachments.ts"));

/** The bytes under a new key. */
export async function encrypt(blob: Blob): Promise<{ blob: Blob; file: Sealed }> {
    const { blob: closed, file } = await ask({ blob });
    if (!file) throw new Error("no key");
    return { blob: closed, file };
}

/** The file as it was, of this type. Throws if the bytes are not those that were sent. */
export const decrypt = async (blob: Blob, file: Sealed, type: string): Promise<Blob> => (await ask({ blob, file, type })).blob;
