import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Empty, Field, IconButton, type MenuItem, Switch } from "../../../ui/controls.tsx";
import { Icon } from "../../../ui/Icon.tsx";
import { t } from "../../i18n/t.ts";
import { Face } from "../../parts/faces.tsx";
import { full, short, size } from "../../render/dates.ts";
import { shareLink } from "../../routes.ts";
import { ApiError } from "../../sdk/api.ts";
import { attempt, me, the, writeTo } from "../../stores/app.ts";
import { question } from "../../stores/ui.ts";
import { copied } from "../Room.tsx";
import { a, admin, enc, Finder, hrefOf, Once, type Order, Pager, PersonCell, RowMenu, sayOf, Table, Top, useAsked, useList, useRest } from "./parts.tsx";
import "../../parts/asked.ts";

interface Threepid { medium: string; address: string }
export interface Account {
    name: string;
    displayname: string | null;
    avatar_url: string | null;
    is_guest: boolean;
    admin: boolean;
    deactivated: boolean;
    locked: boolean;
    suspended: boolean;
    creation_ts: number;
    last_seen_ts: number | null;
    appservice_id?: string | null;
    /** Of an account by itself, not in lists. */
    threepids?: Threepid[];
    "chat.hromada.site_id": string | null;
    "chat.hromada.devices"?: number;
    "chat.hromada.media_length"?: number;
}

const STEP = 50;
const KINDS = ["all", "admins", "visitors", "suspended"] as const;
type Kind = (typeof KINDS)[number];
const QUERY: Record<Kind, Record<string, boolean>> = {
    all: { guests: false, locked: true }, admins: { admins: true, locked: true },
    visitors: { "chat.hromada.visitors": true, locked: true }, suspended: { "chat.hromada.suspended": true, locked: true },
};

const roleOf = (user: Account): string =>
    a(user.admin ? "user.admin" : user["chat.hromada.site_id"] ? "user.visitor" : user.is_guest ? "user.guest" : user.appservice_id ? "user.bot" : "user.user");

export function StateChip({ user }: { user: Account }): JSX.Element {
    const [kind, key] = user.deactivated ? ["", "user.closed"] as const : user.locked ? ["bad", "user.locked"] as const : user.suspended ? ["bad", "user.suspended"] as const : ["ok", "user.active"] as const;
    return <span class={`chip ${kind}`}>{a(key)}</span>;
}

