// The service worker. It shows what the server pushes while no page of the client is in sight, and touches no request.
// What comes is written by homeserver/services/push/webpush.py.

interface Pushed {
    room: string;
    event: string;
    unread: number;
    lang: string;
    sender?: string;
    name?: string;
    text?: string;
    invited?: boolean;
}
interface Page {
    url: string;
    visibilityState: string;
    focus(): Promise<Page>;
    navigate(url: string): Promise<Page | null>;
}
interface Waiting extends Event {
    waitUntil(done: Promise<unknown>): void;
}
interface Scope {
    registration: ServiceWorkerRegistration;
    clients: { matchAll(options: object): Promise<Page[]>; openWindow(url: string): Promise<unknown>; claim(): Promise<void> };
    skipWaiting(): Promise<void>;
    addEventListener(type: string, listener: (event: never) => void): void;
}

const scope = self as unknown as Scope;
const pages = (): Promise<Page[]> => scope.clients.matchAll({ type: "window", includeUncontrolled: true });

type Words = [message: string, sealed: string, invited: string];
const ENGLISH: Words = ["New message", "Encrypted message", "invites you"];
const WORDS: Record<string, Words> = { uk: ["Нове повідомлення", "Зашифроване повідомлення", "запрошує вас"] };

async function show(pushed: Pushed): Promise<void> {
    // Who looks at the client is told by the client.
    if ((await pages()).some((page) => page.visibilityState === "visible")) return;
    const [message, sealed, invited] = WORDS[pushed.lang.slice(0, 2)] ?? ENGLISH;
    const where = pushed.name && pushed.name !== pushed.sender ? ` · ${pushed.name}` : "";
    await scope.registration.showNotification(pushed.sender ? pushed.sender + where : message, {
        // The same as of the client's own: what is newer takes the place of what is older, of the same room.
        tag: pushed.room,
        body: pushed.invited ? invited : (pushed.text ?? (pushed.sender ? sealed : "")),
        icon: "/assets/logo.svg",
        data: pushed.room,
    });
    const badge = navigator as { setAppBadge?: (count: number) => Promise<void> };
    await badge.setAppBadge?.(pushed.unread).catch(() => undefined);
}

async function open(room: string): Promise<void> {
    const target = `/#/room/${encodeURIComponent(room)}`;
    const page = (await pages()).find((each) => new URL(each.url).pathname === "/");
    if (!page) return void (await scope.clients.openWindow(target));
    await page.focus();
    await page.navigate(target);
}

scope.addEventListener("push", (event: Waiting & { data?: { json(): Pushed } }) => {
    const pushed = event.data?.json();
    if (pushed) event.waitUntil(show(pushed));
});
scope.addEventListener("notificationclick", (event: Waiting & { notification: Notification }) => {
    event.notification.close();
    event.waitUntil(open(String(event.notification.data)));
});
scope.addEventListener("install", (event: Waiting) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener("activate", (event: Waiting) => event.waitUntil(scope.clients.claim()));

export {};
