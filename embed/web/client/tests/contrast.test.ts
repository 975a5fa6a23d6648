// What buttons say can be read on what they stand on, in both themes, also under a pointer. WCAG 2.2, 1.4.3

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

/** Red, green and blue, 0 to 1. */
type Colour = readonly [number, number, number];
type Theme = "light" | "dark";

const sheet = (name: string): string => readFileSync(new URL(`../../look/${name}`, import.meta.url), "utf8").replace(/\/\*[^]*?\*\//g, "");
const TOKENS = new Map([...sheet("tokens.css").matchAll(/--([\w-]+):\s*((?:[^;()]|\((?:[^()]|\([^()]*\))*\))+);/g)].map(([, name = "", value = ""]) => [name, value.trim()]));

const linear = (part: number): number => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
const encoded = (part: number): number => Math.min(1, Math.max(0, part <= 0.0031308 ? part * 12.92 : 1.055 * part ** (1 / 2.4) - 0.055));
const luminance = ([r, g, b]: Colour): number => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);

function contrast(one: Colour, other: Colour): number {
    const [high = 0, low = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}

function oklab(colour: Colour): Colour {
    const [r, g, b] = colour.map(linear) as unknown as Colour;
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b), m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b), s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
}

function srgb([L, a, b]: Colour): Colour {
    const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3, m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3, s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
    return [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s].map(encoded) as unknown as Colour;
}

const between = (one: Colour, other: Colour, part: number): Colour => one.map((each, at) => each * part + (other[at] ?? 0) * (1 - part)) as unknown as Colour;

/** A colour as the sheets write it. What lets through what is behind it stands on `behind`. */
function colour(value: string, theme: Theme, behind: Colour = [0, 0, 0]): Colour {
    const both = /^light-dark\((.+\)|[^,]+),\s*(.+)\)$/.exec(value);
    if (both) return colour(both[theme === "light" ? 1 : 2] ?? "", theme, behind);
    const [, token] = /^var\(--([\w-]+)\)$/.exec(value) ?? [];
    if (token) return colour(TOKENS.get(token) ?? assert.fail(token), theme, behind);
    const [, first = "", part = "", second = ""] = /^color-mix\(in oklab, (.+) (\d+)%, (.+)\)$/.exec(value) ?? [];
    if (first) return srgb(between(oklab(colour(first, theme, behind)), oklab(colour(second, theme, behind)), Number(part) / 100));
    const [, r, g, b, alpha = ""] = /^rgb\((\d+) (\d+) (\d+) \/ ([\d.]+)\)$/.exec(value) ?? [];
    if (alpha) return between([r, g, b].map((each) => Number(each) / 255) as unknown as Colour, behind, Number(alpha));
    const [, hex = ""] = /^#([0-9A-F]{6})$/i.exec(value) ?? assert.fail(value);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as unknown as Colour;
}

interface Rule {
    selector: string;
    text: string | undefined;
    back: string | undefined;
}
const rules = (css: string): Rule[] =>
    [...css.matchAll(/([^{};]+)\{([^{}]*)\}/g)].map(([, selector = "", body = ""]) => {
        const of = (name: string): string | undefined => new RegExp(`(?:^|;)\\s*${name}: ([^;]+)`).exec(body)?.[1]?.trim();
        return { selector: selector.trim(), text: of("color"), back: of("background") };
    });

test("colours are measured as browsers do", () => {
    const near = (found: number, wanted: number): void => assert.ok(Math.abs(found - wanted) < 0.01, `${found}`);
    near(contrast([0, 0, 0], [1, 1, 1]), 21);
    near(contrast(colour("#767676", "light"), [1, 1, 1]), 4.54);
    near(colour("color-mix(in oklab, #FF0000 50%, #0000FF)", "light")[0], 0x8c / 255);
    near(colour("light-dark(#FFFFFF, rgb(0 0 0 / .5))", "dark", [1, 1, 1])[0], 0.5);
});

test("buttons can be read in both themes, at rest, under a pointer and pressed", () => {
    const all = rules(sheet("button.css"));
    const poor: string[] = [];
    let pairs = 0;
    for (const { selector, text, back } of all.filter((rule) => /^\.(btn|ib)\b/.test(rule.selector) && (rule.text ?? rule.back) !== undefined)) {
        if (/disabled/.test(selector)) continue;
        const kinds = selector.split(/,\s*/).map((each) => each.replace(/:\w+|\[[^\]]*\]/g, ""));
        for (const kind of kinds) {
            // What a state does not say is said at rest, and what a kind does not, by all buttons; danger has no other ground.
            const rest = all.filter((rule) => kind.startsWith(rule.selector)).sort((a, b) => a.selector.length - b.selector.length);
            const written = text ?? rest.findLast((rule) => rule.text)?.text ?? assert.fail(selector);
            const ground = back ?? rest.findLast((rule) => rule.back)?.back ?? "none";
            for (const theme of ["light", "dark"] as const) {
                for (const surface of ["canvas", "surface", "sidebar", "rail"]) {
                    const behind = colour(`var(--${surface})`, theme);
                    const found = contrast(colour(written, theme), ground === "none" ? behind : colour(ground, theme, behind));
                    pairs++;
                    if (found < 4.5) poor.push(`${selector} on ${surface}, ${theme}: ${found.toFixed(2)}`);
                }
            }
        }
    }
    assert.ok(pairs > 100, `${pairs}`);
    assert.deepEqual(poor, []);
});
