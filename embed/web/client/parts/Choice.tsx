import type { JSX } from "preact";
import { Icon } from "../../ui/Icon.tsx";

interface ChoiceProps<T extends string> {
    icon: string;
    label: string;
    value: string;
    values: readonly T[];
    name: (value: T) => string;
    disabled: boolean;
    onChange: (value: T) => void;
}

/** A setting with a few values. */
export function Choice<T extends string>({ icon, label, value, values, name, disabled, onChange }: ChoiceProps<T>): JSX.Element {
    return (
        <label class="it">
            <Icon name={icon} />
            <span class="grow">{label}</span>
            <select class="sel" value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value as T)}>
                {values.map((each) => <option key={each} value={each}>{name(each)}</option>)}
            </select>
        </label>
    );
}
