import assert from "node:assert/strict";
import test from "node:test";
import { trustEn } from "../i18n/trust.en.ts";
import { trustUk } from "../i18n/trust.uk.ts";
import { group, walled } from "../render/group.ts";
import type { Message } from "../sdk/types.ts";
import { due, reached, recoveryProblem } from "../stores/recovery.ts";
import { CHANGED, encryptingFailed, UNENCRYPTED, verdict } from "../sdk/failure.ts";

test("a network that is away is waited for without end, a refusal ends", () => {
    const away = Object.assign(new Error("fetch failed"), { name: "ConnectionError" });
    assert.deepEqual(verdict(away, 1, 0.5), { wait: 1_000 });
    assert.deepEqual(verdict(encryptingFailed(away), 40, 0.5), { wait: 60_000 });
    assert.deepEqual(verdict({ httpStatus: 502 }, 3, 0.5), { wait: 4_000 });
    assert.deepEqual(verdict({ httpStatus: 429, errcode: "M_LIMIT_EXCEEDED", data: { retry_after_ms: 7_000 } }, 1, 0.5), { wait: 7_000 });
    assert.deepEqual(verdict({ httpStatus: 401, errcode: "M_UNKNOWN_TOKEN" }, 1, 0.5), { wait: 1_000 });
    assert.deepEqual(verdict({ httpStatus: 403, errcode: "M_FORBIDDEN" }, 1), { failed: "M_FORBIDDEN" });
    assert.deepEqual(verdict({ status: 413 }, 1), { failed: "413" });
});

test("what the machine of encryption refuses is not taken for a network failure", () => {
    const refused = encryptingFailed(new Error("Encryption failed because your device is not verified"));
    assert.ok("wait" in verdict(refused, 1), "it may not know the room yet");
    assert.deepEqual(verdict(refused, 4), { failed: UNENCRYPTED });
    const limited = { httpStatus: 429, errcode: "M_LIMIT_EXCEEDED" };
    assert.equal(encryptingFailed(limited), limited, "keys could not be fetched: that passes");
    assert.deepEqual(verdict(encryptingFailed({ errcode: CHANGED }), 1), { failed: CHANGED });
});

const KEY = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d";

test("a recovery key is checked while it is typed", () => {
    const good = { count: 48, total: 48, group: undefined, odd: false };
    assert.deepEqual(recoveryProblem(KEY), good);
    assert.deepEqual(recoveryProblem(KEY.replaceAll(" ", "")), good);
    for (let at = 1; at < KEY.length; at++) assert.deepEqual([recoveryProblem(KEY.slice(0, at)).group, recoveryProblem(KEY.slice(0, at)).odd], [undefined, false]);
    assert.deepEqual(recoveryProblem("EsTc LW0K").group, { at: 2, text: "LW0K" }, "no zero in it");
    assert.deepEqual(recoveryProblem("Ex").group, { at: 1, text: "Ex" }, "all begin alike");
    assert.deepEqual(recoveryProblem(`${KEY} EsTc`).group, { at: 13, text: "EsTc" });
});

test("one wrong letter in a recovery key is noticed", () => {
    let missed = 0, tried = 0;
    for (const [at, sign] of Array.from(KEY).entries()) {
        for (const other of "12Az") {
            if (sign === " " || sign === other) continue;
            const { group, odd } = recoveryProblem(KEY.slice(0, at) + other + KEY.slice(at + 1));
            tried++;
            if (!group && !odd) missed++;
        }
    }
    assert.ok(missed <= tried / 64, `${missed} of ${tried}`);
});

