import type { JSX } from "preact";
import { Bone } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";

const WIDTHS = ["62%", "48%", "70%", "55%", "66%", "40%", "58%", "50%"];

export function ListSkeleton(): JSX.Element {
    return (
        <div class="scroll" aria-busy="true" aria-label={t("list.loading")} role="status">
            {WIDTHS.map((width) => (
                <div class="rm" key={width}>
                    <span class="bone face" />
                    <Bone w={width} h=".8125rem" />
                    <span />
                    <Bone w="82%" h=".6875rem" />
                    <span />
                </div>
            ))}
        </div>
    );
}

export function TimelineSkeleton(): JSX.Element {
    return (
        <div class="tl" aria-busy="true">
            <div class="col" role="status" aria-label={t("timeline.loading")}>
                {[["5rem", "46%"], ["2.4rem", "62%"], ["2.4rem", "38%"]].map(([h, w]) => (
                    <div class="msg first" key={w}>
                        <span class="bone face small" />
                        <div class="b">
                            <Bone w="6rem" h=".75rem" />
                            <Bone w={w ?? ""} h={h ?? ""} round="1.125rem" />
                        </div>
                    </div>
                ))}
                {[["2.4rem", "34%"], ["3.8rem", "52%"]].map(([h, w]) => (
                    <div class="msg own first" key={w}>
                        <div class="b"><Bone w={w ?? ""} h={h ?? ""} round="1.125rem" /></div>
                    </div>
                ))}
            </div>
        </div>
    );
}

/** The client in its real sizes, before its code is there. */
export function Skeleton(): JSX.Element {
    return (
        <div class="app" data-pane="list">
            <nav class="rail"><img class="mark" src="/assets/logo.svg" alt="Hromada" /></nav>
            <div class="list">
                <div class="top">
                    <div class="row"><h1>{t("list.title")}</h1></div>
                    <Bone w="100%" h="2.25rem" round=".625rem" />
                </div>
                <ListSkeleton />
            </div>
            <main class="main"><TimelineSkeleton /></main>
        </div>
    );
}
