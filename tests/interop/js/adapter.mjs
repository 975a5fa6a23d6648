// What `StreamSync` does at its edges, without the SDK: node adapter.mjs BASE_URL TOKEN REFRESH_TOKEN
// Prints one line of JSON: what each step gave.

import process from "node:process";
import { StreamSync } from "./ws.mjs";

const [base, token, refreshToken] = process.argv.slice(2);
const results = {};
const url = (query) => `${base}/_matrix/client/v3/sync?${new URLSearchParams(query)}`;
const options = (accessToken, more = {}) => ({ headers: { Authorization: `Bearer ${accessToken}` }, ...more });
const given = async (response) => [response.status, await response.json()];

const statuses = [];
const stream = new StreamSync({ onstatus: (status) => statuses.push(status) });
const [, first] = await given(await stream.fetch(url({ timeout: 0 }), options(token)));
results.first = Object.keys(first);
const since = first.next_batch;
results.nothing = await given(await stream.fetch(url({ timeout: 0, since }), options(token)));
results.expected = [200, { next_batch: since }];

// A sync from the start beside it is polled, and so is everything that is no sync.
results.aside = Object.keys((await given(await stream.fetch(url({ timeout: 0 }), options(token))))[1]);
results.versions = (await given(await stream.fetch(`${base}/_matrix/client/versions`)))[0];
results.polls = stream.stats.polls;

// A fresh token goes over the same socket; the old one is dead after that.
const refreshed = await fetch(`${base}/_matrix/client/v3/refresh`, {
    method: "POST",
    body: JSON.stringify({ refresh_token: refreshToken }),
});
const fresh = (await refreshed.json()).access_token;
const before = stream.stats.sockets;
results.refreshed = await given(await stream.fetch(url({ timeout: 0, since }), options(fresh)));
results.sockets = stream.stats.sockets - before;

const abort = new AbortController();
const pending = stream.fetch(url({ timeout: 30_000, since }), options(fresh, { signal: abort.signal }));
setTimeout(() => abort.abort(), 50);
results.aborted = await pending.then(() => "answered", (error) => error.name);
results.closed = stream.status;
results.again = await given(await stream.fetch(url({ timeout: 0, since }), options(fresh)));
results.badSince = (await given(await stream.fetch(url({ timeout: 0, since: "s999999999" }), options(fresh))))[1].errcode;
const [status, { errcode }] = await given(await new StreamSync().fetch(url({ timeout: 0, since }), options("none")));
results.badToken = [status, errcode];
stream.dispose();
results.statuses = statuses.slice(0, 2).concat(statuses.at(-1));

// A server, or a proxy before it, that knows no such stream.
class Elsewhere extends WebSocket {
    constructor(address, protocol) {
        super(`${address}/elsewhere`, protocol);
    }
}
const polling = new StreamSync({ WebSocket: Elsewhere });
results.polled = await given(await polling.fetch(url({ timeout: 0, since }), options(fresh)));
results.pollingStats = [polling.status, polling.stats.polls, polling.stats.sockets];
await polling.fetch(url({ timeout: 0, since }), options(fresh));
results.stillPolling = [polling.stats.polls, polling.stats.sockets];

// As many sockets as a user may have: one more is refused, and polls instead of asking for ever.
const most = 20;
const streams = await Promise.all(
    Array.from({ length: most }, () => new Promise((resolve) => {
        const one = new StreamSync({ onstatus: (now) => now === "streaming" && resolve(one) });
        one.fetch(url({ timeout: 60_000, since }), options(fresh)).catch(() => {});
    })),
);
const another = new StreamSync();
results.oneMore = (await given(await another.fetch(url({ timeout: 0, since }), options(fresh))))[0];
results.oneMoreStats = [another.status, another.stats.polls, another.stats.sockets];
for (const one of streams) one.dispose();
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));
