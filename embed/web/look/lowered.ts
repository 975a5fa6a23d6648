// The tokens of look/tokens.css for browsers without light-dark(), which the widget meets on sites: each theme's values
// in a block of its own, and of all tokens only those that a sheet asks for.

const TOKEN = /(--[\w-]+)\s*:\s*([^;]+);/g;
const ASKED = /var\((--[\w-]+)/g;

/** Everything in a pair of brackets that begins at `start`, cut at its commas. */
function parts(text: string, start: number): { found: string[]; end: number } {
    const found = [""];
    for (let at = start, depth = 0; at < text.length; at++) {
        if (text[at] === ")" && depth-- === 0) return { found: found.map((each) => each.trim()), end: at + 1 };
        if (text[at] === "(") depth++;
        if (text[at] === "," && depth === 0) found.push("");
        else found.push(`${found.pop() ?? ""}${text.charAt(at)}`);
    }
    throw new Error(`a bracket is not closed: ${text}`);
}

/** A value as one theme has it. */
export function lowered(value: string, isDark: boolean): string {
    const name = "light-dark(";
    const at = value.indexOf(name);
    if (at < 0) return value;
    const { found, end } = parts(value, at + name.length);
    return lowered(value.slice(0, at) + (found[isDark ? 1 : 0] ?? "") + value.slice(end), isDark);
}

/** The tokens of `tokens` that `sheet` asks for, by name, with those that they stand on. */
export function tokensOf(tokens: string, sheet: string): Map<string, string> {
    const plain = tokens.replace(/\/\*[^]*?\*\//g, "");
    // What depends on the device comes after, and is the client's.
    const all = new Map([...plain.slice(0, plain.indexOf("@media")).matchAll(TOKEN)].map(([, name = "", value = ""]) => [name, value.trim().replace(/\s*([\s,/])\s*/g, "$1")]));
    const wanted = new Map<string, string>();
    const ask = (text: string): void => {
        for (const [, name = ""] of text.matchAll(ASKED)) {
            const value = all.get(name);
            if (value === undefined || wanted.has(name)) continue;
            wanted.set(name, value);
            ask(value);
        }
    };
    ask(sheet);
    return wanted;
}

/** A sheet that says what these tokens are: as the browser wants it, or as `data-theme` says. */
export function blocks(tokens: Map<string, string>): string {
    const light = [...tokens].map(([name, value]) => `${name}:${lowered(value, false)}`);
    const dark = [...tokens].filter(([, value]) => lowered(value, true) !== value).map(([name, value]) => `${name}:${lowered(value, true)}`);
    const darkly = ["color-scheme:dark", ...dark].join(";");
    return [
        `:root{${["color-scheme:light", ...light].join(";")}}`,
        `:root[data-theme="dark"]{${darkly}}`,
        `@media (prefers-color-scheme:dark){:root:not([data-theme]){${darkly}}}`,
    ].join("\n");
}
