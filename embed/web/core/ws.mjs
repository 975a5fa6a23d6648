// `/sync` over the WebSocket of docs/websocket.md, for clients that only know how to fetch.
//
// `StreamSync` owns one socket and looks like `fetch`: a GET of `/sync` is answered with what the socket pushed, every
// other request goes to the real `fetch`. So matrix-js-sdk 43 syncs over the socket unchanged:
//
//     const stream = new StreamSync();
//     const client = createClient({ baseUrl, accessToken, userId, deviceId, fetchFn: stream.fetch });
//     …
//     client.stopClient();
//     stream.close();
//
// One instance serves one client. It has no dependencies, touches no DOM and stores nothing; it runs in browsers, in
// workers and in Node 22. Two rules carry it:
//
// * A sync with `since` says that the caller has everything up to there. It acknowledges the update that led to it,
//   and where the socket is somewhere else, a new one is started from there. So nothing is lost or doubled, whatever
//   is cut when.
// * While the connection is away a sync stays pending. To reject it would make the SDK wait 2 to 7 seconds before it
//   tries again; here the socket is opened anew after the backoff of docs/websocket.md. The caller's `signal` ends the
//   wait, and `onstatus` tells the page that it is offline long before that.

/** Where the stream is, beside the base URL of the homeserver. */
const PATH = "/_matrix/client/unstable/chat.hromada/stream";
const SYNC = /^(.*)\/_matrix\/client\/(?:v3|r0)\/sync$/;

const BACKOFF_MS = 500;
const BACKOFF_AT_MOST_MS = 30_000;
/** A handshake that takes longer has failed. */
const CONNECT_MS = 15_000;
/** A sync with a timeout of 0 asks "is there anything?"; so long we let the server answer that. */
const GRACE_MS = 500;
/** The browser says that the network went or came: a socket that does not answer for so long is dead. */
const PROBE_MS = 3_000;
/** After two failed handshakes with a server that answers HTTP, `/sync` is polled for so long. */
const POLLING_MS = 60_000;
const UNSTABLE_STATE_AFTER = "org.matrix.msc4222.state_after";

/** The status that HTTP would have had, by `errcode`; 400 for all others. */
const STATUS = { M_UNKNOWN_TOKEN: 401, M_MISSING_TOKEN: 401, M_USER_LOCKED: 401, M_FORBIDDEN: 403, M_NOT_FOUND: 404 };

/**
 * @typedef {"connecting" | "streaming" | "waiting" | "polling" | "closed"} Status
 *   `waiting`: the connection is away and will be tried again; `polling`: the server has no stream (for now).
 *
 * @typedef {object} Options
 * @property {typeof fetch} [fetch] for everything but `/sync`
 * @property {typeof WebSocket} [WebSocket]
 * @property {(status: Status) => void} [onstatus]
 *
 * @typedef {object} Call
 *   A `/sync` that waits for its answer.
 * @property {string} base URL of the homeserver
 * @property {string} token
 * @property {string | null} since
 * @property {number} timeout in milliseconds
 * @property {object} start the other members of the frame `start`
 * @property {boolean} unstable whether `state_after` is to have its unstable name
 * @property {(response: Response) => void} resolve
 * @property {(reason: unknown) => void} reject
 * @property {() => void} poll do it over HTTP instead
 * @property {() => void} cleanup
 */

export class StreamSync {
    /** What happened so far: sockets opened, updates handed over, syncs that went over HTTP. */
    stats = { sockets: 0, updates: 0, polls: 0 };

    /** @type {Call | null} */
    #call = null;
    /** @type {Link | null} */
    #link = null;
    #failures = 0;
    #refusals = 0;
    #pollUntil = 0;
    #retry;
    /** @type {Status} */
    #status = "closed";

