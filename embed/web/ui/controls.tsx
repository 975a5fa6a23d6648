import type { ButtonHTMLAttributes, ComponentChildren, InputHTMLAttributes, JSX } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./Icon.tsx";

interface IconButtonProps extends Omit<ButtonHTMLAttributes, "icon" | "label" | "class"> {
    class?: string;
    icon: string;
    label: string;
    flip?: boolean;
    children?: ComponentChildren;
}

/** A button that shows an icon; `label` is its name and its tooltip. */
export function IconButton({ icon, label, flip, children, class: more, ...rest }: IconButtonProps): JSX.Element {
    return (
        <button type="button" {...rest} class={more ? `ib ${more}` : "ib"} aria-label={label} title={label}>
            <Icon name={icon} {...(flip && { flip })} />
            {children}
        </button>
    );
}

interface FieldProps extends Omit<InputHTMLAttributes, "label"> {
    list?: string;
    label: ComponentChildren;
    hint?: ComponentChildren;
    error?: ComponentChildren;
    good?: boolean;
    optional?: string;
    end?: ComponentChildren;
}

/** A labelled input with a hint or an error below it. */
export function Field({ label, hint, error, good, optional, end, ...input }: FieldProps): JSX.Element {
    const id = useId();
    const says = error ?? hint;
    return (
        <div class="field">
            <label for={id} class="legend">
                <span>{label}</span>
                {optional && <span class="opt">{optional}</span>}
            </label>
            <span class={error ? "in bad" : "in"}>
                <input {...(input as object)} id={id} aria-invalid={error ? "true" : undefined} aria-describedby={says ? `${id}h` : undefined} />
                {end}
            </span>
            {says && (
                <span class={`hint${error ? " bad" : good ? " ok" : ""}`} id={`${id}h`} role={error ? "alert" : undefined}>
                    {error && <Icon name="circle-alert" />}
                    <span>{says}</span>
                </span>
            )}
        </div>
    );
}

export function PasswordField({ show, hide, ...field }: FieldProps & { show: string; hide: string }): JSX.Element {
    const [open, set] = useState(false);
    const eye = <IconButton icon={open ? "eye-off" : "eye"} label={open ? hide : show} class="eye" onClick={() => set(!open)} />;
    return <Field {...field} type={open ? "text" : "password"} autocapitalize="none" spellcheck={false} end={eye} />;
}

/** What parts say by themselves, in the user's language. */
export const words = { close: "Close" };

/** A modal dialog: the browser makes the rest inert and gives the focus back. */
export function Dialog({ title, onClose, children, footer, wide, bare }: {
    title: string;
    onClose: () => void;
    children: ComponentChildren;
    footer?: ComponentChildren;
    wide?: boolean;
    bare?: boolean;
}): JSX.Element {
    const ref = useRef<HTMLDialogElement>(null);
    const id = useId();
    useLayoutEffect(() => {
        const dialog = ref.current;
        const before = document.activeElement;
        dialog?.showModal();
        return () => {
            dialog?.close();
            if (before instanceof HTMLElement && before.isConnected) before.focus();
        };
    }, []);
    return (
        <dialog
            ref={ref}
            class={`dlg${wide ? " wide" : ""}${bare ? " bare" : ""}`}
            aria-labelledby={bare ? undefined : id}
            aria-label={bare ? title : undefined}
            onCancel={(event) => {
                event.preventDefault();
                onClose();
            }}
            onPointerDown={(event) => {
                if (event.target === ref.current) onClose();
            }}
        >
            {!bare && (
                <header>
                    <h3 id={id} class="grow">{title}</h3>
                    <IconButton icon="x" label={words.close} onClick={onClose} />
                </header>
            )}
            {children}
            {footer && <footer>{footer}</footer>}
        </dialog>
    );
}

export interface MenuItem {
    icon: string;
    label: string;
    run: () => void;
    bad?: boolean;
    keys?: string;
    flip?: boolean;
}

interface MenuProps {
    items: (MenuItem | null)[];
    at: DOMRect;
    label: string;
    onClose: () => void;
    /** At the foot of the page, for fingers. */
    sheet?: boolean;
    head?: JSX.Element | undefined;
}

/** The press of a mouse or a finger that goes on, or the last one. */
let press: Promise<void> | undefined;
let end = (): void => undefined;
globalThis.addEventListener?.("pointerdown", () => void (press = new Promise((done) => (end = done))), true);
// Where the browser's own menu opened, it does not say that the press has ended.
for (const type of ["pointerup", "pointercancel", "keydown"]) globalThis.addEventListener?.(type, () => setTimeout(end), true);

/** Show what closes at a press beside it, once the press that opened it has ended: that would close it, too. */
export async function pop(box: HTMLElement): Promise<boolean> {
    await press;
    if (box.isConnected && !box.matches(":popover-open")) box.showPopover();
    return box.isConnected;
}

