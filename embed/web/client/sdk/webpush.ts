// Pushes to this browser while no page of the client is open.

import type { Engine } from "./engine.ts";
import { scriptAddress, WORKER } from "./scripts.ts";
import { deviceName } from "./session.ts";

const KIND = "chat.hromada.webpush";
const APP = "chat.hromada.web";

/** Whether this browser can be pushed to. */
export const canPush = (): boolean => "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

const base64url = (data: ArrayBuffer | null): string =>
    btoa(String.fromCharCode(...new Uint8Array(data ?? new ArrayBuffer(0)))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function subscribed(): Promise<PushSubscription | null> {
    const registration = await navigator.serviceWorker.getRegistration("/");
    return (await registration?.pushManager.getSubscription()) ?? null;
}

/** Set or (null) remove the pusher of a subscription. */
async function set(engine: Engine, subscription: PushSubscription, kind: string | null, lang: string, text: boolean): Promise<void> {
    await engine.client.setPusher({
        kind, lang,
        app_id: APP,
        app_display_name: "Hromada",
        device_display_name: deviceName(),
        pushkey: base64url(subscription.getKey("p256dh")),
        data: { url: subscription.endpoint, auth: base64url(subscription.getKey("auth")), ...(!text && { format: "event_id_only" }) },
        append: false,
    } as unknown as Parameters<Engine["client"]["setPusher"]>[0]);
}

/** Whether the server pushes to this browser for this account. */
export async function isPushed(engine: Engine): Promise<boolean> {
    const subscription = await subscribed();
    if (!subscription) return false;
    const key = base64url(subscription.getKey("p256dh"));
    const { pushers } = await engine.client.getPushers();
    return pushers.some((pusher) => pusher.app_id === APP && pusher.pushkey === key);
}

/** Begin. Asks for the permission to show notifications; false if it is refused. */
export async function startPushes(engine: Engine, serverKey: string, lang: string, text: boolean): Promise<boolean> {
    if ((await Notification.requestPermission()) !== "granted") return false;
    await navigator.serviceWorker.register(scriptAddress(WORKER), { updateViaCache: "none" });
    const { pushManager } = await navigator.serviceWorker.ready;
    const before = await pushManager.getSubscription();
    // A subscription is for one key: that of a server which has another one now takes nothing any more.
    if (before && base64url(before.options.applicationServerKey) !== serverKey) await before.unsubscribe();
    const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: serverKey });
    await set(engine, subscription, KIND, lang, text);
    return true;
}

/** Show the text from now on, or no more. */
export async function changePushes(engine: Engine, lang: string, text: boolean): Promise<void> {
    const subscription = await subscribed();
    if (subscription) await set(engine, subscription, KIND, lang, text);
}

export async function endPushes(engine: Engine): Promise<void> {
    const subscription = await subscribed();
    if (!subscription) return;
    await set(engine, subscription, null, "", true);
    await subscription.unsubscribe();
}
