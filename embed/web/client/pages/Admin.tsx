import type { JSX } from "preact";

export function AdminPage({ tab }: { tab: string }): JSX.Element {
    return <main class="main" data-tab={tab} />;
}
