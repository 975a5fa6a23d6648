import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import type { Person } from "../sdk/types.ts";
import { me, rooms, the } from "../stores/app.ts";
import { score } from "../stores/score.ts";
import { useCommon } from "./common.ts";
import { Face } from "./faces.tsx";
import "./asked.ts";

const ID = /^@[^\s:]+:[^\s]+$/;

/** Choose people by name or address. */
export function PeoplePicker({ chosen, onChange, label }: { chosen: readonly Person[]; onChange: (people: readonly Person[]) => void; label: string }): JSX.Element {
    const [term, setTerm] = useState("");
    const [found, setFound] = useState<readonly Person[]>([]);
    const [at, move] = useState(0);
    // Asked of one at a time: the one that Enter takes.
    const common = useCommon(found[at]?.id).length;
    useEffect(() => {
        move(0);
        const wanted = term.trim();
        const known: Person[] = [...rooms.value.values()]
            .filter((row) => row.person !== undefined && (wanted === "" || score(row.name, wanted) > 0))
            .map((row) => ({ id: row.person ?? "", name: row.name, avatar: row.avatar }));
        const show = (list: readonly Person[]): void => {
            const seen = new Set([me.value.id, ...chosen.map(({ id }) => id)]);
            setFound(list.filter(({ id }) => !seen.has(id) && seen.add(id)).slice(0, 8));
        };
        show(known);
        if (!wanted) return undefined;
        let current = true;
        const timer = setTimeout(() => {
            const exact = ID.test(wanted) ? the().commands.profile(wanted).catch(() => ({ id: wanted, name: wanted.slice(1).split(":")[0] ?? wanted, avatar: undefined })) : Promise.resolve(undefined);
            void Promise.all([exact, the().commands.findPeople(wanted).catch(() => [])]).then(([one, many]) => {
                if (current) show([...(one ? [one] : []), ...known, ...many]);
            });
        }, 200);
        return () => {
            current = false;
            clearTimeout(timer);
        };
    }, [term, chosen]);
    const take = (person: Person | undefined): void => {
        if (!person) return;
        onChange([...chosen, person]);
        setTerm("");
    };
    return (
        <div class="stack">
            <label class="field">
                <span class="legend">{label}</span>
                <span class="in many">
                    {chosen.map((person) => (
                        <span class="chip info" key={person.id}>
                            <Face person={person} size="1.25rem" />{person.name}
                            <button type="button" aria-label={t("people.remove", { name: person.name })} onClick={() => onChange(chosen.filter(({ id }) => id !== person.id))}><Icon name="x" /></button>
                        </span>
                    ))}
                    <input
                        value={term} autofocus role="combobox" aria-expanded={found.length > 0} aria-controls="people-found" aria-autocomplete="list" autocomplete="off" autocapitalize="none" spellcheck={false}
                        placeholder={chosen.length ? "" : t("people.placeholder")} aria-label={t("people.placeholder")} onInput={(event) => setTerm(event.currentTarget.value)}
                        onKeyDown={(event) => {
                            if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                                event.preventDefault();
                                move((at + (event.key === "ArrowDown" ? 1 : -1) + found.length) % Math.max(1, found.length));
                            } else if (event.key === "Enter" && term.trim()) {
                                event.preventDefault();
                                take(found[at]);
                            } else if (event.key === "Backspace" && !term) onChange(chosen.slice(0, -1));
                        }}
                    />
                </span>
            </label>
            <div class="menu inline" role="listbox" id="people-found" aria-label={t("people.label")}>
                {found.map((person, index) => (
                    <button key={person.id} type="button" role="option" aria-selected={index === at} onClick={() => take(person)}>
                        <Face person={person} size="2.125rem" />
                        <span class="grow cut">{person.name}<small class="sub block cut">{index === at && common > 0 ? `${person.id} · ${t("person.common", { n: common })}` : person.id}</small></span>
                    </button>
                ))}
            </div>
        </div>
    );
}
