// The first script: language, theme, and either the sign-in page or the client, whose code comes meanwhile.

import { render } from "preact";
import { preferred, speak } from "./i18n/t.ts";
import { Skeleton } from "./parts/Skeleton.tsx";
import { parse, route } from "./routes.ts";
import { endedUser, stored, type Session } from "./sdk/session.ts";
import { applySettings } from "./stores/settings.ts";

const root = document.getElementById("app") as HTMLElement;

async function boot(): Promise<void> {
    applySettings();
    await speak(preferred());
    // Single sign-on comes back with its token in the query; it goes on in the fragment, out of logs and history.
    const token = new URLSearchParams(location.search).get("loginToken");
    if (token) {
        history.replaceState(null, "", `${location.pathname}#/sso?loginToken=${encodeURIComponent(token)}`);
        route.value = parse(location.hash);
    }
    const session = await stored();
    if (session) await enter(session);
    else await signIn(await endedUser());
}

async function signIn(user: string | undefined): Promise<void> {
    const { SignIn } = await import("./pages/SignIn.tsx");
    const reason = user === undefined ? undefined : "ended";
    render(<SignIn reason={reason} user={user} onSession={(session, fresh) => void enter(session, fresh)} />, root);
}

async function enter(session: Session, fresh?: "login" | "register"): Promise<void> {
    render(<Skeleton />, root);
    const { start } = await import("./main.tsx");
    await start(root, session, fresh);
}

// What is older keeps the page that says so.
if (CSS.supports("color", "light-dark(red, red)") && "withResolvers" in Promise && "popover" in root) {
    root.replaceChildren();
    void boot();
} else root.firstElementChild?.classList.remove("outdated");
