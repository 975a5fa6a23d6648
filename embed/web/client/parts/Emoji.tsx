import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { giveBack, IconButton, pop } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { emojiGroups, findEmoji, keepTone, keptTone, recentEmoji, type Sign, toned, TONES, usedEmoji } from "./emoji-data.ts";

const ICONS = ["smile", "user", "", "leaf", "coffee", "car", "trophy", "lightbulb", "heart", "flag"];
const NAMES = ["smileys", "people", "", "nature", "food", "travel", "activity", "objects", "symbols", "flags"] as const;
const COLUMNS = 8;

/** A grid of emoji; arrows move, Enter takes, Esc closes. `at` floats it there, otherwise it stands above the composer. */
export function EmojiPicker({ onPick, onClose, at }: { onPick: (emoji: string) => void; onClose: () => void; at?: DOMRect | undefined }): JSX.Element {
    const [groups, setGroups] = useState<readonly (readonly Sign[])[]>([]);
    const [found, setFound] = useState<readonly Sign[]>();
    const [group, setGroup] = useState(-1);
    const [tone, setTone] = useState(keptTone());
    const box = useRef<HTMLDivElement>(null);
    const search = useRef<HTMLInputElement>(null);
    useEffect(() => void emojiGroups().then(setGroups), []);
    useLayoutEffect(() => {
        const picker = box.current, before = document.activeElement;
        if (!picker) return undefined;
        const begin = (): void => search.current?.focus({ preventScroll: true });
        if (at) {
            void pop(picker).then((shown) => {
                if (!shown) return;
                const { innerWidth: width, innerHeight: height } = window;
                const own = picker.getBoundingClientRect();
                const left = Math.max(8, Math.min(at.left, width - own.width - 8));
                const top = at.top - own.height - 8 > 8 ? at.top - own.height - 8 : Math.max(8, Math.min(at.bottom + 8, height - own.height - 8));
                Object.assign(picker.style, { left: `${left}px`, top: `${top}px` });
                begin();
            });
            return () => giveBack(picker, before);
        }
        begin();
        const away = (event: Event): void => {
            const target = event.target as Element;
            if (!picker.contains(target) && !target.closest("[aria-expanded]")) onClose();
        };
        addEventListener("pointerdown", away, true);
        return () => removeEventListener("pointerdown", away, true);
    }, [groups.length > 0]);
    const take = (sign: string): void => {
        usedEmoji(sign);
        onPick(sign);
        if (at) onClose();
    };
    const keys = (event: KeyboardEvent): void => {
        if (event.key === "Escape") {
            event.stopPropagation();
            if (at) return; // the browser closes it
            event.preventDefault();
            onClose();
            return;
        }
        const buttons = [...(box.current?.querySelectorAll<HTMLElement>(".g button") ?? [])];
        const now = buttons.indexOf(document.activeElement as HTMLElement);
        const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: now < 0 ? 1 : COLUMNS, ArrowUp: -COLUMNS };
        const step = steps[event.key];
        if (step === undefined || (now < 0 && event.key !== "ArrowDown")) return;
        event.preventDefault();
        (buttons[now + step] ?? (step < 0 ? search.current : buttons.at(-1)))?.focus();
    };
    const grid = (signs: readonly Sign[]): JSX.Element => (
        <div class="g">{signs.map((sign) => [toned(sign, tone), sign[1]] as const).map(([emoji, label]) => <button key={emoji} type="button" aria-label={label} title={label} onClick={() => take(emoji)}>{emoji}</button>)}</div>
    );
    const recent = recentEmoji().map((emoji): Sign => [emoji, emoji, ""]);
    return (
        <div ref={box} class={at ? "emoji menu float" : "emoji menu"} role="dialog" aria-label={t("composer.emoji")} onKeyDown={keys}
            popover={at && "auto"} onBeforeToggle={(event) => event.newState === "closed" && onClose()}
        >
            <label class="find">
                <Icon name="search" />
                <input
                    ref={search} placeholder={t("emoji.search")} aria-label={t("emoji.search")}
                    onInput={(event) => {
                        const term = event.currentTarget.value.trim();
                        void (term ? findEmoji(term, 64).then(setFound) : Promise.resolve(setFound(undefined)));
                    }}
                    onKeyDown={(event) => {
                        const first = found?.[0];
                        if (event.key === "Enter" && first) {
                            event.preventDefault();
                            take(toned(first, tone));
                        }
                    }}
                />
            </label>
            <div class="signs">
                {found ? (
                    found.length > 0 ? grid(found) : <p class="nothing">{t("emoji.none")}</p>
                ) : group < 0 ? (
                    <>
                        <h4>{t("emoji.recent")}</h4>
                        {grid(recent)}
                        <h4>{t("emoji.smileys")}</h4>
                        {grid(groups[0]?.slice(0, 64) ?? [])}
                    </>
                ) : (
                    <>
                        <h4>{t(`emoji.${NAMES[group] || "smileys"}`)}</h4>
                        {grid(groups[group] ?? [])}
                    </>
                )}
            </div>
            <nav>
                <IconButton icon="clock" label={t("emoji.recent")} aria-pressed={group < 0} onClick={() => setGroup(-1)} />
                {ICONS.map((icon, index) => icon && <IconButton key={icon} icon={icon} label={t(`emoji.${NAMES[index] || "smileys"}`)} aria-pressed={group === index} onClick={() => { setGroup(index); setFound(undefined); }} />)}
                <button type="button" class="ib emo" aria-label={t("emoji.tone")} title={t("emoji.tone")} onClick={() => {
                    const next = (tone + 1) % TONES.length;
                    keepTone(next);
                    setTone(next);
                }}>{TONES[tone]}</button>
            </nav>
        </div>
    );
}
