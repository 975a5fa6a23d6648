// The account itself: its devices, its password, its end. Asked for by the settings alone, and loaded with them.

import { ApiError } from "./api.ts";
import type { Waiting } from "./letters.ts";
import type { Ask } from "./loudness.ts";

type Json = Record<string, unknown>;

export interface Device {
    id: string;
    name: string;
    ip: string;
    seen: number;
}
interface Listed {
    devices: { device_id: string; display_name?: string; last_seen_ip?: string; last_seen_ts?: number }[];
}

/** The server asks who one is before it does something that cannot be undone. */
export class NeedsPassword extends Error {
    readonly session: string;
    constructor(session: string) {
        super("needs password");
        this.session = session;
    }
}

export class Account {
    readonly userId: string;
    readonly ask: Ask;

    constructor(userId: string, ask: Ask) {
        this.userId = userId;
        this.ask = ask;
    }

    async devices(): Promise<Device[]> {
        const { devices } = (await this.ask("GET", "/devices")) as Listed;
        return devices.map((device) => ({ id: device.device_id, name: device.display_name ?? device.device_id, ip: device.last_seen_ip ?? "", seen: device.last_seen_ts ?? 0 }));
    }
    /** The addresses by which the account can be reached, and whether the server takes others. */
    async addresses(): Promise<{ list: string[]; changes: boolean }> {
        const [{ threepids }, { capabilities }] = await Promise.all([
            this.ask("GET", "/account/3pid") as Promise<{ threepids?: { address: string }[] }>,
            this.ask("GET", "/capabilities") as Promise<{ capabilities: { "m.3pid_changes"?: { enabled?: boolean } } }>,
        ]);
        return { list: (threepids ?? []).map(({ address }) => address), changes: capabilities["m.3pid_changes"]?.enabled !== false };
    }
    /** Add the address of a letter whose link was followed. */
    addAddress = ({ sid, secret }: Waiting, password?: string): Promise<unknown> =>
        this.#confirmed(password, (auth) => this.ask("POST", "/account/3pid/add", { sid, client_secret: secret, ...auth }));
    removeAddress = (address: string): Promise<unknown> => this.ask("POST", "/account/3pid/delete", { medium: "email", address });
    renameDevice = (id: string, display_name: string): Promise<unknown> => this.ask("PUT", `/devices/${encodeURIComponent(id)}`, { display_name });
    deleteDevices = (devices: string[], password?: string): Promise<unknown> =>
        this.#confirmed(password, (auth) => this.ask("POST", "/delete_devices", { devices, ...auth }));
    setPassword = (new_password: string, password?: string): Promise<unknown> =>
        this.#confirmed(password, (auth) => this.ask("POST", "/account/password", { new_password, logout_devices: false, ...auth }));
    deactivate = (password?: string): Promise<unknown> =>
        this.#confirmed(password, (auth) => this.ask("POST", "/account/deactivate", { erase: true, ...auth }));

    /** Run what needs the password again. Throws NeedsPassword until it is given. */
    async #confirmed(password: string | undefined, run: (auth: Json) => Promise<unknown>): Promise<unknown> {
        try {
            return await run({});
        } catch (error) {
            if (!(error instanceof ApiError) || error.status !== 401 || !error.body["flows"]) throw error;
            const session = String(error.body["session"]);
            if (password === undefined) throw new NeedsPassword(session);
            const identifier = { type: "m.id.user", user: this.userId };
            return run({ auth: { type: "m.login.password", identifier, password, session } });
        }
    }
}
