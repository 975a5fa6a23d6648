// The rooms that one has in common with somebody.

import { useEffect, useState } from "preact/hooks";
import { roomsWith } from "../sdk/profile.ts";
import { me, rooms, the } from "../stores/app.ts";

/** Their names; direct chats and spaces are not among them. */
export function useCommon(user: string | undefined): readonly string[] {
    const [ids, setIds] = useState<readonly string[]>([]);
    useEffect(() => {
        let current = true;
        setIds([]);
        if (user && user !== me.value.id) void roomsWith(the().engine, user).then((found) => current && setIds(found));
        return () => void (current = false);
    }, [user]);
    return ids.flatMap((id) => {
        const row = rooms.value.get(id);
        return row?.kind === "room" && row.membership === "join" ? [row.name] : [];
    });
}