export function UsersPage(): JSX.Element {
    const { chosen: { term, kind, order }, from, choose: look, move } = useList<{ term: string; kind: Kind; order: Order }>("users", { term: "", kind: "all", order: { by: "name", back: false } });
    const [making, setMaking] = useState(false);
    const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
    const name = useRest(term.trim());
    const { got, error, again } = useAsked(
        () => admin<{ users: Account[]; total: number }>("GET", "/v2/users", undefined, { ...QUERY[kind], order_by: order.by, dir: (order.by === "name") !== order.back ? "f" : "b", from, limit: STEP, ...(name && { name }) }),
        `${kind} ${order.by} ${order.back} ${from} ${name}`,
    );
    const counts = useAsked(
        () => Promise.all(KINDS.map((each) => admin<{ total: number }>("GET", "/v2/users", undefined, { ...QUERY[each], limit: 0 }).then(({ total }) => total))), "",
    );
    const toggle = (id: string, on: boolean): void => {
        const next = new Set(chosen);
        if (on) next.add(id);
        else next.delete(id);
        choose(next);
    };
    const each = async (run: (id: string) => Promise<unknown>): Promise<void> => {
        for (const id of chosen) if ((await attempt(() => run(id))) === undefined) break;
        choose(new Set());
        done();
    };
    const done = (): void => (again(), counts.again());
    const menu = (user: Account): (MenuItem | null)[] => [
        ...(user.name === me.value.id || user.deactivated ? [] : [{ icon: "message-square-text", label: t("person.write"), run: () => writeTo(user.name) }]),
        { icon: "link", label: t("message.link"), run: () => copied(shareLink(user.name)) },
        ...(user.name === me.value.id || user.deactivated ? [] : [
            { icon: user.suspended ? "circle-check" : "pause", label: a(user.suspended ? "user.unsuspend" : "user.suspend-now"), run: () => void attempt(() => admin("PUT", `/v1/suspend/${enc(user.name)}`, { suspend: !user.suspended })).then(done) },
            { icon: "log-out", label: a("user.devices-end"), run: () => void attempt(() => endAll(user.name)).then(done) },
            null,
            { icon: "user-x", label: a("user.close"), bad: true, run: () => (question.value = { title: a("user.close"), text: `${user.name}. ${a("user.close-text")}`, yes: a("user.close"), bad: true, run: () => void attempt(() => admin("POST", `/v1/deactivate/${enc(user.name)}`, { erase: false })).then(done) }) },
        ]),
    ];
    const open = (got?.users ?? []).filter((user) => user.name !== me.value.id && !user.deactivated).map((user) => user.name);
    const all = (on: boolean): void => choose(new Set(on ? [...chosen, ...open] : [...chosen].filter((id) => !open.includes(id))));
    const rows = (got?.users ?? []).map((user) => (
        <tr key={user.name}>
            <td><input type="checkbox" class="chk" aria-label={a("users.select", { name: user.displayname || user.name })} checked={chosen.has(user.name)} disabled={user.name === me.value.id || user.deactivated} onChange={(event) => toggle(user.name, event.currentTarget.checked)} /></td>
            <td><PersonCell id={user.name} name={user.displayname} avatar={user.avatar_url} href={hrefOf("users", user.name)} /></td>
            <td>{roleOf(user)}</td>
            <td><StateChip user={user} /></td>
            <td class="n">{user["chat.hromada.devices"]?.toLocaleString()}</td>
            <td class="n">{user["chat.hromada.media_length"] ? size(user["chat.hromada.media_length"]) : "0"}</td>
            <td class="sub">{short(user.creation_ts)}</td>
            <td class="sub">{user.last_seen_ts ? short(user.last_seen_ts) : "–"}</td>
            <td><RowMenu name={user.displayname || user.name} items={menu(user)} /></td>
        </tr>
    ));
    return (
        <>
            <Top title={a("users")}><button type="button" class="btn go" onClick={() => setMaking(true)}><Icon name="user-plus" />{a("user.new")}</button></Top>
            <div class="row wrapping tools">
                <Finder label={a("users.search")} value={term} onInput={(text) => look({ term: text })} />
                <div class="pills" role="group" aria-label={t("list.filter")}>
                    {KINDS.map((one, at) => <button key={one} type="button" class="pill" aria-pressed={kind === one} onClick={() => look({ kind: one })}>{a(`users.${one}`)} {counts.got && <span class="num">{counts.got[at]?.toLocaleString()}</span>}</button>)}
                </div>
            </div>
            <Table order={order} onOrder={(by) => look({ order: by })} head={[<input type="checkbox" class="chk" key="v" aria-label={a("users.select-all")} checked={open.length > 0 && open.every((id) => chosen.has(id))} disabled={open.length === 0} onChange={(event) => all(event.currentTarget.checked)} />, { label: a("user.person"), by: "name" }, a("user.role"), a("user.state"), { label: a("user.devices"), n: true }, { label: a("media"), n: true }, { label: a("user.created"), by: "creation_ts", down: true }, { label: a("user.seen"), by: "last_seen_ts", down: true }, <span class="vh" key="m">{a("row.actions")}</span>]} rows={rows} error={error} again={again} busy={!got}
                none={<Empty icon="users" title={a("none")} />} />
            <Pager from={from} shown={got?.users.length ?? 0} total={got?.total ?? 0} step={STEP} onMove={move} />
            {chosen.size > 0 && (
                <div class="toast" role="status">
                    <span>{a("users.selected", { n: chosen.size })}</span>
                    <button type="button" onClick={() => void each((id) => admin("PUT", `/v1/suspend/${enc(id)}`, { suspend: true }))}>{a("user.suspend-now")}</button>
                    <button type="button" onClick={() => void each(endAll)}>{a("user.devices-end")}</button>
                    <button type="button" onClick={() => choose(new Set())}>{a("users.clear")}</button>
                </div>
            )}
            {making && <NewUser onClose={() => setMaking(false)} onMade={done} />}
        </>
    );
}

interface Devices { devices: { device_id: string; display_name: string | null; last_seen_ip: string | null; last_seen_ts: number | null }[] }

