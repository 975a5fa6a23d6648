import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { thumbnail } from "../sdk/media.ts";
import type { Person, RoomRow } from "../sdk/types.ts";
import { Avatar } from "../../ui/Avatar.tsx";

export const Face = ({ person, size, back, online }: { person: Person; size?: string; back?: string; online?: boolean }): JSX.Element => (
    <Avatar id={person.id} name={person.name} src={thumbnail(person.avatar, 96)} {...(size && { size })} {...(back && { back })} {...(online && { online })} />
);

type Drawn = Pick<RoomRow, "id" | "name" | "avatar" | "kind" | "person"> & { faces?: RoomRow["faces"] };

export function RoomFace({ row, size, online }: { row: Drawn; size?: string; online?: boolean }): JSX.Element {
    const [one, other] = row.avatar ? [] : (row.faces ?? []);
    if (one && other) return <span class="duo" style={size ? { "--z": size } : undefined} aria-hidden="true"><Face person={one} /><Face person={other} /></span>;
    return <Avatar id={row.person ?? row.id} name={row.name} src={thumbnail(row.avatar, 96)} square={row.kind !== "dm"} {...(size && { size })} {...(online && { online })} />;
}

export function BadgeView({ count, mention, dot, dm }: { count: number; mention: boolean; dot: boolean; dm?: boolean }): JSX.Element | null {
    if (mention && !dm) {
        return <><span class="badge you">@</span>{count > 1 && <span class="badge">{count > 999 ? "999+" : count}</span>}</>;
    }
    if (count > 0) return <span class={mention ? "badge you" : "badge"}>{count > 999 ? "999+" : count}</span>;
    return dot ? <span class="dot" /> : null;
}

/** State of a pop-up that opens at an element. */
export function useAnchor(): [DOMRect | undefined, (event: { currentTarget: EventTarget | null }) => void, () => void] {
    const [at, set] = useState<DOMRect>();
    return [at, (event) => set((event.currentTarget as Element).getBoundingClientRect()), () => set(undefined)];
}
