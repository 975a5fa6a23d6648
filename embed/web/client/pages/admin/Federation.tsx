import type { JSX } from "preact";
import { Empty } from "../../../ui/controls.tsx";
import { the } from "../../stores/app.ts";
import { a, Top } from "./parts.tsx";

/** Whom the server talks to: nobody yet, which is said rather than left out. */
export const FederationPage = (): JSX.Element => (
    <>
        <Top title={a("federation")} text={a("federation.text")} />
        <Empty icon="unplug" title={a("federation.none")} text={a("federation.none-text", { name: the().commands.serverName })} />
    </>
);
