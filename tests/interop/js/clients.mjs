// Clients of matrix-js-sdk for the conversations: registered, logged in, started.

import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.setLevel("error");
const password = "correct horse battery staple";

/** A client of a new account; `options` are those of `createClient`. */
export async function register(baseUrl, name, options = {}) {
    const anonymous = sdk.createClient({ baseUrl });
    const auth = { type: "m.login.dummy" };
    try {
        await anonymous.registerRequest({ username: name, password });
    } catch (error) {
        if (error.httpStatus !== 401) throw error;
        auth.session = error.data.session;
    }
    await anonymous.registerRequest({ username: name, password, auth });
    return login(baseUrl, name, options);
}

/** A client of a new device of an account that `register` made. */
export async function login(baseUrl, name, options = {}) {
    const anonymous = sdk.createClient({ baseUrl });
    const session = await anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: name },
        password,
    });
    return sdk.createClient({
        baseUrl,
        accessToken: session.access_token,
        userId: session.user_id,
        deviceId: session.device_id,
        timelineSupport: true,
        ...options,
    });
}

/** Start a client and wait for its first sync; `options` are those of `startClient`. */
export async function start(client, options = {}) {
    const prepared = new Promise((resolve, reject) => {
        client.on(sdk.ClientEvent.Sync, (state, _before, data) => {
            if (state === "PREPARED") resolve();
            if (state === "ERROR") reject(data.error);
        });
    });
    await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, pollTimeout: 5000, ...options });
    await prepared;
}
