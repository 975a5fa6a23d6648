import type { JSX } from "preact";

export function SettingsPage({ tab }: { tab: string }): JSX.Element {
    return <main class="main" data-tab={tab} />;
}
