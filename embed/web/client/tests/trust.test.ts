import assert from "node:assert/strict";
import test from "node:test";
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