/** Give the focus back, unless it has gone elsewhere by itself. */
export function giveBack(box: HTMLElement, before: Element | null): void {
    const now = document.activeElement;
    if (before instanceof HTMLElement && before.isConnected && (!now || now === document.body || box.contains(now))) before.focus();
}

/** A menu at a button or at the pointer; arrows, Home, End and letters move, Esc closes and gives the focus back. */
export function Menu({ items, at, label, onClose, sheet, head }: MenuProps): JSX.Element {
    const ref = useRef<HTMLDivElement>(null);
    const pressed = useRef(false);
    useLayoutEffect(() => {
        const menu = ref.current;
        if (!menu) return undefined;
        const before = document.activeElement;
        if (sheet) {
            menu.showPopover();
            menu.querySelector("button")?.focus();
        } else void import("@floating-ui/dom").then(async ({ computePosition, flip, shift }) => {
            if (!(await pop(menu))) return;
            const anchor = { getBoundingClientRect: () => at };
            const middleware = [flip({ padding: 8 }), shift({ padding: 8 })];
            const { x, y } = await computePosition(anchor, menu, { placement: "bottom-end", strategy: "fixed", middleware });
            Object.assign(menu.style, { left: `${x}px`, top: `${y}px` });
            menu.querySelector("button")?.focus();
        });
        return () => giveBack(menu, before);
    }, []);
    const move = (event: KeyboardEvent): void => {
        const buttons = [...(ref.current?.querySelectorAll("button") ?? [])];
        const now = buttons.indexOf(document.activeElement as HTMLButtonElement);
        const to: Record<string, number> = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: buttons.length - 1 };
        if (event.key === "Escape" || event.key === "Tab") {
            event.stopPropagation();
            // At Esc the browser closes what a press beside it closes.
            if (event.key === "Escape" && !sheet) return;
            event.preventDefault();
            onClose();
        } else if (event.key in to) {
            event.preventDefault();
            buttons[((to[event.key] ?? 0) + buttons.length) % buttons.length]?.focus();
        } else if (event.key.length === 1) {
            buttons.find((button) => button.textContent?.toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
        }
    };
    return (
        <div ref={ref} class={sheet ? "menu sheet" : "menu float"} role="menu" aria-label={label} onKeyDown={move}
            popover={sheet ? "manual" : "auto"} onBeforeToggle={(event) => event.newState === "closed" && onClose()}
            // The finger that opened a sheet may be lifted over it, but did not come down there. Beside it, it closes.
            onPointerDown={() => (pressed.current = true)}
            onClickCapture={(event) => sheet && event.detail > 0 && !pressed.current && event.stopPropagation()}
            onClick={(event) => sheet && pressed.current && event.target === ref.current && onClose()}
        >
            {head}
            {items.map((item, at) =>
                item === null ? (
                    <hr key={at} />
                ) : (
                    <button
                        key={item.label}
                        type="button"
                        role="menuitem"
                        class={item.bad ? "bad" : ""}
                        onClick={() => {
                            onClose();
                            item.run();
                        }}
                    >
                        <Icon name={item.icon} {...(item.flip && { flip: true })} />
                        {item.label}
                        {item.keys && <kbd>{item.keys}</kbd>}
                    </button>
                ),
            )}
        </div>
    );
}

export function Switch({ checked, label, onChange, disabled }: { checked: boolean; label: string; onChange: (on: boolean) => void; disabled?: boolean }): JSX.Element {
    return <input type="checkbox" role="switch" class="sw" checked={checked} disabled={disabled} aria-label={label} onChange={(event) => onChange(event.currentTarget.checked)} />;
}

/** One of a few. */
export function Segments<T extends string>({ value, options, label, onChange }: {
    value: T;
    options: readonly (readonly [T, ComponentChildren])[];
    label: string;
    onChange: (value: T) => void;
}): JSX.Element {
    return (
        <div class="seg" role="group" aria-label={label}>
            {options.map(([each, name]) => (
                <button key={each} type="button" aria-pressed={value === each} onClick={() => onChange(each)}>
                    {name}
                </button>
            ))}
        </div>
    );
}

export function Empty({ icon, title, text, children, bad, level = 2 }: { icon: string; title: string; text?: string; children?: ComponentChildren; bad?: boolean; level?: 1 | 2 }): JSX.Element {
    const Heading = level === 1 ? "h1" : "h2";
    return (
        <div class="empty">
            <span class={bad ? "art bad" : "art"}><Icon name={icon} /></span>
            <Heading class="h3">{title}</Heading>
            {text && <p>{text}</p>}
            {children && <div class="row">{children}</div>}
        </div>
    );
}

export const Bone = ({ w, h, round }: { w: string; h: string; round?: string }): JSX.Element => (
    <span class="bone" style={{ display: "block", inlineSize: w, blockSize: h, ...(round && { borderRadius: round }) }} />
);
