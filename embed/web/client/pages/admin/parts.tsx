import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Bone, Dialog, Empty, IconButton, Menu, type MenuItem } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { useKept } from "../../../ui/scrolled.ts";
import { adminEn, type AdminKey } from "../../i18n/admin.en.ts";
import { adminUk } from "../../i18n/admin.uk.ts";
import { fill, language, type Slots, t } from "../../i18n/t.ts";
import { Face, useAnchor } from "../../parts/faces.tsx";
import { ApiError } from "../../sdk/api.ts";
import { the } from "../../stores/app.ts";
import { copied } from "../Room.tsx";

/** As `t`, of the texts that come with these pages. */
export const a = (key: AdminKey, slots: Slots = {}): string => fill((language.value === "uk" ? adminUk : adminEn)[key], slots, language.value);

export const enc = encodeURIComponent;
export const admin: ReturnType<typeof the>["commands"]["admin"] = (...request) => the().commands.admin(...request);
export const sayOf = (error: unknown): string => (error instanceof ApiError && error.errcode === "NETWORK" ? t("error.network") : (error as Error).message);

/** What a request answers, asked anew when `key` changes or `again` is called. What was there stays until the answer. */
export function useAsked<T>(load: () => Promise<T>, key: unknown): { got: T | undefined; error: string; again: () => void } {
    const [got, setGot] = useState<T>();
    const [error, setError] = useState("");
    const [round, setRound] = useState(0);
    useEffect(() => {
        let current = true;
        load().then(
            (found) => {
                if (!current) return;
                setGot(found);
                setError("");
            },
            (reason: unknown) => current && setError(sayOf(reason)),
        );
        return () => void (current = false);
    }, [key, round]);
    return { got, error, again: () => setRound((n) => n + 1) };
}

/** Something typed, once it rests. */
export function useRest(value: string): string {
    const [rested, set] = useState(value);
    useEffect(() => {
        const timer = setTimeout(() => set(value), 300);
        return () => clearTimeout(timer);
    }, [value]);
    return rested;
}

/** A page's title with what can be done on it. */
export function Top({ title, text, children, up }: { title: string; text?: ComponentChildren; children?: ComponentChildren; up?: { label: string; href: string } | undefined }): JSX.Element {
    return (
        <div class="row wrapping">
            <div class={text || up ? "grow top-words" : "grow break"}>
                {up && <p class="small sub"><a class="plain-link" href={up.href}>{up.label}</a> / {title}</p>}
                <h1>{title}</h1>
                {text && <p class="mut">{text}</p>}
            </div>
            {children}
        </div>
    );
}

export function Finder({ label, value, onInput }: { label: string; value: string; onInput: (text: string) => void }): JSX.Element {
    return <label class="find finder-s"><Icon name="search" /><input type="search" value={value} placeholder={label} aria-label={label} maxLength={256} onInput={(event) => onInput(event.currentTarget.value)} /></label>;
}

/** Where one is in a long list. */
export function Pager({ from, shown, total, step, onMove }: { from: number; shown: number; total: number; step: number; onMove: (from: number) => void }): JSX.Element | null {
    if (total <= step && from === 0) return null;
    const move = (event: { currentTarget: HTMLElement }, to: number): void => {
        event.currentTarget.closest(".scroll")?.scrollTo(0, 0);
        onMove(to);
    };
    return (
        <div class="row above-s">
            <span class="small sub grow" role="status">{a("page", { from: shown ? from + 1 : 0, to: from + shown, n: total })}</span>
            <button type="button" class="btn s" disabled={from === 0} onClick={(event) => move(event, Math.max(0, from - step))}>{a("back")}</button>
            <button type="button" class="btn s" disabled={from + shown >= total} onClick={(event) => move(event, from + step)}>{a("next")}</button>
        </div>
    );
}

/** What a list shows and where one is in it, found again by whoever comes back. A choice begins at the first page. */
export function useList<T extends object>(name: string, first: T): { chosen: T; from: number; choose: (some: Partial<T>) => void; move: (from: number) => void } {
    const [chosen, set] = useKept(`admin ${name}`, first);
    const [from, move] = useKept(`admin ${name} from`, 0);
    const choose = (some: Partial<T>): void => {
        set({ ...chosen, ...some });
        move(0);
    };
    return { chosen, from, choose, move };
}

/** In which order a list comes, as the server names it. */
export interface Order { by: string; back: boolean }
/** What stands above a column, whether it holds numbers, and the order it gives; `down`: from the largest first. */
interface Named { label: ComponentChildren; n?: boolean; by?: string; down?: boolean }
export type Column = JSX.Element | string | Named;
const named = (column: Column): Named => (typeof column === "object" && "label" in column ? column : { label: column });

