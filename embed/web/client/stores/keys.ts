// The keyboard map (webclient.md 8).

import { go, openRoom, panel, route } from "../routes.ts";
import { openRoomById } from "./app.ts";
import { neighbour } from "./list.ts";
import { viewOf } from "./room.ts";
import { keysHelp, switcher } from "./ui.ts";

const REGIONS = [".rail [tabindex='0']", ".list a[tabindex='0']", ".head button", "[role=log] .b[tabindex='0']", ".cmp textarea", ".panel button"];

function nextRegion(back: boolean): void {
    const present = REGIONS.map((selector) => document.querySelector<HTMLElement>(selector)).filter((each) => each !== null && each.offsetParent !== null) as HTMLElement[];
    const region = (element: Element | null): Element | null => element?.closest(".rail, .list, .head, [role=log], .cmp, .panel") ?? null;
    const now = present.findIndex((each) => region(each) === region(document.activeElement) && region(each) !== null);
    present[(now + (back ? -1 : 1) + present.length) % present.length]?.focus();
}

const typing = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);

export function listenForKeys(): void {
    addEventListener("keydown", (event) => {
        const command = event.ctrlKey || event.metaKey;
        const { key } = event;
        const done = (run: () => void): void => {
            event.preventDefault();
            run();
        };
        if (command && key.toLowerCase() === "k" && !event.shiftKey) done(() => (switcher.value = !switcher.value));
        else if (command && key === ",") done(() => go({ page: "settings", tab: "profile" }));
        else if (event.altKey && (key === "ArrowDown" || key === "ArrowUp")) {
            const next = neighbour(openRoom.value, key === "ArrowDown" ? 1 : -1, event.shiftKey);
            if (next) done(() => openRoomById(next.id));
        } else if (key === "F6") done(() => nextRegion(event.shiftKey));
        else if (key === "Escape" && !event.defaultPrevented && !event.isComposing && route.value.page === "room" && !document.querySelector("dialog[open]")) {
            const { room, panel: open } = route.value;
            done(() => (open ? panel(undefined) : void viewOf(room).readAll()));
        } else if (key === "?" && !typing(event.target) && !command) done(() => (keysHelp.value = true));
        else if (command && key.toLowerCase() === "f" && !event.shiftKey && route.value.page === "room" && !document.querySelector(".search-page")) {
            const room = route.value.room;
            done(() => go({ page: "search", query: "", room }));
        }
    });
}