    /** @param {Options} [options] */
    constructor({ fetch = globalThis.fetch, WebSocket = globalThis.WebSocket, onstatus } = {}) {
        this.#fetch = (...request) => fetch(...request);
        this.#WebSocket = WebSocket;
        this.onstatus = onstatus;
        // Coming back is better tried at once than after what may be left of half a minute.
        globalThis.addEventListener?.("online", this.#hurry);
        globalThis.addEventListener?.("online", this.#probe);
        globalThis.addEventListener?.("offline", this.#probe);
        globalThis.document?.addEventListener("visibilitychange", this.#hurry);
    }

    #fetch;
    #WebSocket;

    get status() {
        return this.#status;
    }

    /**
     * Takes the place of `fetch`; may be passed on without its object.
     * @type {typeof fetch}
     */
    fetch = (resource, options = {}) => {
        const url = new URL(resource instanceof Request ? resource.url : resource, globalThis.location?.href);
        const sync = SYNC.exec(url.origin + url.pathname);
        if (!sync || (options.method ?? "GET") !== "GET" || resource instanceof Request) {
            return this.#fetch(resource, options);
        }
        const poll = () => {
            this.stats.polls++;
            return this.#fetch(resource, options);
        };
        // A second sync beside the one that waits, or one from the start beside a stream that has got somewhere, is
        // none of the stream's business (matrix-js-sdk: syncLeftRooms).
        const aside = this.#call !== null || (this.#link?.position != null && !url.searchParams.has("since"));
        return aside || Date.now() < this.#pollUntil ? poll() : this.#sync(sync[1], url.searchParams, options, poll);
    };

    /** End the socket; a sync that waits is rejected. The next sync opens a new one. */
    close() {
        this.#settle((call) => call.reject(new DOMException("The stream was closed", "AbortError")));
        clearTimeout(this.#retry);
        this.#retry = undefined;
        this.#drop();
        this.#say("closed");
    }

    /** Stop listening to the page too, for good. */
    dispose() {
        this.close();
        globalThis.removeEventListener?.("online", this.#hurry);
        globalThis.removeEventListener?.("online", this.#probe);
        globalThis.removeEventListener?.("offline", this.#probe);
        globalThis.document?.removeEventListener("visibilitychange", this.#hurry);
    }

    #sync(base, query, { headers, signal }, poll) {
        return new Promise((resolve, reject) => {
            const abort = () => {
                reject(signal.reason);
                if (this.#call === call) this.close();
            };
            if (signal?.aborted) return abort();
            signal?.addEventListener("abort", abort);
            const unstable = query.get("org.matrix.msc4222.use_state_after") === "true";
            const filter = query.get("filter");
            /** @type {Call} */
            const call = {
                base,
                token: (new Headers(headers).get("Authorization") ?? "").replace(/^Bearer /, ""),
                since: query.get("since"),
                timeout: Number(query.get("timeout") ?? 0),
                start: {
                    filter: filter?.startsWith("{") ? JSON.parse(filter) : (filter ?? undefined),
                    full_state: query.get("full_state") === "true",
                    set_presence: query.get("set_presence") ?? "online",
                    use_state_after: unstable || query.get("use_state_after") === "true",
                },
                unstable,
                resolve,
                reject,
                poll: () => resolve(poll()),
                cleanup: () => signal?.removeEventListener("abort", abort),
            };
            this.#call = call;
            this.#serve();
        });
    }

    /** Bring the socket to where the waiting call is, and answer the call if there is an answer already. */
    #serve() {
        const call = this.#call;
        if (call === null || this.#retry !== undefined) return;
        if (this.#link !== null && !this.#link.follow(call)) this.#drop();
        if (this.#link === null) this.#connect(call);
        else if (this.#link.update !== null) this.#deliver(this.#link.update);
    }

    #connect(call) {
        this.#say("connecting");
        this.stats.sockets++;
        const link = new Link(new this.#WebSocket(call.base.replace(/^http/, "ws") + PATH, "m.json"), call);
        this.#link = link;
        // Whatever a link says after it was given up is not heard any more.
        link.onupdate = (update) => this.#link === link && this.#deliver(update);
        let streamed = false;
        link.onstreaming = () => {
            if (this.#link !== link) return;
            streamed = true;
            this.#failures = this.#refusals = 0;
            this.#say("streaming");
        };
        link.onquiet = () => {
            if (this.#link !== link || this.#call === null) return;
            this.#settle(({ since, resolve }) => resolve(Response.json({ next_batch: since })));
        };
        link.onerror = (error) => {
            if (this.#link !== link) return;
            this.#drop();
            this.#settle(({ resolve }) => resolve(Response.json(error, { status: STATUS[error.errcode] ?? 400 })));
        };
        link.onend = (code, opened) => {
            if (this.#link !== link) return;
            this.#drop();
            // Not understood; or the user has as many sockets as they may, and others of them may last.
            if (code === 4000 || (code === 4008 && !streamed)) this.#poll();
            else if (opened) this.#again();
            else void this.#refused(call);
        };
    }

    #deliver(update) {
        if (this.#call === null) return;
        this.stats.updates++;
        const body = this.#call.unstable ? renamed(update) : update;
        this.#settle((call) => call.resolve(Response.json(body)));
    }

    /** The handshake failed: is the server away, or is it only the stream that does not get through? */
    async #refused(call) {
        this.#say("waiting");
        const signal = AbortSignal.timeout(CONNECT_MS);
        const reachable = await this.#fetch(`${call.base}/_matrix/client/versions`, { signal }).then(
            (response) => response.ok,
            () => false,
        );
        if (this.#call === null || this.#link !== null) return;
        if (reachable && ++this.#refusals >= 2) this.#poll();
        else this.#again();
    }

    #poll() {
        this.#refusals = 0;
        this.#pollUntil = Date.now() + POLLING_MS;
        this.#say("polling");
        this.#settle((call) => call.poll());
    }

    /** Open anew, if anybody waits, after the backoff. */
    #again() {
        this.#say("waiting");
        if (this.#call === null || this.#retry !== undefined) return;
        const most = Math.min(BACKOFF_AT_MOST_MS, BACKOFF_MS * 2 ** this.#failures++);
        this.#retry = setTimeout(this.#goOn, most * (0.5 + Math.random() / 2));
    }

    /** The page is online, or looked at, again. A hidden page waits for the backoff's end, and goes on then too. */
    #hurry = () => {
        if (globalThis.document?.visibilityState !== "hidden") this.#goOn();
    };

    /** Its word is not taken for it: on some machines a network of containers going is "offline" too. */
    #probe = () => this.#link?.probe(PROBE_MS);

    #goOn = () => {
        if (this.#retry === undefined) return;
        clearTimeout(this.#retry);
        this.#retry = undefined;
        this.#serve();
    };

    /** Answer the waiting call, once. */
    #settle(answer) {
        const call = this.#call;
        if (call === null) return;
        this.#call = null;
        this.#link?.rest();
        call.cleanup();
        answer(call);
    }

    #drop() {
        const link = this.#link;
        this.#link = null;
        link?.close();
    }

    /** @param {Status} status */
    #say(status) {
        if (status === this.#status) return;
        this.#status = status;
        this.onstatus?.(status);
    }
}

/** One connection: from the handshake to its end, with the position it has got to. */
class Link {
    /** The update that was pushed and not yet acknowledged. */
    update = null;
    /** The last position that was acknowledged, or that the stream was started from. */
    position;

    #socket;
    #token;
    #start;
    #key;
    #timeout;
    #opened = false;
    #streaming = false;
    #ended = false;
    #sent = 0;
    #heard = 0;
    #asked = Date.now();
    #beat;
    #connecting;
    #quiet;
    #doubt;

    /**
     * @param {WebSocket} socket
     * @param {Call} call
     */
    constructor(socket, call) {
        this.#socket = socket;
        this.#token = call.token;
        this.#start = call.start;
        this.#key = JSON.stringify(call.start);
        this.#timeout = call.timeout;
        this.position = call.since;
        socket.onopen = () => {
            this.#opened = true;
            this.#send({ op: "auth", access_token: this.#token });
        };
        socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
        socket.onclose = ({ code }) => this.#end(code);
        socket.onerror = () => {}; // `close` follows
        this.#connecting = setTimeout(() => this.#end(1006), CONNECT_MS);
    }

    /**
     * Go on to where the call is. False if this connection cannot: it has to be another one.
     * @param {Call} call
     */
    follow(call) {
        const acknowledges = this.update !== null && this.update.next_batch === call.since;
        if (this.#ended || JSON.stringify(call.start) !== this.#key) return false;
        if (!acknowledges && call.since !== this.position) return false;
        this.#asked = Date.now();
        this.#timeout = call.timeout;
        if (call.token !== this.#token) {
            this.#token = call.token;
            if (this.#streaming) this.#send({ op: "auth", access_token: call.token });
        }
        if (acknowledges) {
            this.position = call.since;
            this.update = null;
            this.#send({ op: "ack", pos: call.since });
        }
        if (this.#streaming) this.#wait();
        return true;
    }

    /** Nobody waits any more. */
    rest() {
        clearTimeout(this.#quiet);
        this.#asked = Date.now();
    }

    close() {
        this.#finish();
        try {
            this.#socket.close(1000);
        } catch {
            // It has not been opened; that is as good.
        }
    }

    /** Ask the server for a sign of life; without one the connection has ended. */
    probe(patience) {
        if (!this.#streaming) return;
        clearTimeout(this.#doubt);
        this.#doubt = setTimeout(() => this.#end(1006), patience);
        this.#send({ op: "ping" });
    }

    #hear(frame) {
        this.#heard = Date.now();
        clearTimeout(this.#doubt);
        if (this.#ended) return;
        if (frame.op === "sync") {
            this.update = frame.body;
            this.onupdate(frame.body);
        } else if (frame.op === "ready" && !this.#streaming) {
            clearTimeout(this.#connecting);
            this.#streaming = true;
            this.#beat = setInterval(() => this.#pulse(frame.heartbeat_ms), frame.heartbeat_ms);
            this.#send({ op: "start", since: this.position ?? undefined, ...this.#start });
            this.#wait();
            this.onstreaming();
        } else if (frame.op === "error") {
            const { op, ...error } = frame;
            this.onerror(error);
        }
    }

    /** From here on the call's timeout runs. The first sync has none: there is always something to tell. */
    #wait() {
        clearTimeout(this.#quiet);
        if (this.position !== null) this.#quiet = setTimeout(() => this.onquiet(), Math.max(this.#timeout, GRACE_MS));
    }

    #pulse(heartbeat) {
        const now = Date.now();
        // Nothing heard although we pinged: the connection is dead and nobody said so.
        if (now - this.#heard > 2 * heartbeat) this.#end(1006);
        // Nobody syncs any more: the client was stopped.
        else if (now - this.#asked > Math.max(3 * heartbeat, 2 * this.#timeout)) this.#end(1000);
        else if (now - this.#sent >= heartbeat / 2) this.#send({ op: "ping" });
    }

    #send(frame) {
        if (this.#socket.readyState !== 1) return; // `close` follows
        this.#sent = Date.now();
        this.#socket.send(JSON.stringify(frame));
    }

    #end(code) {
        if (this.#ended) return;
        this.#finish();
        this.onend(code, this.#opened);
    }

    #finish() {
        this.#ended = true;
        clearTimeout(this.#connecting);
        clearTimeout(this.#quiet);
        clearTimeout(this.#doubt);
        clearInterval(this.#beat);
    }
}

/** COMPAT(matrix-js-sdk 43): it reads `state_after` under its unstable name only. */
function renamed(update) {
    for (const rooms of [update.rooms?.join, update.rooms?.leave]) {
        for (const room of Object.values(rooms ?? {})) {
            if (!room.state_after) continue;
            room[UNSTABLE_STATE_AFTER] = room.state_after;
            delete room.state_after;
        }
    }
    return update;
}
