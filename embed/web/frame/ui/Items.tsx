import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.ts";
import { given } from "../given.ts";
import { LANGUAGES, locale, speak, t } from "../i18n/t.ts";
import { mute, muted } from "../sound.ts";
import type { Props } from "./App.tsx";
import { wordsFor } from "./Greeting.tsx";
import { Icon } from "./parts.tsx";

/** Sound, transcript, language, erasing. `back` closes it. */
export function Items({ chat, redraw, reset, notice, back }: Props & { notice: (text: string) => void; back: () => void }): JSX.Element {
    const [asking, ask] = useState(false);
    const menu = useRef<HTMLDivElement>(null);
    const dialog = useRef<HTMLDialogElement>(null);
    useEffect(() => menu.current?.querySelector<HTMLElement>("button")?.focus(), []);
    useEffect(() => {
        if (asking) dialog.current?.showModal();
    }, [asking]);
    const keys = (event: KeyboardEvent): void => {
        const items = [...(menu.current?.querySelectorAll<HTMLElement>("button, select") ?? [])];
        const at = items.indexOf(document.activeElement as HTMLElement);
        if (event.key === "Escape") {
            event.preventDefault();
            back();
        } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && document.activeElement?.tagName !== "SELECT") {
            event.preventDefault();
            items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length]?.focus();
        }
    };
    const save = async (): Promise<void> => {
        back();
        try {
            const link = document.createElement("a");
            link.href = URL.createObjectURL(chat.encrypted ? new Blob([await chat.transcript()], { type: "text/plain" }) : await api.transcript());
            link.download = "conversation.txt";
            link.click();
            setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
        } catch (error) {
            notice(wordsFor(error));
        }
    };
    const own = async (): Promise<void> => {
        back();
        try {
            const { offer } = await import("../account.ts");
            const made = await offer({ id: chat.me, locale, title: t("account"), cancel: t("cancel"), keep: api.keep, wordsFor });
            if (!made) return;
            await reset();
            notice(made);
        } catch (error) {
            notice(wordsFor(error));
        }
    };
    const mail = async (): Promise<void> => {
        back();
        try {
            await api.mailTranscript();
            notice(t("mailed"));
        } catch (error) {
            notice(wordsFor(error));
        }
    };
    const erase = async (): Promise<void> => {
        back();
        try {
            await api.erase();
            chat.leave("form");
            notice(t("erased"));
        } catch (error) {
            notice(wordsFor(error));
        }
    };
    const choose = (name: string): void => {
        try {
            localStorage.setItem("locale", name);
        } catch {
            // It lasts as long as the page.
        }
        void speak(name).then(redraw);
    };
    const item = (icon: string, text: string, act: () => void, kind = ""): JSX.Element => (
        <button type="button" class={kind} onClick={act}>
            <Icon name={icon} />
            {text}
        </button>
    );
    if (asking)
        return (
            <dialog ref={dialog} aria-label={t("erase")} onClose={back}>
                <p>{t("eraseAsk")}</p>
                <div class="row">
                    <button type="button" class="btn danger" onClick={() => void erase()}>
                        {t("eraseYes")}
                    </button>
                    <button type="button" class="btn" onClick={back}>
                        {t("cancel")}
                    </button>
                </div>
            </dialog>
        );
    return (
        <div class="veil" onClick={back}>
            <div class="menu" role="group" aria-label={t("menu")} ref={menu} onKeyDown={keys} onClick={(event) => event.stopPropagation()}>
                {item(muted() ? "volume-2" : "volume-x", muted() ? t("unmute") : t("mute"), () => (mute(!muted()), back()))}
                {item("download", t("transcript"), () => void save())}
                {given.accounts && !chat.encrypted && item("log-in", t("account"), () => void own())}
                {api.current()?.mail && item("mail", t("mail"), () => void mail())}
                <label class="language">
                    <Icon name="globe" />
                    <span class="quiet">{t("language")}</span>
                    <select value={locale} onChange={(event) => choose(event.currentTarget.value)}>
                        {Object.entries(LANGUAGES).map(([name, called]) => (
                            <option value={name} key={name} lang={name}>
                                {called}
                            </option>
                        ))}
                    </select>
                </label>
                <hr />
                {item("trash-2", t("erase"), () => ask(true), "bad")}
            </div>
        </div>
    );
}
