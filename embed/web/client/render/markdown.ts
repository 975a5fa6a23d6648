// Markdown as Matrix knows it. Tags that somebody writes are shown, not meant.

import { Marked, type RendererObject, type TokenizerAndRendererExtension } from "marked";

const escape = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const renderer: RendererObject = {
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    text(token) {
        return "tokens" in token && token.tokens ? this.parser.parseInline(token.tokens) : escape(token.text);
    },
    codespan: ({ text }) => `<code>${escape(text)}</code>`,
    code: ({ text, lang }) => `<pre><code${lang ? ` class="language-${escape(lang.split(/\s/)[0] ?? "")}"` : ""}>${escape(text)}\n</code></pre>`,
};

const spoiler: TokenizerAndRendererExtension = {
    name: "spoiler",
    level: "inline",
    start: (source) => source.indexOf("||"),
    tokenizer(source) {
        const found = /^\|\|([^\n]+?)\|\|/.exec(source);
        if (!found) return undefined;
        return { type: "spoiler", raw: found[0], tokens: this.lexer.inlineTokens(found[1] ?? "") };
    },
    renderer(token) {
        return `<span data-mx-spoiler>${this.parser.parseInline(token.tokens ?? [])}</span>`;
    },
};

const marked = new Marked({ gfm: true, breaks: true, renderer, extensions: [spoiler] });

/** `block`: paragraphs, lists and the like; otherwise one run of text. */
export function markdown(text: string, block: boolean): string {
    if (!block) return (marked.parseInline(text, { async: false })).trim();
    const made = (marked.parse(text, { async: false })).trim();
    const single = /^<p>((?:(?!<\/?p>)[^])*)<\/p>$/.exec(made);
    return single?.[1] ?? made;
}