async function endAll(id: string): Promise<void> {
    const { devices } = await admin<Devices>("GET", `/v2/users/${enc(id)}/devices`);
    await admin("POST", `/v2/users/${enc(id)}/delete_devices`, { devices: devices.map(({ device_id }) => device_id) });
}

const SIGNS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789";
const newPassword = (): string => Array.from(crypto.getRandomValues(new Uint8Array(18)), (byte) => SIGNS[byte % SIGNS.length]).join("");

function NewUser({ onClose, onMade }: { onClose: () => void; onMade: () => void }): JSX.Element {
    const [name, setName] = useState("");
    const [display, setDisplay] = useState("");
    const [isAdmin, setAdmin] = useState(false);
    const [password, setPassword] = useState("");
    const [error, setError] = useState("");
    const [done, setDone] = useState(false);
    const make = async (event: Event): Promise<void> => {
        event.preventDefault();
        const localpart = name.trim().toLowerCase(), made = password || newPassword();
        try {
            await admin("GET", "/v1/username_available", undefined, { username: localpart });
            await admin("PUT", `/v2/users/${enc(`@${localpart}:${the().commands.serverName}`)}`, { password: made, ...(display.trim() && { displayname: display.trim() }), admin: isAdmin });
            setPassword(made);
            setDone(true);
            onMade();
        } catch (reason) {
            setError(reason instanceof ApiError && reason.errcode === "M_USER_IN_USE" ? a("user.exists") : sayOf(reason));
        }
    };
    if (done) return <Once title={a("user.made", { name })} text={a("user.password-copy")} value={password} onClose={onClose} />;
    return (
        <Dialog title={a("user.new")} onClose={onClose} footer={<><button type="button" class="btn" onClick={onClose}>{t("cancel")}</button><button type="submit" form="new-user" class="btn go">{t("add")}</button></>}>
            <form id="new-user" class="in-dlg stack" onSubmit={(event) => void make(event)}>
                <Field label={a("user.name")} value={name} required autofocus autocapitalize="none" spellcheck={false} maxLength={200} error={error || undefined} hint={`@${name.trim().toLowerCase() || "…"}:${the().commands.serverName}`} onInput={(event) => setName(event.currentTarget.value)} />
                <Field label={a("user.display")} value={display} maxLength={256} onInput={(event) => setDisplay(event.currentTarget.value)} />
                <Field label={a("user.password")} value={password} autocomplete="off" placeholder={a("token.own-hint")} onInput={(event) => setPassword(event.currentTarget.value)} />
                <div class="set bare"><span class="grow"><b>{a("user.admin-on")}</b><small>{a("user.admin-on-text")}</small></span><Switch checked={isAdmin} label={a("user.admin-on")} onChange={setAdmin} /></div>
            </form>
        </Dialog>
    );
}

interface Upload { media_id: string; media_type: string | null; media_length: number | null; upload_name: string | null; created_ts: number; quarantined_by: string | null }

const UPLOADS = 20;

