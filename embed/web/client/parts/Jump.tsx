import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Dialog, Field, IconButton } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { date as inWords, dayName, monthName } from "../render/dates.ts";
import { isoDay, weekdays, weeks } from "../render/month.ts";
import { ApiError } from "../sdk/api.ts";
import { openRoomById, the } from "../stores/app.ts";
import { settings } from "../stores/settings.ts";
import { jumping } from "../stores/ui.ts";
import "./asked.ts";

const today = (): string => isoDay(new Date());
const noon = (day: string): Date => new Date(`${day}T12:00`);

/** Go to what was first said on a day, or after it. */
export function JumpDialog({ room }: { room: string }): JSX.Element {
    const [date, setDate] = useState(today());
    const [error, setError] = useState("");
    const close = (): void => void (jumping.value = undefined);
    const jump = async (event: Event): Promise<void> => {
        event.preventDefault();
        try {
            const at = await the().commands.eventAt(room, new Date(`${date}T00:00`).getTime());
            close();
            openRoomById(room, at);
        } catch (reason) {
            setError(reason instanceof ApiError && reason.status === 404 ? t("jump.none") : (reason as Error).message);
        }
    };
    return (
        <Dialog title={t("jump.title")} onClose={close} footer={<><button type="button" class="btn" onClick={close}>{t("cancel")}</button><button type="submit" form="jump" class="btn go">{t("jump.go")}</button></>}>
            <form id="jump" class="in-dlg stack" onSubmit={(event) => void jump(event)}>
                <Field label={t("jump.label")} type="date" required autofocus value={date} max={today()} error={error || undefined} onInput={(event) => setDate(event.currentTarget.value)} />
                <Calendar chosen={date || today()} onChoose={setDate} />
            </form>
        </Dialog>
    );
}

const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };

/** A month, whose weeks begin as the user has chosen: the browser's own begins them as it likes. One stop for Tab, arrows inside. */
function Calendar({ chosen, onChoose }: { chosen: string; onChoose: (day: string) => void }): JSX.Element {
    const at = noon(chosen);
    const monthOf = (day: Date): { year: number; month: number } => ({ year: day.getFullYear(), month: day.getMonth() });
    // Which other month was turned to, from this day: with another day that is over, whatever is still to be drawn.
    const [turned, setTurned] = useState<{ from: string; year: number; month: number }>();
    const shown = turned?.from === chosen ? turned : monthOf(at);
    const box = useRef<HTMLTableElement>(null);
    const walking = useRef(false);
    const last = today();
    const first = settings.value.weekStart;
    const name = monthName(new Date(shown.year, shown.month, 15).getTime());
    // The day that is walked to may be in another month: it has the focus as soon as it is there.
    useLayoutEffect(() => {
        if (walking.current) box.current?.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
        walking.current = false;
    });
    const turn = (by: number): void => setTurned({ from: chosen, ...monthOf(new Date(shown.year, shown.month + by, 15)) });
    const walk = (event: KeyboardEvent): void => {
        const step = (STEPS[event.key] ?? 0) * (document.dir === "rtl" && /Left|Right/.test(event.key) ? -1 : 1);
        if (!step) return;
        event.preventDefault();
        const to = isoDay(new Date(at.getFullYear(), at.getMonth(), at.getDate() + step, 12));
        if (to > last) return;
        walking.current = true;
        onChoose(to);
    };
    const inMonth = at.getFullYear() === shown.year && at.getMonth() === shown.month;
    return (
        <div role="group" aria-label={name}>
            <div class="row">
                <IconButton icon="chevron-left" flip label={t("jump.before")} onClick={() => turn(-1)} />
                <b class="grow centred" aria-live="polite">{name}</b>
                <IconButton icon="chevron-right" flip label={t("jump.after")} disabled={isoDay(new Date(shown.year, shown.month + 1, 1)) > last} onClick={() => turn(1)} />
            </div>
            <table ref={box} class="centred" style={{ inlineSize: "100%", tableLayout: "fixed" }} onKeyDown={walk}>
                <thead><tr>{weekdays(first).map((day) => <th key={day} class="small sub" abbr={dayName(day)}>{dayName(day, "short")}</th>)}</tr></thead>
                <tbody>
                    {weeks(shown.year, shown.month, first).map((week) => (
                        <tr key={week.join()}>
                            {week.map((day, index) => {
                                const value = day ? isoDay(new Date(shown.year, shown.month, day)) : "";
                                return (
                                    <td key={index}>
                                        {value && <button type="button" class="ib" style={{ inlineSize: "100%" }} aria-pressed={value === chosen} aria-current={value === last ? "date" : undefined} aria-label={inWords(noon(value).getTime())} disabled={value > last} tabIndex={value === chosen || (!inMonth && day === 1) ? 0 : -1} onClick={() => onChoose(value)}>{day}</button>}
                                    </td>
                                );
                            })}
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}
