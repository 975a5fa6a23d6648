import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Chat } from "../chat.ts";
import { t } from "../i18n/t.ts";

const SIGNS = ["😞", "🙁", "😐", "🙂", "😍"];

/** Five faces once a conversation is done. */
export function Rating({ chat }: { chat: Chat }): JSX.Element | null {
    const [value, choose] = useState(0);
    const [comment, say] = useState("");
    const [state, set] = useState<"open" | "sent" | "skipped">("open");
    // It grows by the field for a comment, and who reads the end goes on seeing it.
    useEffect(() => chat.changed(), [value > 0]);
    const done = chat.events.some((event) => event.type === "chat.hromada.support.rating" && event.sender === chat.me && event.origin_server_ts >= chat.resolvedAt);
    if (state === "skipped") return null;
    if (state === "sent" || done)
        return (
            <p class="sys" role="status">
                {t("thanks")}
            </p>
        );
    const faces = t("faces").split("|");
    const send = (): void => {
        chat.send({ rating: value, ...(comment.trim() && { comment: comment.trim().slice(0, 500) }) }, "chat.hromada.support.rating");
        set("sent");
    };
    const keys = (event: KeyboardEvent): void => {
        const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 0;
        if (!step) return;
        event.preventDefault();
        const next = ((value - 1 + step + 5) % 5) + 1;
        choose(next);
        (event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("button")[next - 1]?.focus();
    };
    return (
        <div class="rate">
            <h2>{t("rate")}</h2>
            <div class="faces" role="radiogroup" aria-label={t("rate")} onKeyDown={keys}>
                {SIGNS.map((sign, index) => (
                    <button
                        type="button"
                        role="radio"
                        key={sign}
                        aria-checked={value === index + 1}
                        aria-label={faces[index]}
                        tabIndex={value === index + 1 || (!value && index === 0) ? 0 : -1}
                        onClick={() => choose(index + 1)}
                    >
                        <span aria-hidden="true">{sign}</span>
                        {faces[index]}
                    </button>
                ))}
            </div>
            {value > 0 && <textarea class="in" value={comment} maxLength={500} placeholder={t("comment")} aria-label={t("comment")} onInput={(event) => say(event.currentTarget.value)} />}
            <div class="row">
                <button type="button" class="btn go" disabled={!value} onClick={send}>
                    {t("send")}
                </button>
                <button type="button" class="btn plain" onClick={() => set("skipped")}>
                    {t("skip")}
                </button>
            </div>
        </div>
    );
}
