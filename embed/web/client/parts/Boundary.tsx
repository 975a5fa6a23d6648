import { Component, type ComponentChildren } from "preact";
import { Empty } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { UNLOADED } from "../../ui/lazy.tsx";
import { t } from "../i18n/t.ts";
import { loadAgain } from "../stores/app.ts";

interface Props {
    children: ComponentChildren;
    pane: string;
    /** What is shown in the pane: with another one it is tried anew. */
    of?: string;
}

/** A pane that broke does not take the others with it; drafts and unsent messages are on disk. */
export class Boundary extends Component<Props, { error: Error | undefined }> {
    override state = { error: undefined as Error | undefined };
    static override getDerivedStateFromError(error: Error): { error: Error } {
        return { error };
    }
    override componentDidCatch(error: Error): void {
        console.error(error);
    }
    override componentDidUpdate(before: Props): void {
        if (before.of !== this.props.of && this.state.error) this.setState({ error: undefined });
    }
    override render(): ComponentChildren {
        const { error } = this.state;
        if (!error) return this.props.children;
        const details = `${error.name}: ${error.message} · ${this.props.pane} · build ${BUILD}`;
        const Tag = this.props.pane === "main" ? "main" : "section";
        return (
            <Tag class={this.props.pane} aria-label={t("crash.title")}>
                <Empty icon="unplug" title={t("crash.title")} text={t("crash.text")} bad>
                    <button type="button" class="btn go" onClick={() => (error.name === UNLOADED ? loadAgain() : this.setState({ error: undefined }))}>{t("error.again")}</button>
                    <button type="button" class="btn" onClick={() => void navigator.clipboard.writeText(`${details}\n${error.stack ?? ""}`)}><Icon name="copy" />{t("crash.copy")}</button>
                    <details class="small sub"><summary>{t("crash.details")}</summary><code>{details}</code></details>
                </Empty>
            </Tag>
        );
    }
}
