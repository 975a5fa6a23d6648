// Pictures are looked at beside the page, which would halt while a large one is opened.

import { beside } from "./beside.ts";
import type { Seen, Wish, Work } from "./smaller.ts";

const ask = beside<Work, Seen | undefined>(() => import("./smaller.ts"));

/** The size of a picture, and what else is wished; undefined for what is no picture. */
export const look = (source: Blob | ImageBitmap, wish: Wish): Promise<Seen | undefined> => ask({ source, wish });
