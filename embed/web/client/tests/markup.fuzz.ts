// Markup that wants to run, tried in a browser by tests/embed/test_markup.py: what becomes of it in a message has nothing
// but what is on the list, and DOMPurify, given the same list, finds nothing to take out.

import DOMPurify from "dompurify";
import fc from "fast-check";
import { h, render } from "preact";
import { Html } from "../render/Rich.tsx";
import { VECTORS } from "./markup.vectors.ts";

/** Tags of ours, and the attributes of each. */
const LIST: Record<string, readonly string[]> = {
    a: ["class", "href", "target", "rel"], button: ["type", "class", "aria-label"], code: ["class", "tabindex"], ol: ["start"],
    span: ["class", "aria-hidden"], div: ["class"], p: ["class"], small: ["class"],
    ...Object.fromEntries("ul li blockquote table thead tbody tr th td caption details summary hr br b strong i em u s del sub sup".split(" ").map((tag) => [tag, []])),
};
const CLASSES = new Set(["rich", "men", "me", "sub", "spoiler", "open", "veil", "heading", "code", "tb-wrap"]);
const SCHEMES = /^(?:https?:|mailto:|matrix:|#\/)/;
/** Of each level of the markup there are at most two here, a table and what it scrolls in; of each node at most four. */
const DEEPEST = 2 * 100 + 10;
const MOST = 4 * 5_000;

const purify = (node: Element): unknown[] => {
    DOMPurify.sanitize(node.cloneNode(true), {
        ALLOWED_TAGS: [...Object.keys(LIST), "#text"], ALLOWED_ATTR: [...new Set(Object.values(LIST).flat())], ALLOWED_URI_REGEXP: SCHEMES,
        ADD_URI_SAFE_ATTR: [...new Set(Object.values(LIST).flat())].filter((name) => name !== "href"), ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM: true,
        // It is about texts that look like tags once they are written down and read again, which nothing here does.
        SAFE_FOR_XML: false,
    });
    // The body that it puts around what it was given is not of it.
    return DOMPurify.removed.filter((each) => !("element" in each && each.element.nodeName === "BODY"));
};

function depth(node: Element): number {
    return 1 + Math.max(0, ...[...node.children].map(depth));
}

/** What is wrong with a message of this markup, opened as far as it can be. */
function faults(html: string): string[] {
    const place = document.createElement("div");
    document.body.append(place);
    const found: string[] = [];
    const context = { me: "@ada:x", onPerson: () => undefined, nameOf: (user: string) => user };
    render(h(Html, { html, context }), place);
    const look = (): void => {
        const nodes = [...place.querySelectorAll("*")];
        for (const node of nodes) {
            const allowed = Object.hasOwn(LIST, node.localName) && node.namespaceURI === "http://www.w3.org/1999/xhtml" ? LIST[node.localName] : undefined;
            if (!allowed) found.push(`<${node.localName}>`);
            for (const name of node.getAttributeNames()) if (!allowed?.includes(name)) found.push(`<${node.localName} ${name}>`);
            for (const name of node.classList) if (!CLASSES.has(name)) found.push(`class ${name}`);
            const href = node.getAttribute("href");
            if (href !== null && !SCHEMES.test(href)) found.push(`href ${href}`);
        }
        if (nodes.length > MOST) found.push(`${nodes.length} nodes`);
        if (depth(place) > DEEPEST) found.push(`${depth(place)} deep`);
        if (purify(place).length > 0) found.push(`DOMPurify: ${DOMPurify.removed.map((each) => ("element" in each ? each.element.nodeName : `${each.from.nodeName} ${each.attribute?.name}`)).join(" ")}`);
        if ("pwned" in globalThis) found.push("it ran");
    };
    look();
    for (const veil of place.querySelectorAll<HTMLElement>("button.spoiler")) veil.click();
    render(h(Html, { html: "", context }), place);
    render(null, place);
    place.remove();
    return found;
}

// --- what is tried ---

const RUN = "globalThis.pwned=1";
const TAGS = "a b i u s em strong del strike code pre p div span font ul ol li blockquote table thead tbody tfoot colgroup col tr td th caption h1 h6 img video audio source track picture iframe frameset object embed applet param script style link meta base form input button select optgroup option textarea fieldset label output svg math animate animateTransform set use image foreignObject desc title mtext mi mo mn ms mglyph malignmark annotation-xml semantics maction template slot noscript noembed noframes plaintext xmp listing marquee details summary dialog portal mx-reply body html head keygen isindex x-thing font-face a:b search selectedcontent".split(" ");
const SINKS = ["href", "src", "srcset", "srcdoc", "action", "formaction", "xlink:href", "data", "poster", "background", "ping", "to", "values", "from", "codebase", "cite", "longdesc", "manifest", "lowsrc", "dynsrc"];
const EVENTS = ["onerror", "onload", "onclick", "onfocus", "onbegin", "onend", "ontoggle", "onanimationstart", "onbeforetoggle", "oncontentvisibilityautostatechange", "onpointerrawupdate", "ONERROR"];
const PLAIN = ["id=app", "name=body", "name=attributes", "name=childNodes", "name=parentNode", "class=main", "class='language-js'", "class=language-\u0130", "style='position:fixed;inset:0'", "is=x-thing", "data-mx-spoiler", "data-mx-spoiler='--><b>'", "start=3", "start=1e9", "start=-1", "target=_self", "contenteditable", "autofocus", "tabindex=1", "popover", "shadowrootmode=open", "encoding=text/html", "attributeName=href", "title='</title><img onerror=1>'", "alt='<img>'", "dir=rtl"];
const ADDRESSES = [
    `javascript:${RUN}`, ` \tjava\nscript:${RUN}`, `JaVaScRiPt:${RUN}`, `&#106;avascript&colon;${RUN}`, `javascript&NewLine;:${RUN}`, `&#1;javascript:${RUN}`, `java\u00adscript:${RUN}`, `javascript\u202e:${RUN}`,
    `data:text/html,<script>${RUN}</script>`, "vbscript:x", "blob:https://evil.example/1", "filesystem:http://x/", "view-source:x", "//evil.example/x", "https://evil.example/x", "http://a@evil.example:80/", "mailto:a@b?subject=x", "mxc://evil.example/a",
    "matrix:u/x:y", "https://matrix.to/#/@x:y", "https://matrix.to/#/%23x:y", "https://matrix.to/#/%40x%22%3E:y", "#x", "", "https://[", "https:javascript", "https:///evil.example",
];
const TEXTS = ["words", "www.evil.example", "@ada:x", "#room:x", "&lt;img src=x onerror=1&gt;", "<!--", "-->", "--!>", "<!>", "<![CDATA[", "]]>", "<?xml ?>", "</", "<", "\u0000", "&#0;", "\u202e", "\u2028", "'\">", "`", "</title>", "</style>", "</p>", "</br>", "</math>", "</svg>", "</table>", "</template>", "</form>", `<script>${RUN}</script>`, `<img src=x onerror=${RUN}>`];

const attribute = fc.oneof(
    fc.tuple(fc.constantFrom(...EVENTS), fc.constantFrom("'", '"', "")).map(([name, quote]) => `${name}=${quote}${RUN}${quote}`),
    fc.tuple(fc.constantFrom(...SINKS), fc.constantFrom("'", '"', "", "`"), fc.constantFrom(...ADDRESSES)).map(([name, quote, to]) => `${name}=${quote}${to}${quote}`),
    fc.constantFrom(...PLAIN),
);
const between = fc.constantFrom(" ", "/", "\n", "\t", "\f");
const { piece } = fc.letrec<{ piece: string; element: string; nest: string }>((tie) => ({
    piece: fc.oneof({ depthSize: "small", withCrossShrink: true }, fc.constantFrom(...TEXTS), tie("element"), tie("nest")),
    element: fc
        .tuple(fc.constantFrom(...TAGS), fc.array(fc.tuple(between, attribute), { maxLength: 3 }), fc.array(tie("piece"), { maxLength: 4 }), fc.constantFrom("own", "own", "none", "other", "self"), fc.constantFrom(...TAGS))
        .map(([tag, attributes, inner, end, other]) => `<${tag}${attributes.map((each) => each.join("")).join("")}${end === "self" ? "/" : ""}>${inner.join("")}${end === "own" ? `</${tag}>` : end === "other" ? `</${other}>` : ""}`),
    // What goes beyond the bounds of depth and of nodes.
    nest: fc.tuple(fc.constantFrom("b", "div", "ul><li", "table><td", "blockquote", "font", "span data-mx-spoiler=x", "svg", "math><mtext"), fc.constantFrom(2, 60, 120, 700), tie("piece")).map(([tag, count, inner]) => `<${tag}>`.repeat(count) + inner),
}));
// Known tricks, cut, doubled and put into each other, are tricks that nobody has written down.
const vector = fc.constantFrom(...VECTORS);
const mixed = fc.tuple(vector, vector, fc.nat(), fc.nat(), piece).map(([one, other, from, at, made]) => one.slice(0, at % (one.length + 1)) + other.slice(from % (other.length + 1)) + made + one.slice(at % (one.length + 1)));
const hostile = fc.oneof({ weight: 3, arbitrary: fc.array(piece, { minLength: 1, maxLength: 8 }).map((all) => all.join("")) }, { weight: 2, arbitrary: mixed });

const MANY = ["<b>x</b>".repeat(20_000), "<br>".repeat(20_000), "<table><tr>".repeat(400), "<a href=https://x.example>".repeat(300), "<p>".repeat(9_000), "<span data-mx-spoiler>".repeat(150) + "x"];

// What is said stays there, whatever the markup calls its nodes.
const KEPT = ["<img name=body>words", "<form name=body></form>words", "<form><input name=childNodes>words</form>", "<form><input name=textContent><input name=nodeType>words</form>", "<b>".repeat(150) + "words", `${"<b>".repeat(99)}<form><input name=textContent>words`];

/** Every vector, then made ones; what was wrong. */
function tryAll(seed: number, runs: number): string {
    for (const html of KEPT) {
        const place = document.createElement("div");
        render(h(Html, { html, context: { me: "", onPerson: () => undefined, nameOf: (user: string) => user } }), place);
        if (place.textContent !== "words") return `${html}\n${place.textContent}`;
    }
    for (const html of [...VECTORS, ...MANY]) {
        const found = faults(html);
        if (found.length > 0) return `${html.slice(0, 300)}\n${found.slice(0, 5).join("\n")}`;
    }
    const result = fc.check(
        fc.property(hostile, (html) => {
            const found = faults(html.slice(0, 40_000));
            if (found.length > 0) throw new Error(found.slice(0, 5).join("\n"));
        }),
        { seed, numRuns: runs },
    );
    return result.failed ? `${JSON.stringify(result.counterexample)}\n${result.errorInstance instanceof Error ? result.errorInstance.message : ""}` : "";
}

Object.assign(globalThis, { tryAll, faults });
