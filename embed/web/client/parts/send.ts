// From files in the tray to entries of the outbox.

import { contentOf } from "../render/compose.ts";
import type { Mention } from "../stores/drafts.ts";
import { post } from "../stores/early.ts";
import { filesTaken, takeFiles } from "../stores/uploads.ts";

interface Reply {
    id: string;
    /** Undefined while the message is not there. */
    sender: string | undefined;
}
interface InThread {
    root: string;
    last: string | undefined;
}

interface Caption {
    text: string;
    mentions: readonly Mention[];
}
const NONE: Caption = { text: "", mentions: [] };

/** A voice message: how long it is, and how loud, 0 to 1024, in equal steps. */
export interface Spoken {
    ms: number;
    wave: readonly number[];
}

/** Put the tray's files into the outbox; the text goes with the first one, as any text does: marks, mentions and all. True if it did. */
export async function sendUploads(draft: string, room: string, thread: string | undefined, caption: Caption, reply: Reply | undefined, inThread: InThread | undefined, said?: Spoken): Promise<boolean> {
    const files = takeFiles(draft);
    if (files.length === 0) return false;
    const { describe } = await import("../sdk/files.ts");
    for (const [at, { file, url }] of files.entries()) {
        const { content, blob } = await describe(file);
        const words = at === 0 ? caption : NONE;
        const text = await contentOf({ ...words, reply: at === 0 ? reply : undefined, thread: inThread, edit: undefined });
        Object.assign(content, text, { msgtype: content["msgtype"], body: text["body"] || content["body"] });
        if (said) Object.assign(content, { info: { ...(content["info"] as object), duration: said.ms }, "org.matrix.msc3245.voice": {}, "org.matrix.msc1767.audio": { duration: said.ms, waveform: said.wave } });
        await post(room, "m.room.message", content, { thread, quoted: at === 0 && reply !== undefined, upload: { blob, name: file.name, progress: 0 } });
        if (url) URL.revokeObjectURL(url);
    }
    filesTaken(draft);
    return caption.text !== "";
}
