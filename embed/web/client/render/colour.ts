// Colours for code: highlight.js' scanner, whose tree is turned into spans of ours. No markup is made.

import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import css from "highlight.js/lib/languages/css";
import go from "highlight.js/lib/languages/go";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

const languages = { bash, c, css, go, javascript, json, python, rust, sql, typescript, xml, yaml };
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);

interface Span {
    text: string;
    kind: string | undefined;
}
interface TreeNode {
    scope?: string;
    children: (TreeNode | string)[];
}

const KINDS: Record<string, string> = {
    keyword: "k", literal: "k", built_in: "k", type: "k", tag: "k", string: "s", number: "s", regexp: "s", attr: "f", title: "f", function: "f",
    attribute: "f", name: "f", variable: "f", comment: "c", doctag: "c", meta: "c",
};

/** The code in spans; undefined for a language that is not known. */
export function colour(text: string, language: string): Span[] | undefined {
    if (!hljs.getLanguage(language)) return undefined;
    const result = hljs.highlight(text, { language, ignoreIllegals: true });
    const tree = (result._emitter as unknown as { rootNode?: TreeNode; root?: TreeNode }).rootNode ?? (result._emitter as unknown as { root: TreeNode }).root;
    const spans: Span[] = [];
    const walk = (node: TreeNode | string, kind: string | undefined): void => {
        if (typeof node === "string") spans.push({ text: node, kind });
        else for (const child of node.children) walk(child, KINDS[node.scope?.split(".")[0] ?? ""] ?? kind);
    };
    walk(tree, undefined);
    return spans;
}
