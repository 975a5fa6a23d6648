import assert from "node:assert/strict";
import test from "node:test";
import { fold, type RoomEvent } from "../timeline.ts";

const [ADA, OLENA, MAX, BOT] = ["@ada:hs", "@olena:hs", "@max:hs", "@support-shop:"];
const said = (event_id: string, sender: string, body: string, edits = ""): RoomEvent => ({
    event_id,
    sender,
    type: "m.room.message",
    origin_server_ts: 1,
    content: edits
        ? { msgtype: "m.text", body: `* ${body}`, "m.new_content": { msgtype: "m.text", body }, "m.relates_to": { rel_type: "m.replace", event_id: edits } }
        : { msgtype: "m.text", body },
});
const takenBack = (id: string): RoomEvent => ({ event_id: `-${id}`, sender: OLENA, type: "m.room.redaction", origin_server_ts: 2, content: { redacts: id } });
const shown = (...events: RoomEvent[]): string[] => fold(events, ADA, new Map(), BOT).map(({ body, edited, gone }) => `${gone ? "gone" : body}${edited ? "*" : ""}`);

test("an edit is its author's, the last one counts, and one that was taken back does not", () => {
    const [first, edit, again] = [said("$1", OLENA, "blue"), said("$2", OLENA, "red", "$1"), said("$3", OLENA, "green", "$1")];
    const other = said("$4", MAX, "no colour", "$1");
    assert.deepEqual(shown(first, edit, again), ["green*"]);
    assert.deepEqual(shown(first, other), ["blue"]);
    assert.deepEqual(shown(first, edit, other), ["red*"]);
    assert.deepEqual(shown(first, edit, again, takenBack("$3")), ["red*"]);
    assert.deepEqual(shown(first, edit, takenBack("$2")), ["blue"]);
    assert.deepEqual(shown(first, edit, takenBack("$1")), ["gone*"]);
});

test("who came is told of people, and of neither the site's own account nor of who the visitor was before", () => {
    const joined = (sender: string): RoomEvent => ({ event_id: `$${sender}`, sender, type: "m.room.member", state_key: sender, origin_server_ts: 1, content: { membership: "join", displayname: sender.slice(1, -3) } });
    const events = ["@support-shop:hs", "@visitor-shop-abc:hs", "@support-olena:hs", "@support-olena:hs", ADA].map(joined);
    assert.deepEqual(fold(events, ADA, new Map(), BOT).map(({ kind, name }) => [kind, name]), [["joined", "support-olena"]]);
});