/** All that can be known and done about one account. */
export function UserPage({ id }: { id: string }): JSX.Element {
    const path = `/v2/users/${enc(id)}`;
    const { got: user, error, again } = useAsked(() => admin<Account>("GET", path), id);
    const devices = useAsked(() => admin<Devices>("GET", `${path}/devices`), id);
    const rooms = useAsked(() => admin<{ joined_rooms: string[] }>("GET", `/v1/users/${enc(id)}/joined_rooms`), id);
    const [from, setFrom] = useState(0);
    const media = useAsked(() => admin<{ media: Upload[]; total: number }>("GET", `/v1/users/${enc(id)}/media`, undefined, { from, limit: UPLOADS }), `${id} ${from}`);
    const [once, setOnce] = useState("");
    const [erase, setErase] = useState(false);
    const [closing, setClosing] = useState(false);
    const up = { label: a("users"), href: "#/admin/users" };
    if (!user) return <><Top title={id} up={up} />{error && <Empty icon="user-x" title={error} />}</>;
    const name = user.displayname || (id.slice(1).split(":")[0] ?? id);
    const self = id === me.value.id;
    const set = (change: Record<string, unknown>): void => void attempt(() => admin("PUT", path, change)).then(again);
    const flag = (key: "admin" | "locked" | "suspended", title: string, text: string): JSX.Element => (
        <div class="set"><span class="grow"><b>{title}</b><small>{text}</small></span><Switch checked={user[key]} label={title} disabled={self || user.deactivated} onChange={(on) => set({ [key]: on })} /></div>
    );
    const reset = (): void => {
        question.value = {
            title: a("user.reset"), text: a("user.reset-out"), yes: a("user.reset"),
            run: () => {
                const made = newPassword();
                void attempt(() => admin("POST", `/v1/reset_password/${enc(id)}`, { new_password: made, logout_devices: true })).then((done) => {
                    if (!done) return;
                    setOnce(made);
                    devices.again();
                });
            },
        };
    };
    const close = async (): Promise<void> => {
        setClosing(false);
        if (await attempt(() => admin("POST", `/v1/deactivate/${enc(id)}`, { erase }))) for (const part of [again, devices.again, rooms.again]) part();
    };
    return (
        <>
            <Top title={name} up={up} text={<><span class="mono-s">{id}</span> · {roleOf(user)}</>}><StateChip user={user} /></Top>
            <div class="row gap above-s"><Face person={{ id, name, avatar: user.avatar_url ?? undefined }} size="4rem" /><span class="small mut">{a("user.created")}: {full(user.creation_ts * 1000)}<br />{a("user.seen")}: {user.last_seen_ts ? full(user.last_seen_ts) : "–"}</span></div>
            {self && <div class="note above-s"><Icon name="info" /><span>{a("user.self")}</span></div>}
            <Addresses list={user.threepids ?? []} onRemove={(threepids) => set({ threepids })} />
            <div class="sect"><div class="card">
                {flag("suspended", a("user.suspend"), a("user.suspend-text"))}
                {flag("locked", a("user.lock"), a("user.lock-text"))}
                {!user.is_guest && flag("admin", a("user.admin-on"), a("user.admin-on-text"))}
                {!user.is_guest && <div class="set"><span class="grow"><b>{a("user.password")}</b></span><button type="button" class="btn s" disabled={user.deactivated} onClick={reset}>{a("user.reset")}</button></div>}
                <div class="set"><span class="grow"><b>{a("user.close")}</b><small>{a("user.close-text")}</small></span><button type="button" class="btn s bad" disabled={self || user.deactivated} onClick={() => setClosing(true)}>{a("user.close")}</button></div>
            </div></div>
            <section class="sect" aria-label={a("user.devices")}><div class="row"><h2 class="h3 grow">{a("user.devices")}</h2>{(devices.got?.devices.length ?? 0) > 0 && <button type="button" class="btn s" onClick={() => void attempt(() => endAll(id)).then(devices.again)}>{a("user.devices-end")}</button>}</div>
                {devices.got?.devices.length === 0 && <p class="mut above-s">{a("user.devices-none")}</p>}
                <div class="card above-s">{devices.got?.devices.map((device) => (
                    <div class="set" key={device.device_id}><Icon name="monitor" /><span class="grow"><b>{device.display_name ?? device.device_id}</b><small>{[device.last_seen_ts ? short(device.last_seen_ts) : "", device.last_seen_ip, device.device_id].filter(Boolean).join(" · ")}</small></span>
                        <IconButton icon="log-out" label={t("devices.end-one", { name: device.display_name ?? device.device_id })} onClick={() => void attempt(() => admin("DELETE", `${path}/devices/${enc(device.device_id)}`)).then(devices.again)} />
                    </div>
                ))}</div>
            </section>
            <section class="sect" aria-label={a("user.rooms")}><h2 class="h3">{a("user.rooms")}</h2>
                {rooms.got?.joined_rooms.length === 0 && <p class="mut">{a("user.rooms-none")}</p>}
                <div class="row wrapping small-gap">{rooms.got?.joined_rooms.slice(0, 100).map((room) => <RoomChip key={room} id={room} />)}</div>
            </section>
            <section class="sect" aria-label={a("user.media")}><div class="row"><h2 class="h3 grow">{a("user.media")}</h2>{(media.got?.total ?? 0) > 0 && (
                <button type="button" class="btn s bad" onClick={() => (question.value = { title: a("media.quarantine"), text: a("media.quarantine-text"), yes: a("media.quarantine"), bad: true, run: () => void attempt(() => admin("POST", `/v1/user/${enc(id)}/media/quarantine`, {})).then(media.again) })}>{a("media.quarantine")}</button>
            )}</div>
                {media.got?.media.length === 0 && <p class="mut above-s">{a("media.none")}</p>}
                <div class="card above-s">{media.got?.media.map((one) => (
                    <div class="set" key={one.media_id}><Icon name={one.media_type?.startsWith("image/") ? "image" : "file"} /><span class="grow"><b class="cut">{one.upload_name ?? one.media_id}</b><small>{[one.media_type, one.media_length === null ? "" : size(one.media_length), short(one.created_ts)].filter(Boolean).join(" · ")}</small></span>
                        {one.quarantined_by && <span class="chip bad">{a("media.quarantined")}</span>}
                        <Hold one={one} onDone={media.again} />
                        <IconButton icon="trash-2" label={`${a("media.delete")}: ${one.upload_name ?? one.media_id}`} onClick={() => (question.value = { title: a("media.delete"), text: one.upload_name ?? one.media_id, yes: a("media.delete"), bad: true, run: () => void attempt(() => admin("DELETE", `/v1/media/${enc(the().commands.serverName)}/${enc(one.media_id)}`)).then(media.again) })} />
                    </div>
                ))}</div>
                <Pager from={from} shown={media.got?.media.length ?? 0} total={media.got?.total ?? 0} step={UPLOADS} onMove={setFrom} />
            </section>
            {once && <Once title={a("user.reset")} text={a("user.password-copy")} value={once} onClose={() => setOnce("")} />}
            {closing && (
                <Dialog title={a("user.close")} onClose={() => setClosing(false)} footer={<><button type="button" class="btn" onClick={() => setClosing(false)}>{t("cancel")}</button><button type="button" class="btn bad fill" onClick={() => void close()}>{a("user.close")}</button></>}>
                    <div class="in-dlg stack"><p class="mut">{a("user.close-text")}</p><label class="row"><input type="checkbox" class="chk" checked={erase} onChange={(event) => setErase(event.currentTarget.checked)} /><span>{a("user.close-erase")}</span></label></div>
                </Dialog>
            )}
        </>
    );
}

