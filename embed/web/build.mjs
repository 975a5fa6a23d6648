// Builds what browsers load, within the budgets of size: `node build.mjs` once, `--watch` again at every change.
// `--unstubbed` only sees whether it builds with the SDK as it comes.
//
// From each entry esbuild makes hashed files in dist/assets, compressed beforehand, and dist/manifest.json tells the
// server what there is. Everything is written aside and moved into place at the end, so that a server never sees half
// a build. The widget is built by itself (WIDGET, LOADER): it shares no chunk with the client, and older browsers run it.

import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { watch } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import zlib from "node:zlib";
import * as esbuild from "esbuild";
import { blocks, tokensOf } from "./look/lowered.ts";

const ROOT = import.meta.dirname;
const OUT = path.join(ROOT, "dist");
const ASIDE = path.join(ROOT, "dist.new");
const WATCH = process.argv.includes("--watch");
const UNSTUBBED = process.argv.includes("--unstubbed");
const require = createRequire(import.meta.url);

/** Entry name → source. The page's template asks the manifest for these names. */
const ENTRIES = { boot: "client/boot.tsx", style: "look/index.css" };
const WIDGET = { frame: "frame/main.tsx", frame_style: "frame/frame.css" };
const LOADER = { loader: "loader/embed.ts", loader_closed: "loader/closed.ts", frame_error: "frame/error.ts", worker: "client/worker.ts" };
/** The loader for pages that are built of modules. */
const MODULE = { module: "loader/module.ts", module_closed: "loader/module_closed.ts" };

/** Largest sizes in bytes, gzipped. webclient.md 3 */
const KB = 1024;
const WIDGET_BUDGETS = { loader: 4 * KB, module: 4 * KB, frame: 30 * KB, sealed: 30 * KB };
const BUDGETS = { boot: 40 * KB, start: 210 * KB, lazy: 30 * KB, crypto: 52 * KB, session: 300 * KB, style: 14 * KB };

const TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
};
/** What gains nothing from compression. */
const PACKED = new Set([".woff2"]);

// --- plugins ---

const SDK = /[\\/]matrix-js-sdk[\\/]lib[\\/]/;
/** Modules of the SDK that a client without calls never runs, and the stub that stands in for each. */
const STUBS = [
    [/lib[\\/]webrtc[\\/](call|callEventHandler|groupCall|groupCallEventHandler|mediaHandler)\.js$/, "webrtc.ts"],
    [/lib[\\/]matrixrtc[\\/]MatrixRTCSessionManager\.js$/, "matrixrtc.ts"],
    [/lib[\\/]sliding-sync-sdk\.js$/, "sliding.ts"],
    [/lib[\\/]rust-crypto[\\/]libolm_migration\.js$/, "legacy.ts"],
    [/lib[\\/]crypto[\\/]store[\\/](indexeddb|localStorage|memory)-crypto-store\.js$/, "legacy.ts"],
    [/lib[\\/]models[\\/]MSC3089TreeSpace\.js$/, "trees.ts"],
    [/lib[\\/]models[\\/]poll\.js$/, "poll.ts"],
    [/lib[\\/]oauth[\\/](index|tokenRefresher)\.js$/, "oauth.ts"],
    [/lib[\\/]autodiscovery\.js$/, "wellknown.ts"],
    [/[\\/]matrix-events-sdk[\\/]lib[\\/]index\.js$/, "events.ts"],
    [/[\\/]unhomoglyph[\\/]index\.js$/, "unhomoglyph.ts"],
];

const stubs = {
    name: "stubs",
    setup(build) {
        if (UNSTUBBED) return;
        build.onLoad({ filter: /(matrix-(js|events)-sdk[\\/]lib|unhomoglyph).*\.js$/ }, async ({ path: file }) => {
            const stub = STUBS.find(([pattern]) => pattern.test(file));
            if (!stub || (!SDK.test(file) && !/unhomoglyph|matrix-events-sdk/.test(file))) return undefined;
            const source = path.join(ROOT, "client/sdk/stubs", stub[1]);
            return { contents: await readFile(source, "utf8"), loader: "ts", watchFiles: [source] };
        });
    },
};

/**
 * `hromada:icons/all`: the icons named in look/icons.json, as [tag, attributes] lists; `/asked`: those of parts that are
 * loaded when asked for, in look/icons.asked.json; `/entry`: those of sign-in.
 */
