import type { JSX } from "preact";

export function ConfirmPage({ page }: { page: string }): JSX.Element {
    return <main class="main" data-page={page} />;
}
