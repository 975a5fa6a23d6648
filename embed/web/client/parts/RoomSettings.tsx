import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Field, Switch } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { openRoomById, attempt, the, toast } from "../stores/app.ts";
import type { RoomRow } from "../sdk/types.ts";
import { rightsOf, settingsOf } from "../stores/room.ts";
import { cryptoState } from "../stores/crypto.ts";
import { question } from "../stores/ui.ts";
import { Choice } from "./Choice.tsx";
import { pickPicture } from "./Uploads.tsx";
import "./asked.ts";

const RULES = ["invite", "knock", "restricted", "public"] as const;
const HISTORY = ["joined", "invited", "shared", "world_readable"] as const;
const NEWEST = "12";

export function RoomSettings({ row }: { row: RoomRow }): JSX.Element {
    const { commands } = the();
    const now = settingsOf(row.id);
    const rights = rightsOf(row.id);
    const [name, setName] = useState(now?.name ?? "");
    const [topic, setTopic] = useState(now?.topic ?? "");
    const [listed, setListed] = useState<boolean>();
    const [aliases, setAliases] = useState<string[]>([]);
    const [alias, setAlias] = useState("");
    useEffect(() => {
        commands.listed(row.id).then(setListed, () => undefined);
        commands.aliases(row.id).then(setAliases, () => undefined);
    }, [row.id]);
    if (!now || !rights) return <p class="nothing">{t("loading")}</p>;
    const changed = name !== now.name || topic !== now.topic;
    const save = async (event: Event): Promise<void> => {
        event.preventDefault();
        const done = await attempt(async () => {
            if (name !== now.name) await commands.setState(row.id, "m.room.name", { name });
            if (topic !== now.topic) await commands.setState(row.id, "m.room.topic", { topic });
            return true;
        });
        if (done) toast(t("saved"));
    };
    const setRule = (rule: string): void =>
        void attempt(() => commands.editState(row.id, "m.room.join_rules", (content) => ({ ...content, join_rule: rule })));
    const encrypt = (): void => {
        question.value = {
            title: t("encrypt.title"), text: t("encrypt.text"), yes: t("roomset.encrypt"),
            run: () => void attempt(() => commands.setState(row.id, "m.room.encryption", { algorithm: "m.megolm.v1.aes-sha2" })),
        };
    };
    const upgrade = (): void => {
        question.value = {
            title: t("upgrade.title"), text: t("upgrade.text", { version: NEWEST }), yes: t("upgrade.yes"),
            run: () => void attempt(() => commands.upgrade(row.id, NEWEST)).then((id) => id && openRoomById(id)),
        };
    };
    const picture = (): void => pickPicture((url) => commands.setState(row.id, "m.room.avatar", { url }));
    const addAlias = (event: Event): void => {
        event.preventDefault();
        const full = `#${alias.trim().replace(/^#/, "").split(":")[0] ?? ""}:${commands.serverName}`;
        void attempt(async () => {
            await commands.addAlias(full, row.id);
            if (!now.alias && rights.alias) await commands.setState(row.id, "m.room.canonical_alias", { alias: full });
            setAliases([...aliases, full]);
            setAlias("");
        });
    };
    return (
        <>
            <form class="stack inset" onSubmit={(event) => void save(event)}>
                <Field label={t("roomset.name")} value={name} disabled={!rights.name} maxLength={255} onInput={(event) => setName(event.currentTarget.value)} />
                <label class="field"><span class="legend">{t("roomset.topic")}</span><textarea class="in" value={topic} disabled={!rights.topic} onInput={(event) => setTopic(event.currentTarget.value)} /></label>
                <div class="row">
                    {changed && <button class="btn go">{t("save")}</button>}
                    {rights.avatar && <button type="button" class="btn" onClick={picture}><Icon name="image-up" />{t("roomset.picture")}</button>}
                </div>
            </form>
            <Choice icon="door-open" label={t("roomset.join")} value={now.joinRule} values={RULES.filter((rule) => rule !== "restricted" || now.joinRule === rule)} name={(rule) => t(`rule.${rule}`)} disabled={!rights.rules} onChange={setRule} />
            <Choice icon="history" label={t("roomset.history")} value={now.history} values={HISTORY} name={(each) => t(`history.${each}`)} disabled={!rights.history} onChange={(value) => void attempt(() => commands.setState(row.id, "m.room.history_visibility", { history_visibility: value }))} />
            <label class="it">
                <Icon name="globe" />
                <span class="grow">{t("roomset.listed")}</span>
                <Switch checked={listed ?? false} label={t("roomset.listed")} disabled={!rights.alias || listed === undefined} onChange={(on) => {
                    setListed(on);
                    void attempt(() => commands.setListed(row.id, on)).then((done) => done === undefined && setListed(!on));
                }} />
            </label>
            {!row.encrypted && cryptoState.value === "ready" && <button type="button" class="it" disabled={!rights.encrypt} onClick={encrypt}><Icon name="lock" /><span>{t("roomset.encrypt")}<small>{t("roomset.encrypt-text")}</small></span></button>}
            <div class="cap2"><span>{t("roomset.addresses")}</span></div>
            {aliases.map((each) => (
                <div class="it" key={each}>
                    <Icon name="at-sign" />
                    <span class="grow cut">{each}{each === now.alias && <small>{t("roomset.main")}</small>}</span>
                    {rights.alias && <button type="button" class="btn s plain" onClick={() => void attempt(() => commands.removeAlias(each)).then(() => setAliases(aliases.filter((other) => other !== each)))}>{t("remove")}</button>}
                </div>
            ))}
            <form class="inset row" onSubmit={addAlias}>
                <span class="in grow"><span class="sub">#</span><input value={alias} placeholder={t("roomset.alias")} aria-label={t("roomset.alias")} onInput={(event) => setAlias(event.currentTarget.value)} /><span class="sub cut">:{commands.serverName}</span></span>
                <button class="btn" disabled={!alias.trim()}>{t("add")}</button>
            </form>
            {rights.power && <Permissions row={row} levels={now.levels} />}
            <div class="rule" />
            <div class="it"><Icon name="wrench" /><span class="grow">{t("roomset.version")}<small class="cut">{row.id}</small></span><span class="val">v{now.version}</span></div>
            {now.version !== NEWEST && rights.upgrade && <button type="button" class="it" onClick={upgrade}><Icon name="circle-arrow-up" /><span>{t("roomset.upgrade")}</span></button>}
        </>
    );
}

const LEVELS = [["events_default", 0], ["invite", 0], ["state_default", 50], ["kick", 50], ["ban", 50], ["redact", 50]] as const;

function Permissions({ row, levels }: { row: RoomRow; levels: Record<string, unknown> }): JSX.Element {
    const { commands } = the();
    return (
        <>
            <div class="cap2"><span>{t("roomset.permissions")}</span></div>
            {LEVELS.map(([name, usual]) => {
                const value = typeof levels[name] === "number" ? levels[name] : usual;
                return (
                    <Choice key={name} icon="users" label={t(`power.${name}`)} value={String(value >= 100 ? 100 : value >= 50 ? 50 : 0)} values={["0", "50", "100"]}
                        name={(each) => t(`power.${each}`)} disabled={false}
                        onChange={(each) => void attempt(() => commands.editState(row.id, "m.room.power_levels", (content) => ({ ...content, [name]: Number(each) })))} />
                );
            })}
        </>
    );
}