test("the group with a wrong letter is named where only one can be it", () => {
    const groups = KEY.split(" ");
    const with_ = (nr: number, text: string): ReturnType<typeof recoveryProblem> => recoveryProblem(groups.with(nr, text).join(" "));
    let right = 0, tried = 0;
    for (const [nr, text] of groups.entries()) {
        // Capitals for small letters, and neighbours that changed places.
        const wrong = [...text].flatMap((sign, at) => {
            const other = "ckmpsuwxyz".includes(sign.toLowerCase()) ? (sign === sign.toLowerCase() ? sign.toUpperCase() : sign.toLowerCase()) : sign;
            const next = text[at + 1] ?? sign;
            return [text.slice(0, at) + other + text.slice(at + 1), text.slice(0, at) + next + sign + text.slice(at + 2)];
        });
        for (const typed of wrong.filter((each) => each !== text && each.length === 4)) {
            const { group, odd } = with_(nr, typed);
            if (!group) continue;
            tried++;
            assert.deepEqual(group, { at: nr + 1, text: typed }, "never the wrong one");
            if (odd) right++;
        }
    }
    assert.ok(right > 12, `${right} of ${tried}`);
});

test("without a recovery key one is reminded on three days", () => {
    const DAY = 24 * 3_600_000;
    const on = (day: number, closed: number): boolean => due({ since: 1_000, closed }, 1_000 + day * DAY);
    assert.deepEqual([0, 0.9, 1, 6, 7, 29, 30].map((day) => on(day, 0)), [false, false, true, true, true, true, true], "until it is closed");
    assert.deepEqual([1, 6, 7, 30].map((day) => on(day, 1)), [false, false, true, true]);
    assert.deepEqual([29, 30, 400].map((day) => on(day, 2)), [false, true, true]);
    assert.equal(on(4_000, 3), false, "three in a lifetime");
    assert.equal(reached({ since: 0, closed: 0 }, 40 * DAY), 3, "closed late, it stays closed");
});

test("what is said of keys and people is said in Ukrainian too", () => {
    assert.deepEqual(Object.keys(trustUk).sort(), Object.keys(trustEn).sort());
});

const closed = (key: string, time: number, reason = "HISTORICAL_MESSAGE_NO_KEY_BACKUP"): Message => ({
    kind: "message", key, id: key, sender: { id: "x", name: "x", avatar: undefined }, level: 0, mine: false, time, body: { type: "locked", reason, since: 0, tried: 0 },
    edited: false, quote: undefined, reactions: [], thread: undefined, mentionsMe: false, pinned: false, plainInEncrypted: false, state: "sent", error: undefined, readers: [],
});
const NOON = new Date(2026, 5, 4, 12).getTime();
const opened = (key: string, time: number): Message => ({ ...closed(key, time), body: { type: "text", text: key, html: undefined, style: "text" } });

test("messages from before this device are one line per run", () => {
    const DAY = 24 * 3_600_000;
    const items = [closed("a", NOON - 3 * DAY), closed("b", NOON - 2 * DAY), closed("c", NOON), opened("d", NOON + 1), closed("e", NOON + 2), closed("f", NOON + 3, "OLM_UNKNOWN_MESSAGE_INDEX")];
    const days = group(items, undefined);
    assert.equal(days.length, 1, "days that were only closed messages are none");
    assert.deepEqual(days[0]?.rows.map((row) => [row.kind, row.kind === "sealed" && row.items.length]), [["sealed", 3], ["message", false], ["sealed", 1], ["message", false]]);
    assert.equal(days[0]?.rows[0]?.key, "c", "the row keeps its key when older ones come");
    const mixed = group([opened("a", NOON - DAY), closed("b", NOON - DAY), closed("c", NOON)], undefined);
    assert.deepEqual(mixed.map(({ rows }) => rows.map(({ kind }) => kind)), [["message"], ["sealed"]]);
});

test("a wall of closed messages is not climbed unasked", () => {
    const many = Array.from({ length: 50 }, (_, at) => closed(`k${at}`, NOON + at));
    assert.equal(walled([...many, opened("z", NOON + 60)]), true);
    assert.equal(walled([opened("z", NOON - 1), ...many]), false);
    assert.equal(walled(many.slice(1)), false);
});