function Head({ column: { label, n, by, down = false }, order, onOrder }: { column: Named; order?: Order | undefined; onOrder?: ((order: Order) => void) | undefined }): JSX.Element {
    const now = by !== undefined && order?.by === by;
    const falls = now && down !== order.back;
    return (
        <th class={n ? "n" : undefined} aria-sort={now ? (falls ? "descending" : "ascending") : undefined}>
            {by && onOrder ? <button type="button" class="row small-gap" onClick={() => onOrder({ by, back: now && !order.back })}>{label}{now && <Icon name={falls ? "arrow-down" : "arrow-up"} size=".875rem" />}</button> : label}
        </th>
    );
}

/** What can be done with a row. */
export function RowMenu({ name, items }: { name: string; items: (MenuItem | null)[] }): JSX.Element {
    const [at, open, close] = useAnchor();
    return (
        <>
            <IconButton icon="ellipsis" label={a("actions", { name })} aria-haspopup="menu" onClick={open} />
            {at && <Menu label={name} at={at} onClose={close} items={items} />}
        </>
    );
}

interface TableProps { head: readonly Column[]; rows: readonly JSX.Element[]; error: string; again: () => void; none: JSX.Element; busy: boolean; order?: Order; onOrder?: (order: Order) => void }

/** The head of a table, its rows, and what is there while it has none. */
export function Table({ head, rows, error, again, none, busy, order, onOrder }: TableProps): JSX.Element {
    if (error) {
        return <Empty icon="cloud-off" title={t("error.failed")} text={error} bad><button type="button" class="btn" onClick={again}>{t("error.again")}</button></Empty>;
    }
    if (busy) {
        return <div class="card" aria-busy="true" role="status" aria-label={t("loading")}>{[1, 2, 3, 4, 5].map((each) => <div class="set" key={each}><Bone w="2rem" h="2rem" round="50%" /><span class="grow"><Bone w={`${70 - each * 8}%`} h=".875rem" /></span></div>)}</div>;
    }
    if (rows.length === 0) return none;
    return (
        <div class="card tb-wrap" tabIndex={0} role="group" aria-label={t("nav.admin")}>
            <table class="tb">
                <thead><tr>{head.map((each, at) => <Head key={at} column={named(each)} order={order} onOrder={onOrder} />)}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    );
}

export function PersonCell({ id, name, avatar, href }: { id: string; name: string | null | undefined; avatar?: string | null; href: string }): JSX.Element {
    return (
        <a class="row cell" href={href}>
            <Face person={{ id, name: name || id.slice(1).split(":")[0] || id, avatar: avatar ?? undefined }} />
            <span class="grow"><b>{name || id.slice(1).split(":")[0]}</b><small class="sub block">{id}</small></span>
        </a>
    );
}

/** A setting, or whatever else is a row of a section. */
export function Set({ title, text, children, icon }: { title: ComponentChildren; text?: ComponentChildren; children?: ComponentChildren; icon?: string }): JSX.Element {
    return <div class="set">{icon && <Icon name={icon} />}<span class="grow"><b>{title}</b>{text && <small>{text}</small>}</span>{children}</div>;
}

export function Section({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
    return <section aria-label={title}><h2 class="h3 part-title">{title}</h2><div class="card">{children}</div></section>;
}

/** Something that is shown once. */
export function Once({ title, text, value, onClose }: { title: string; text: string; value: string; onClose: () => void }): JSX.Element {
    return (
        <Dialog title={title} onClose={onClose} footer={<button type="button" class="btn go" onClick={onClose}>{t("close")}</button>}>
            <div class="in-dlg stack">
                <p class="mut">{text}</p>
                <div class="row"><code class="grow mono-s secret" tabIndex={0}>{value}</code><IconButton icon="copy" label={a("site.copy")} onClick={() => copied(value)} /></div>
            </div>
        </Dialog>
    );
}

export const hrefOf = (tab: string, id?: string): string => `#/admin/${tab}${id ? `/${enc(id)}` : ""}`;

/** 1 m 40 s */
export function span(ms: number): string {
    const units: [number, string][] = [[86_400_000, "day"], [3_600_000, "hour"], [60_000, "minute"], [1_000, "second"]];
    const parts: string[] = [];
    let rest = ms;
    for (const [length, unit] of units) {
        const n = Math.floor(rest / length);
        if (n > 0 && parts.length < 2) parts.push(new Intl.NumberFormat(language.value, { style: "unit", unit, unitDisplay: "narrow" }).format(n));
        if (parts.length === 0 && unit === "second") parts.push(new Intl.NumberFormat(language.value, { style: "unit", unit, unitDisplay: "narrow" }).format(0));
        rest %= length;
    }
    return parts.join(" ");
}
