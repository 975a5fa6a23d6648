import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Empty, IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { lazy } from "../../ui/lazy.tsx";
import { useScrolled } from "../../ui/scrolled.ts";
import { t } from "../i18n/t.ts";
import { useTitle } from "../parts/PageTitle.tsx";
import { TabBar } from "../parts/Rail.tsx";
import { go } from "../routes.ts";
import { admin as isAdmin } from "../stores/app.ts";
import { phone } from "../stores/ui.ts";
import { AuditPage } from "./admin/Audit.tsx";
import { a, admin } from "./admin/parts.tsx";
import { FederationPage } from "./admin/Federation.tsx";
import { HealthPage } from "./admin/Health.tsx";
import { MediaPage } from "./admin/Media.tsx";
import { ReportsPage } from "./admin/Reports.tsx";
import { RoomPage, RoomsPage } from "./admin/Rooms.tsx";
import { TokensPage } from "./admin/Tokens.tsx";
import { UserPage, UsersPage } from "./admin/Users.tsx";
import "../parts/asked.ts";

const SitesPage = lazy(() => import("./admin/Sites.tsx").then(({ SitesPage }) => SitesPage));

const TABS = [
    ["sites", "message-circle-more"], ["users", "users"], ["rooms", "hash"], ["reports", "flag"], ["federation", "network"], ["media", "hard-drive"], ["tokens", "ticket"], ["health", "activity"], ["audit", "history"],
] as const;
type Tab = (typeof TABS)[number][0];

/** What administrators see of the server. */
export function AdminPage({ tab, id }: { tab: string; id: string | undefined }): JSX.Element {
    const now: Tab = TABS.find(([each]) => each === tab)?.[0] ?? "users";
    const [reports, setReports] = useState(0);
    const box = useRef<HTMLDivElement>(null);
    const scrolled = useScrolled(box, `admin ${now} ${id ?? ""}`);
    useTitle(isAdmin.value ? a(now) : t("nav.admin"));
    useEffect(() => {
        if (isAdmin.value) void admin<{ total: number }>("GET", "/own/reports", undefined, { limit: 0 }).then(({ total }) => setReports(total), () => undefined);
    }, [now]);
    if (!isAdmin.value) return <main class="main"><Empty icon="lock" title={t("nav.admin")} level={1} /></main>;
    const page: Record<Tab, () => JSX.Element> = {
        sites: () => <SitesPage id={id} />,
        users: () => (id ? <UserPage id={id} key={id} /> : <UsersPage />),
        rooms: () => (id ? <RoomPage id={id} key={id} /> : <RoomsPage />),
        reports: () => <ReportsPage onTotal={setReports} />,
        federation: () => <FederationPage />,
        media: () => <MediaPage />,
        tokens: () => <TokensPage />,
        health: () => <HealthPage />,
        audit: () => <AuditPage />,
    };
    return (
        <>
            <nav class="side" aria-label={t("nav.admin")}>
                <h1>{t("nav.admin")}</h1>
                {TABS.map(([each, icon]) => [each === "media" && <hr key="rule" />,
                    <a key={each} href={`#/admin/${each}`} aria-current={now === each ? "page" : undefined}>
                        <Icon name={icon} /><span>{a(each)}</span>
                        {each === "reports" && reports > 0 && <span class="badge you">{reports}</span>}
                    </a>,
                ])}
            </nav>
            <main class="main" aria-label={a(now)}>
                <header class="bar phone-only">
                    <IconButton icon="arrow-left" flip label={t("room.back")} onClick={() => go(id ? { page: "admin", tab: now } : { page: "home" })} />
                    <select class="sel grow" aria-label={t("nav.admin")} value={now} onChange={(event) => go({ page: "admin", tab: event.currentTarget.value })}>{TABS.map(([each]) => <option key={each} value={each}>{a(each)}</option>)}</select>
                </header>
                <div class="scroll" ref={box} onScroll={scrolled} tabIndex={0}><div class="wrap w" key={`${now} ${id ?? ""}`}>{page[now]()}</div></div>
                {phone.value && <TabBar />}
            </main>
        </>
    );
}
