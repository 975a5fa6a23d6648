import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { DRAFT, type Chat } from "../chat.ts";
import { given } from "../given.ts";
import { t } from "../i18n/t.ts";
import { refuses } from "../files.ts";
import { IconButton } from "./parts.tsx";

const KEY = DRAFT;
const MOST = 4_000;

const kept = (): string => {
    try {
        return localStorage.getItem(KEY) ?? "";
    } catch {
        return "";
    }
};
const keep = (text: string): void => {
    try {
        if (text) localStorage.setItem(KEY, text);
        else localStorage.removeItem(KEY);
    } catch {
        // It lasts as long as the page.
    }
};

export function Composer({ chat, draft, sent, notice }: { chat: Chat; draft: string; sent: () => void; notice: (text: string) => void }): JSX.Element {
    const [text, set] = useState(kept);
    const field = useRef<HTMLTextAreaElement>(null);
    const picker = useRef<HTMLInputElement>(null);
    useEffect(() => {
        if (draft) set(draft);
    }, [draft]);
    useEffect(() => {
        keep(text);
        const box = field.current;
        if (!box) return;
        box.style.height = "auto";
        box.style.height = `${Math.min(box.scrollHeight, 120)}px`;
    }, [text]);
    const send = (): void => {
        const body = text.trim();
        if (!body) return;
        chat.send({ msgtype: "m.text", body });
        set("");
        sent();
        field.current?.focus();
    };
    const attach = async (chosen: Iterable<File>): Promise<void> => {
        for (const file of [...chosen].slice(0, 10)) {
            const fault = refuses(file) || (await chat.attach(file).catch(() => t("uploadFailed")));
            if (fault) notice(fault);
            else sent();
        }
    };
    const canAttach = given.files.max > 0;
    useEffect(() => {
        if (canAttach) void chat.files().then((files) => files.sweep(given.site), () => undefined);
    }, []);
    const files = chat.status === "streaming" && chat.parcels.entries.some(({ state }) => state === "waiting");
    return (
        <form
            class="cmp"
            onSubmit={(event) => {
                event.preventDefault();
                send();
            }}
            onDragOver={(event) => event.preventDefault()}
            onDrop={(event) => {
                event.preventDefault();
                if (canAttach) void attach(event.dataTransfer?.files ?? []);
            }}
        >
            {files && <div class="bar" role="progressbar" aria-label={t("sending")} />}
            <div class="box">
                {canAttach && (
                    <>
                        <IconButton icon="paperclip" label={t("attach")} onClick={() => picker.current?.click()} />
                        <input
                            type="file"
                            hidden
                            multiple
                            ref={picker}
                            accept={given.files.types.join(",")}
                            onChange={(event) => {
                                void attach([...(event.currentTarget.files ?? [])]);
                                event.currentTarget.value = "";
                            }}
                        />
                    </>
                )}
                <textarea
                    ref={field}
                    rows={1}
                    value={text}
                    maxLength={MOST}
                    placeholder={t("write")}
                    aria-label={t("write")}
                    onInput={(event) => {
                        set(event.currentTarget.value);
                        chat.type(Boolean(event.currentTarget.value));
                    }}
                    onKeyDown={(event) => {
                        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
                        event.preventDefault();
                        send();
                    }}
                    onPaste={(event) => {
                        const pasted = [...(event.clipboardData?.files ?? [])];
                        if (!pasted.length || !canAttach) return;
                        event.preventDefault();
                        void attach(pasted);
                    }}
                />
                <button class="ib go" aria-label={t("send")} title={t("send")} disabled={!text.trim()}>
                    <svg viewBox="0 0 24 24" class="i" aria-hidden="true">
                        <path d="m5 12 7-7 7 7M12 19V5" />
                    </svg>
                </button>
            </div>
        </form>
    );
}
