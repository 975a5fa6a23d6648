// Letters to people's own addresses: one is asked for, its link is followed somewhere, and then this browser goes on.

/** What the browser remembers between the letter and what it allows: mail programs on telephones push the page out. */
export interface Waiting {
    email: string;
    secret: string;
    sid: string;
    attempt: number;
}
type Purpose = "add" | "password";
type Post = (path: string, body: object) => Promise<unknown>;
const PATHS: Record<Purpose, string> = { add: "/account/3pid/email/requestToken", password: "/account/password/email/requestToken" };

const place = (purpose: Purpose): string => `hromada.letter.${purpose}`;

/** The letter that was asked for here. */
export function waiting(purpose: Purpose): Waiting | undefined {
    try {
        const found = JSON.parse(sessionStorage.getItem(place(purpose)) ?? "null") as Partial<Waiting> | null;
        return found?.email && found.secret && found.sid ? { email: found.email, secret: found.secret, sid: found.sid, attempt: Number(found.attempt) || 1 } : undefined;
    } catch {
        return undefined;
    }
}

/** Nothing is waited for any more. */
export function forget(purpose: Purpose): void {
    try {
        sessionStorage.removeItem(place(purpose));
    } catch {
        // denied: nothing was kept
    }
}

/** Ask for a letter, or for another one about the same. Throws ApiError. */
export async function askLetter(post: Post, purpose: Purpose, email: string, before?: Waiting): Promise<Waiting> {
    const secret = before?.secret ?? Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const attempt = (before?.attempt ?? 0) + 1;
    const { sid } = (await post(PATHS[purpose], { email, client_secret: secret, send_attempt: attempt })) as { sid: string };
    const made = { email, secret, sid, attempt };
    try {
        sessionStorage.setItem(place(purpose), JSON.stringify(made));
    } catch {
        // denied: it holds for this page
    }
    return made;
}

/** What a stage of authentication wants to know of a letter. */
export const proof = ({ sid, secret }: Waiting): object => ({ type: "m.login.email.identity", threepid_creds: { sid, client_secret: secret } });
