// What the stores and views know of the conversation: plain data, nothing of the SDK.

export type Kind = "dm" | "room" | "space";
export type Membership = "join" | "invite" | "knock" | "leave" | "ban";

/** What of a room waits for the user. One function makes it (badge.ts). */
export interface Badge {
    /** Shown as a number; 0 is none. */
    readonly count: number;
    /** The user was named, or it is a direct message. */
    readonly mention: boolean;
    /** Unread, but nothing to count. */
    readonly dot: boolean;
}

export interface Preview {
    readonly text: string;
    readonly sender: string;
    readonly mine: boolean;
    readonly icon: string | undefined;
    /** One's own, and somebody else has read it. */
    readonly read: boolean;
}

export interface RoomRow {
    readonly id: string;
    readonly name: string;
    readonly alias: string | undefined;
    readonly topic: string;
    readonly avatar: string | undefined;
    readonly kind: Kind;
    readonly membership: Membership;
    readonly preview: Preview | undefined;
    readonly time: number;
    readonly badge: Badge;
    readonly favourite: boolean;
    readonly low: boolean;
    readonly muted: boolean;
    readonly encrypted: boolean;
    readonly members: number;
    /** The other person of a direct chat. */
    readonly person: string | undefined;
    readonly typing: readonly Person[];
    readonly inviter: Person | undefined;
    readonly inviteReason: string | undefined;
    /** The room that took this one's place. */
    readonly successor: string | undefined;
    /** Of a space: its rooms. */
    readonly children: readonly string[];
    readonly joinRule: string;
    /** Two of those in a room that has neither name nor picture: it is drawn by them. */
    readonly faces: readonly Person[];
    /** Threads with something unread. */
    readonly threads: number;
}

export interface Person {
    readonly id: string;
    readonly name: string;
    readonly avatar: string | undefined;
}

export interface Member extends Person {
    readonly level: number;
    readonly membership: Membership;
    readonly creator: boolean;
}

/** What one may do in a room. */
export interface Rights {
    readonly send: boolean;
    readonly invite: boolean;
    readonly kick: boolean;
    readonly ban: boolean;
    readonly redact: boolean;
    readonly pin: boolean;
    readonly name: boolean;
    readonly topic: boolean;
    readonly avatar: boolean;
    readonly rules: boolean;
    readonly history: boolean;
    readonly power: boolean;
    readonly alias: boolean;
    readonly encrypt: boolean;
    readonly notifyRoom: boolean;
    readonly upgrade: boolean;
    readonly level: number;
}

export interface EncryptedFile {
    url: string;
    key: JsonWebKey;
    iv: string;
    hashes: Record<string, string>;
    v?: string;
}

export interface Media {
    readonly url: string | undefined;
    readonly file: EncryptedFile | undefined;
    readonly name: string;
    readonly type: string;
    readonly size: number;
    readonly width: number;
    readonly height: number;
    readonly seconds: number;
    readonly blurhash: string | undefined;
    readonly thumbnail: string | undefined;
    readonly thumbnailFile: EncryptedFile | undefined;
    readonly wave: readonly number[] | undefined;
    /** The file on this machine, while it is being sent. */
    readonly local?: string | undefined;
}

export type Body =
    | { readonly type: "text"; readonly text: string; readonly html: string | undefined; readonly style: "text" | "emote" | "notice" }
    | { readonly type: "image" | "video" | "audio" | "voice" | "file" | "sticker"; readonly media: Media; readonly caption: string; readonly html: string | undefined }
    | { readonly type: "gone" }
    | { readonly type: "locked"; readonly reason: string; readonly since: number; /** When it was first tried here. */ readonly tried: number }
    | { readonly type: "place"; readonly text: string; readonly uri: string }
    | { readonly type: "other"; readonly text: string };

export interface Reaction {
    readonly key: string;
    readonly count: number;
    /** The event of one's own reaction. */
    readonly mine: string | undefined;
    readonly who: readonly string[];
}

export interface Quote {
    readonly id: string;
    readonly sender: string;
    readonly name: string;
    readonly text: string;
}

export interface ThreadSummary {
    readonly count: number;
    readonly last: number;
    readonly faces: readonly Person[];
    readonly unread: boolean;
}

export type SendState = "sent" | "sending" | "waiting" | "uploading" | "failed";

export interface Message {
    readonly kind: "message";
    /** The same from the local echo on, so that no row is made anew when the echo comes. */
    readonly key: string;
    readonly id: string;
    readonly sender: Person;
    readonly level: number;
    readonly mine: boolean;
    readonly time: number;
    readonly body: Body;
    readonly edited: boolean;
    readonly quote: Quote | undefined;
    readonly reactions: readonly Reaction[];
    readonly thread: ThreadSummary | undefined;
    readonly mentionsMe: boolean;
    /** It mentions everybody. */
    readonly wakesRoom?: boolean;
    readonly pinned: boolean;
    readonly plainInEncrypted: boolean;
    readonly state: SendState;
    readonly error: string | undefined;
    /** What failed is the change of this transaction, not the message. */
    readonly change?: string | undefined;
    /** Of an upload, 0 to 1. */
    readonly progress?: number | undefined;
    readonly readers: readonly Person[];
}

/** Something that happened, in one line. `text` is a key of the language file, the rest its slots. */
export interface Happening {
    readonly kind: "happening";
    readonly key: string;
    readonly id: string;
    readonly time: number;
    readonly text: string;
    readonly slots: Readonly<Record<string, string>>;
    readonly readers: readonly Person[];
}

export type Item = Message | Happening;