const ENTRY_ICONS = ["building-2", "circle-alert", "circle-check", "cloud-off", "eye", "eye-off", "globe", "info", "lock", "x"];
const FRAME_ICONS = [
    "check-check", "circle-alert", "download", "ellipsis", "file", "globe", "log-in", "mail", "paperclip", "trash-2", "volume-2", "volume-x", "x",
];
const icons = {
    name: "icons",
    setup(build) {
        build.onResolve({ filter: /^hromada:icons\// }, ({ path: name }) => ({ path: name, namespace: "icons" }));
        build.onLoad({ filter: /.*/, namespace: "icons" }, async ({ path: which }) => {
            const list = path.join(ROOT, which.endsWith("/asked") ? "look/icons.asked.json" : "look/icons.json");
            const fixed = which.endsWith("/entry") ? ENTRY_ICONS : which.endsWith("/frame") ? FRAME_ICONS : null;
            // Those of sign-in are there already when the others come.
            const names = fixed ?? JSON.parse(await readFile(list, "utf8")).filter((name) => !ENTRY_ICONS.includes(name));
            const nodes = require("lucide-static/icon-nodes.json");
            const cut = {};
            for (const name of names) cut[name] = nodes[name] ?? (await shapes(name));
            return { contents: JSON.stringify(cut), loader: "json", watchFiles: [list] };
        });
    },
};

/** The shapes of an icon that has another name by now; its drawing keeps the old one. */
async function shapes(name) {
    const file = path.join(path.dirname(require.resolve("lucide-static/icon-nodes.json")), "icons", `${name}.svg`);
    const drawing = (await readFile(file, "utf8")).replace(/^[^]*?<svg[^]*?>/, "");
    return [...drawing.matchAll(/<(\w+)([^>]*?)\/?>/g)].map(([, tag, attributes]) => [
        tag,
        Object.fromEntries([...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value])),
    ]);
}

/** `hromada:emoji/uk`: [[emoji, label, tags, skins?], …] by group, cut from emojibase-data. */
const emoji = {
    name: "emoji",
    setup(build) {
        build.onResolve({ filter: /^hromada:emoji\// }, ({ path: name }) => ({ path: name, namespace: "emoji" }));
        build.onLoad({ filter: /.*/, namespace: "emoji" }, ({ path: name }) => {
            const all = require(`emojibase-data/${name.slice("hromada:emoji/".length)}/data.json`);
            const groups = Array.from({ length: 10 }, () => []);
            for (const { emoji: sign, label, tags, group, order, version, skins } of all) {
                if (group === undefined || group === 2 || version > 15.1) continue;
                const row = [sign, label, (tags ?? []).join(" ")];
                if (skins?.length === 5) row.push(skins.map((skin) => skin.emoji));
                groups[group].push([order, row]);
            }
            const sorted = groups.map((group) => group.sort((a, b) => a[0] - b[0]).map(([, row]) => row));
            return { contents: JSON.stringify(sorted), loader: "json" };
        });
    },
};

/** `hromada:tokens`: those tokens that the sheet of the widget asks for, without light-dark(). */
const tokens = {
    name: "tokens",
    setup(build) {
        build.onResolve({ filter: /^hromada:tokens$/ }, ({ path: name, importer }) => ({ path: name, namespace: "tokens", pluginData: importer }));
        build.onLoad({ filter: /.*/, namespace: "tokens" }, async ({ pluginData: sheet }) => {
            const all = path.join(ROOT, "look/tokens.css");
            const found = tokensOf(await readFile(all, "utf8"), await readFile(sheet, "utf8"));
            return { contents: blocks(found), loader: "css", watchFiles: [all, sheet] };
        });
    },
};

/** The wasm as a file with a hash in its name, and its address as the module's value. */
const wasm = {
    name: "wasm",
    setup(build) {
        build.onResolve({ filter: /^hromada:crypto\.wasm$/ }, () => ({
            path: path.join(
                path.dirname(require.resolve("@matrix-org/matrix-sdk-crypto-wasm")),
                "pkg/matrix_sdk_crypto_wasm_bg.wasm",
            ),
        }));
    },
};

const options = {
    absWorkingDir: ROOT,
    entryPoints: Object.entries(ENTRIES).map(([out, source]) => ({ in: source, out })),
    outdir: path.join(ASIDE, "assets"),
    entryNames: "[name].[hash]",
    chunkNames: "c.[hash]",
    assetNames: "[name].[hash]",
    publicPath: "/assets/",
    bundle: true,
    splitting: true,
    format: "esm",
    target: ["es2022", "chrome123", "firefox125", "safari17.5"],
    minify: !WATCH,
    sourcemap: false,
    metafile: true,
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".woff2": "file", ".wasm": "file", ".svg": "file" },
    define: { "process.env.NODE_ENV": '"production"', global: "globalThis", BUILD: JSON.stringify(await stamp()) },
    plugins: [stubs, icons, emoji, tokens, wasm],
    logLevel: "warning",
};

/** The widget runs where sites' visitors are: in browsers of some years ago. */
const widget = {
    ...options,
    entryPoints: Object.entries(WIDGET).map(([out, source]) => ({ in: source, out })),
    chunkNames: "w.[hash]",
    target: ["chrome91", "firefox90", "safari15"],
    charset: "utf8",
};
const loader = {
    ...widget,
    entryPoints: Object.entries(LOADER).map(([out, source]) => ({ in: source, out })),
    splitting: false,
    format: "iife",
};
const module = { ...loader, entryPoints: Object.entries(MODULE).map(([out, source]) => ({ in: source, out })), format: "esm" };

/** What a build is called on the page of errors: a hash of the sources. */
async function stamp() {
    const hash = createHash("sha256");
    for (const folder of ["client", "core", "frame", "loader", "look", "ui"]) {
        const names = await readdir(path.join(ROOT, folder), { recursive: true }).catch(() => []);
        for (const name of names.sort()) {
            const file = path.join(ROOT, folder, name);
            if ((await stat(file)).isFile()) hash.update(name).update(await readFile(file));
        }
    }
    return hash.digest("hex").slice(0, 7);
}

// --- after esbuild ---

const brotli = promisify(zlib.brotliCompress);
const gzip = promisify(zlib.gzip);
const zstd = zlib.zstdCompress && promisify(zlib.zstdCompress);
const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT, ZSTD_c_compressionLevel } = zlib.constants;

const HASHED = /\.[0-9A-Z]{8}\.\w+$/;

/** Write `name`.br, .gz and .zst beside it, or keep those of the last build where the name holds the content's hash. */
async function compress(folder, name) {
    const data = await readFile(path.join(folder, name));
    const wanted = {
        br: () =>
            brotli(data, { params: { [BROTLI_PARAM_QUALITY]: WATCH ? 4 : 11, [BROTLI_PARAM_SIZE_HINT]: data.length } }),
        gz: () => gzip(data, { level: WATCH ? 4 : 9 }),
        ...(zstd && { zst: () => zstd(data, { params: { [ZSTD_c_compressionLevel]: WATCH ? 3 : 19 } }) }),
    };
    const sizes = { raw: data.length };
    for (const [suffix, make] of Object.entries(wanted)) {
        const target = path.join(folder, `${name}.${suffix}`);
        const before = path.join(OUT, "assets", `${name}.${suffix}`);
        if (!WATCH && HASHED.test(name) && (await stat(before).catch(() => null))) await cp(before, target);
        else await writeFile(target, await make());
        sizes[suffix] = (await stat(target)).size;
    }
    return sizes;
}

async function licences() {
    const parts = ["What this client is made of, and under which licences.\n"];
    const packages = new Set();
    for (const entry of Object.keys((await lock()).packages)) {
        const name = entry.replace(/^.*node_modules\//, "");
        if (name && !packages.has(name) && inBundle.has(name)) packages.add(name);
    }
    for (const name of [...packages].sort()) {
        const folder = path.join(ROOT, "node_modules", name);
        const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
        const file = (await readdir(folder)).find((each) => /^(licen[cs]e|copying)/i.test(each));
        const text = file ? await readFile(path.join(folder, file), "utf8") : "";
        parts.push(`${"─".repeat(80)}\n${name} ${version}: ${license}\n\n${text.trim()}\n`);
    }
    return parts.join("\n");
}

const lock = async () => JSON.parse(await readFile(path.join(ROOT, "package-lock.json"), "utf8"));
let inBundle = new Set();

/** The files a page loads for `entry` before anything is asked for lazily. */
function closure(outputs, entry) {
    const found = new Set();
    const visit = (name) => {
        if (found.has(name)) return;
        found.add(name);
        for (const { path: next, kind } of outputs[name]?.imports ?? []) {
            if (kind === "import-statement") visit(next);
        }
    };
    visit(entry);
    return found;
}

/** Both the client and the widget. */
async function build() {
    await mkdir(ASIDE, { recursive: true });
    const built = await Promise.all([options, widget, loader, module].map((each) => esbuild.build(each)));
    const merged = { inputs: {}, outputs: {} };
    for (const { metafile } of built) {
        Object.assign(merged.inputs, metafile.inputs);
        Object.assign(merged.outputs, metafile.outputs);
    }
    return { metafile: merged, errors: [] };
}

async function finish({ metafile, errors }) {
    if (errors.length) return;
    const assets = path.join(ASIDE, "assets");
    inBundle = new Set(["lucide-static", "@fontsource-variable/inter", "emojibase-data"]);
    for (const file of Object.keys(metafile.inputs)) {
        const found = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file.split("node_modules/").length > 1 ? file : "");
        if (found) inBundle.add(found[1]);
    }
    const text = await licences();
    await writeFile(path.join(assets, "licences.txt"), text);
    await cp(path.join(ROOT, "look/logo.svg"), path.join(assets, "logo.svg"));
    for (const file of await readdir(path.join(ROOT, "look/art"))) await cp(path.join(ROOT, "look/art", file), path.join(assets, file));

    const sizes = {};
    const manifest = { build: options.define.BUILD.slice(1, -1), entries: {}, preload: [], assets: {} };
    for (const file of await readdir(assets)) {
        const type = TYPES[path.extname(file)];
        if (!type) throw new Error(`no media type for ${file}`);
        sizes[file] = PACKED.has(path.extname(file))
            ? { raw: (await stat(path.join(assets, file))).size }
            : await compress(assets, file);
        const encodings = Object.keys(sizes[file]).filter((key) => key !== "raw");
        manifest.assets[file] = { type, size: sizes[file].raw, encodings };
    }
    const short = (file) => path.basename(file);
    const outputs = Object.fromEntries(
        Object.entries(metafile.outputs).map(([file, output]) => [
            short(file),
            { ...output, imports: output.imports.map((each) => ({ ...each, path: short(each.path) })) },
        ]),
    );
    for (const [file, { entryPoint }] of Object.entries(outputs)) {
        const entry = Object.entries({ ...ENTRIES, ...WIDGET, ...LOADER, ...MODULE }).find(([, source]) => source === entryPoint)?.[0];
        if (entry) manifest.entries[entry] = file;
    }
    const main = Object.entries(outputs).find(([, output]) => output.entryPoint === "client/main.tsx");
    if (main) manifest.preload = [...closure(outputs, main[0])].filter((file) => file.endsWith(".js"));
    report(outputs, manifest, sizes, main?.[0]);
    await writeFile(path.join(ASIDE, "manifest.json"), JSON.stringify(manifest, null, 1));
    await rm(`${OUT}.old`, { recursive: true, force: true });
    await rename(OUT, `${OUT}.old`).catch(() => undefined);
    await rename(ASIDE, OUT);
    await rm(`${OUT}.old`, { recursive: true, force: true });
    if (WATCH) console.log(`built ${manifest.build} at ${new Date().toLocaleTimeString()}`);
}

/** Print the sizes, and fail if one is beyond its budget. */
function report(outputs, manifest, sizes, main) {
    const gz = (files) => [...files].reduce((sum, file) => sum + (sizes[file]?.gz ?? 0), 0);
    const boot = closure(outputs, manifest.entries.boot);
    const start = main ? closure(outputs, main) : new Set();
    const first = new Set([...boot, ...start]);
    const ours = (file) => inputs(outputs[file]).some((each) => /^(frame|loader)\/|^client\/worker\./.test(each)) || file.startsWith("w.");
    const lazy = Object.keys(outputs).filter((file) => file.endsWith(".js") && !first.has(file) && !ours(file));
    const crypto = lazy.filter((file) => inputs(outputs[file]).some((each) => each.includes("sdk-crypto-wasm")));
    const data = lazy.filter((file) => inputs(outputs[file]).some((each) => each.startsWith("emoji:")));
    const others = lazy.filter((file) => !crypto.includes(file) && !data.includes(file));
    // What an ordinary encrypted session loads: no pages of settings or administration, no panel of files, no recording,
    // no second tab, no index of encrypted rooms (that comes when somebody first searches them, and is held by the budget of
    // lazy parts), no jump to a date, no rooms made or set up, no person or message looked at closely, nothing reported, no list of keys,
    // no fingers, no code that is coloured, and one language.
    const rare = (each) => /^(icons:hromada:icons\/asked|client\/(pages|i18n|sdk\/(find|tabs|mine|details\.|invited\.|account\.|profile\.)|stores\/(finder|presence)|render\/colour\.|parts\/(Choice|common|Details|Elsewhere|Files|Jump|KeysTable|Members|NewDialog|People|PersonCard|Report|RoomSettings|SupportCase|Voice|asked|touch)\.))/.test(each);
    const usual = others.filter((file) => !inputs(outputs[file]).some(rare));
    const style = sizes[manifest.entries.style].gz;
    const found = {
        boot: gz(boot) + style,
        start: gz(first),
        lazy: Math.max(0, ...others.map((file) => sizes[file].gz)),
        crypto: gz(crypto),
        session: gz(first) + gz(crypto) + gz(usual) + style,
        style,
    };
    // The widget: its script, its sheet and one language. Not counted is what comes later and to few (`later` in
    // frame/ui/parts.tsx): the menu, rating, the enlarged picture, opening hours; encryption; work; an account; the page of errors.
    const words = Object.keys(outputs).filter((file) => inputs(outputs[file]).some((each) => each.startsWith("frame/i18n/")));
    const shown = closure(outputs, manifest.entries.frame);
    const spoken = words.filter((file) => !shown.has(file)).map((file) => sizes[file].gz);
    found.loader = sizes[manifest.entries.loader].gz;
    found.module = sizes[manifest.entries.module].gz;
    found.frame = gz(shown) + sizes[manifest.entries.frame_style].gz + Math.max(0, ...spoken);
    // And what an encrypted conversation loads besides, without the WebAssembly.
    const sealed = Object.keys(outputs).find((file) => outputs[file].entryPoint === "frame/crypto.ts");
    found.sealed = gz([...closure(outputs, sealed)].filter((file) => !shown.has(file)));
    manifest.sizes = { loader: found.loader, module: found.module, frame: found.frame, sealed: found.sealed };
    const budgets = { ...BUDGETS, ...WIDGET_BUDGETS };
    const over = Object.keys(budgets).filter((name) => found[name] > budgets[name]);
    if (!WATCH) {
        const kb = (bytes) => `${(bytes / KB).toFixed(1)} KB`;
        for (const [name, size] of Object.entries(found)) {
            console.log(`${name.padEnd(8)}${kb(size).padStart(10)} of ${kb(budgets[name])}`);
        }
    }
    if (over.length && !WATCH) throw new Error(`beyond the budget: ${over.join(", ")}`);
}

const inputs = (output) => Object.keys(output.inputs);

/** Build the client with the SDK as it comes, and see that each stub stands in for something. Writes nothing. */
async function unstubbed() {
    const { metafile } = await esbuild.build({ ...options, write: false });
    const files = Object.keys(metafile.inputs);
    const idle = STUBS.filter(([pattern]) => !files.some((file) => pattern.test(file)));
    if (idle.length) throw new Error(`stubs for what the client does not load: ${idle.map(([pattern]) => pattern).join(", ")}`);
    console.log(`builds without stubs: ${files.length} sources`);
}

// --- run ---

if (UNSTUBBED) {
    await unstubbed();
    process.exit();
}
await rm(ASIDE, { recursive: true, force: true });
await mkdir(ASIDE, { recursive: true });
if (WATCH) {
    // Whatever changes, all of it is made anew: it takes a second, and the manifest names all files.
    let timer;
    const all = () => build().then(finish).catch(console.error);
    for (const folder of ["client", "core", "frame", "loader", "look", "ui"]) {
        watch(path.join(ROOT, folder), { recursive: true }, () => {
            clearTimeout(timer);
            timer = setTimeout(all, 150);
        });
    }
    await all();
} else {
    await finish(await build());
}
