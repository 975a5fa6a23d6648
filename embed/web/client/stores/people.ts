// People with whom there is no room that tells of them.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Person } from "../sdk/types.ts";
import { app, the } from "./app.ts";

const known = signal<ReadonlyMap<string, Person>>(new Map());
const asked = new Set<string>();

/** Their name and picture, once the server has said; until then what their address says. */
export function usePerson(user: string): Person {
    const ready = app.value !== undefined;
    useEffect(() => {
        if (!ready || asked.has(user)) return;
        asked.add(user);
        the().commands.profile(user).then((person) => (known.value = new Map([...known.value, [user, person]])), () => asked.delete(user));
    }, [user, ready]);
    return known.value.get(user) ?? { id: user, name: user.slice(1).split(":")[0] ?? user, avatar: undefined };
}