/** Where an account can be written to. Who reads those letters has added them; here they can only be taken away. */
function Addresses({ list, onRemove }: { list: readonly Threepid[]; onRemove: (left: readonly Threepid[]) => void }): JSX.Element | null {
    if (list.length === 0) return null;
    const remove = (one: Threepid): void => void (question.value = { title: one.address, text: a("user.email-gone"), yes: t("remove"), bad: true, run: () => onRemove(list.filter((each) => each !== one).map(({ medium, address }) => ({ medium, address }))) });
    return (
        <div class="card above-s">{list.map((one) => (
            <div class="set" key={one.address}><Icon name="mail" /><span class="grow"><b class="cut">{one.address}</b><small>{a("user.email")}</small></span><button type="button" class="btn s" aria-label={`${t("remove")}: ${one.address}`} onClick={() => remove(one)}>{t("remove")}</button></div>
        ))}</div>
    );
}

/** Puts one upload into quarantine, or lets it out. */
function Hold({ one, onDone }: { one: Upload; onDone: () => void }): JSX.Element {
    const word = one.quarantined_by ? "unquarantine" : "quarantine";
    return <IconButton icon={one.quarantined_by ? "circle-check" : "ban"} label={`${a(one.quarantined_by ? "media.one-release" : "media.one-quarantine")}: ${one.upload_name ?? one.media_id}`} onClick={() => void attempt(() => admin("POST", `/v1/media/${word}/${enc(the().commands.serverName)}/${enc(one.media_id)}`, {})).then(onDone)} />;
}

/** A room by its name, which is asked for. */
function RoomChip({ id }: { id: string }): JSX.Element {
    const { got } = useAsked(() => admin<{ name: string | null; canonical_alias: string | null }>("GET", `/v1/rooms/${enc(id)}`), id);
    return <a class="chip" href={hrefOf("rooms", id)}><Icon name="hash" />{got?.name ?? got?.canonical_alias ?? id}</a>;
}

