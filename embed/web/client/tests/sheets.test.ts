// Sheets know no colour of their own: they take it from tokens.css, by names that are there and are used.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { blocks, lowered, tokensOf } from "../../look/lowered.ts";

const LOOK = new URL("../../look/", import.meta.url);
const plain = (file: string): string => readFileSync(new URL(file, LOOK), "utf8").replace(/\/\*[^]*?\*\//g, "");
const SHEETS = readdirSync(LOOK).filter((file) => file.endsWith(".css"));
/** The widget's. It is built by itself, and asks for its tokens by name. */
const FRAME = "../frame/frame.css";
const OTHERS = [...SHEETS.filter((file) => file !== "tokens.css"), FRAME];
const RAW = /#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|hwb|lab|lch|oklab|oklch|light-dark)\((?!red, red)/gi;

/** Colours that are said outright. Mixing those of tokens (`color-mix`) is none, nor is asking what a browser can. */
const raw = (text: string): string[] => [...text.matchAll(RAW)].map(([found]) => found);

test("only tokens.css knows colours", () => {
    for (const text of ["a { color: #fff; }", "a { color: rgb(0 0 0 / .5); }", "a { background: light-dark(#FFF, #000); }"]) assert.notDeepEqual(raw(text), [], text);
    for (const text of ["a { color: var(--text); }", "#app { color: color-mix(in oklab, var(--text) 4%, transparent); }", "a { --n: counter(x); }"]) assert.deepEqual(raw(text), [], text);
    for (const file of OTHERS) assert.deepEqual(raw(plain(file)), [], file);
});

test("every token is there and is used", () => {
    const root = new URL("../../", import.meta.url);
    const scripts = ["client", "ui", "frame"].flatMap((folder) => readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" }).filter((file) => /^(?!tests\/).*\.tsx?$/.test(file)).map((file) => readFileSync(new URL(`${folder}/${file}`, root), "utf8"))).join("\n");
    const all = [...SHEETS, FRAME].map(plain).join("\n");
    const given = new Set([...all.matchAll(/(--[\w-]+)\s*:/g)].map(([, name]) => name));
    const asked = new Set([...`${all}\n${scripts}`.matchAll(/var\((--[\w-]+)/g)].map(([, name]) => name));
    // What scripts set by node, such as `--vc`, is in quotation marks there; `--v` goes on with a number.
    assert.deepEqual([...asked].filter((name) => name !== "--v" && !given.has(name) && !scripts.includes(`"${name}"`)), []);
    const voices = /^--v[1-8]$/;
    assert.deepEqual([...given].filter((name) => name && !asked.has(name) && !voices.test(name)), []);
});

test("the widget gets the tokens that it asks for, each theme in a block of its own", () => {
    assert.equal(lowered("0 0 light-dark(rgb(1 2 3 / .1), #000), 1px light-dark(#FFF, #151412)", true), "0 0 #000, 1px #151412");
    assert.equal(lowered("0 0 light-dark(rgb(1 2 3 / .1), #000), 1px light-dark(#FFF, #151412)", false), "0 0 rgb(1 2 3 / .1), 1px #FFF");
    const some = ":root { --a: light-dark(#FFF, #000); --b: 0 1px  rgb(1 2 3 / .5), var(--c); --c: red; /* --d: blue; */ --e: 1px; } @media print { :root { --a: #123; } }";
    assert.equal(
        blocks(tokensOf(some, "a { color: var(--a); margin: var(--b, 0); top: var(--own); }")),
        ':root{color-scheme:light;--a:#FFF;--b:0 1px rgb(1 2 3/.5),var(--c);--c:red}\n:root[data-theme="dark"]{color-scheme:dark;--a:#000}\n@media (prefers-color-scheme:dark){:root:not([data-theme]){color-scheme:dark;--a:#000}}',
    );
    const given = blocks(tokensOf(plain("tokens.css"), plain(FRAME)));
    assert.ok(given.includes("--canvas:#FFFFFF;") && given.includes("--canvas:#151412;") && !given.includes("light-dark") && !given.includes("--rail"), given);
    const own = new Set([...`${given}\n${plain(FRAME)}`.matchAll(/(--[\w-]+)\s*:/g)].map(([, name]) => name));
    assert.deepEqual([...plain(FRAME).matchAll(/var\((--[\w-]+)/g)].map(([, name]) => name).filter((name) => !own.has(name)), []);
});
