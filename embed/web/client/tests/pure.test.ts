import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { adminEn } from "../i18n/admin.en.ts";
import { more } from "../i18n/en.more.ts";
import { settings } from "../i18n/en.settings.ts";
import { mailEn } from "../i18n/mail.en.ts";
import { searchEn } from "../i18n/search.en.ts";
import { fill } from "../i18n/t.ts";
import { trustEn } from "../i18n/trust.en.ts";
import { dressed } from "../i18n/xx.ts";
import { uk } from "../i18n/uk.ts";
import { en } from "../i18n/en.ts";
import { contentOf, formatted } from "../render/compose.ts";
import { group } from "../render/group.ts";
import { isoDay, weekdays, weeks } from "../render/month.ts";
import { otherHost, pieces, safe } from "../render/links.ts";
import { format, matrixLink, parse } from "../routes.ts";
import { badge, type Counts } from "../sdk/badge.ts";
import { clean, unquoted } from "../sdk/text.ts";
import type { Message } from "../sdk/types.ts";
import { commandOf } from "../parts/suggest.ts";
import { fits, fold, score } from "../stores/score.ts";

const COUNTS: Counts = {
    membership: "join", kind: "room", notifications: 0, highlights: 0, muted: false, unread: false, markedUnread: false, read: false, upgraded: false,
};

test("badges by the table", () => {
    const table: [Partial<Counts>, [number, boolean, boolean]][] = [
        [{}, [0, false, false]],
        [{ notifications: 3, unread: true }, [3, false, false]],
        [{ notifications: 3, highlights: 1 }, [3, true, false]],
        [{ kind: "dm", notifications: 2 }, [2, true, false]],
        [{ unread: true }, [0, false, true]],
        [{ markedUnread: true, read: true }, [0, false, true]],
        [{ muted: true, notifications: 9, unread: true }, [0, false, true]],
        [{ muted: true, highlights: 1 }, [1, true, false]],
        [{ notifications: 4, read: true }, [0, false, false]],
        [{ membership: "leave", notifications: 4 }, [0, false, false]],
        [{ membership: "invite", notifications: 1 }, [0, false, false]],
        [{ upgraded: true, notifications: 4 }, [0, false, false]],
        [{ kind: "space", notifications: 4 }, [0, false, false]],
    ];
    for (const [given, [count, mention, dot]] of table) {
        assert.deepEqual(badge({ ...COUNTS, ...given }), { count, mention, dot }, JSON.stringify(given));
    }
});

const message = (key: string, sender: string, time: number): Message => ({
    kind: "message", key, id: key, sender: { id: sender, name: sender, avatar: undefined }, level: 0, mine: false, time, body: { type: "text", text: key, html: undefined, style: "text" },
    edited: false, quote: undefined, reactions: [], thread: undefined, mentionsMe: false, pinned: false, plainInEncrypted: false, state: "sent", error: undefined, readers: [],
});
const NOON = new Date(2026, 5, 4, 12).getTime();
const happened = (key: string) => ({ kind: "happening" as const, key, id: key, time: NOON, text: "happened.joined", slots: {}, readers: [] });

test("messages are grouped by sender, time and day", () => {
    const minute = 60_000;
    const items = [message("a", "x", NOON), message("b", "x", NOON + minute), message("c", "y", NOON + 2 * minute), message("d", "y", NOON + 10 * minute), message("e", "y", NOON + 24 * 60 * minute)];
    const days = group(items, undefined);
    assert.equal(days.length, 2);
    assert.deepEqual(days[0]?.rows.map((row) => row.kind === "message" && [row.first, row.next]), [[true, true], [false, false], [true, false], [true, false]]);
});

test("the line of new messages parts a group", () => {
    const rows = group([message("a", "x", NOON), message("b", "x", NOON + 1)], "b")[0]?.rows ?? [];
    assert.deepEqual(rows.map((row) => row.kind), ["message", "line", "message"]);
    assert.equal(rows[2]?.kind === "message" && rows[2].first, true);
});

test("what began a page of history stays the first of its group when older items come", () => {
    const items = [message("a", "x", NOON), message("b", "x", NOON + 1), message("c", "x", NOON + 2)];
    const apart = new Set(["b"]);
    const drawn = group(items.slice(1), undefined, apart)[0]?.rows ?? [];
    assert.deepEqual(group(items, undefined, apart)[0]?.rows.slice(1), drawn);
    const rows = group([happened("a"), happened("b"), happened("c")], undefined, apart)[0]?.rows ?? [];
    assert.deepEqual(rows.map((row) => row.key), ["a", "b"]);
});

test("what happened in a row is one line", () => {
    assert.equal(group([happened("a"), happened("b")], undefined)[0]?.rows.length, 1);
});

test("routes there and back", () => {
    for (const fragment of ["#/", "#/login", "#/room/!a:b", "#/room/!a:b/$event?via=x.org&panel=members", "#/explore?q=%D1%81%D0%B0%D0%B4", "#/settings/devices", "#/new", "#/room/!a:b?panel=person%3A%40ada%3Ab", "#/search?q=a&in=%21a%3Ab"]) {
        assert.equal(format(parse(fragment)), fragment);
    }
    assert.deepEqual(parse("#/nonsense/%E0%A4%A"), { page: "home" });
    assert.deepEqual(matrixLink("https://matrix.to/#/%23garden%3Ab?via=c"), { page: "room", room: "#garden:b", event: undefined, via: ["c"], panel: undefined });
    assert.deepEqual(matrixLink("matrix:u/ada:b"), { page: "person", user: "@ada:b" });
    assert.equal(matrixLink("https://example.org/#/@ada:b"), undefined);
});

test("names lose what turns or hides", () => {
    assert.equal(clean("a\u202Eb\u2066c\u200Bd\u0000"), "abcd");
    assert.equal(clean("a\n b"), "a b");
    assert.equal(clean(3), "");
    assert.equal(clean("x".repeat(300)).length, 200);
});

test("quoted lines of old replies are dropped", () => {
    assert.equal(unquoted("> <@a:b> one\n> two\n\nanswer"), "answer");
    assert.equal(unquoted("> only a quote"), "> only a quote");
});

test("a month by weeks that begin on any day", () => {
    // February 2026 began on a Sunday and had 28 days.
    assert.deepEqual(weeks(2026, 1, 7).map((week) => [week[0], week[6]]), [[1, 7], [8, 14], [15, 21], [22, 28]]);
    assert.deepEqual(weeks(2026, 1, 1)[0], [0, 0, 0, 0, 0, 0, 1]);
    assert.deepEqual(weeks(2026, 1, 6)[0], [0, 1, 2, 3, 4, 5, 6]);
    for (const first of [1, 6, 7]) {
        for (let month = 0; month < 48; month++) {
            const days = weeks(2024, month, first).flat().filter(Boolean);
            assert.deepEqual(days, Array.from({ length: new Date(2024, month + 1, 0).getDate() }, (_, at) => at + 1));
            const at = weeks(2024, month, first)[0]?.indexOf(1) ?? -1;
            assert.equal(weekdays(first)[at], new Date(2024, month, 1).getDay() || 7);
        }
    }
    assert.equal(isoDay(new Date(2026, 0, 4, 12)), "2026-01-04");
});

test("links: only harmless schemes", () => {
    for (const bad of ["javascript:alert(1)", " java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "ftp://x"]) assert.equal(safe(bad), undefined, bad);
    assert.equal(safe("https://example.org/a b"), "https://example.org/a%20b");
    assert.equal(otherHost("https://bank.example", "https://evil.example/"), "evil.example");
    assert.equal(otherHost("www.bank.example/x", "https://bank.example/"), undefined);
    assert.equal(otherHost("click here", "https://evil.example/"), undefined);
});

test("addresses and ids in plain text", () => {
    assert.deepEqual(pieces("see example.org, @ada:b.org and #garden:b.org!").map(({ kind, text }) => [kind, text]), [
        ["text", "see "], ["link", "example.org"], ["text", ", "], ["id", "@ada:b.org"], ["text", " and "], ["id", "#garden:b.org"], ["text", "!"],
    ]);
});

test("search: word starts, and Cyrillic is Latin", () => {
    assert.equal(fold("Ґанок об’їзд"), "ganok obyizd");
    assert.ok(score("Podil Community Garden", "gar") > score("Edgar Lutz", "gar"));
    assert.ok(score("Тарас Бондар", "taras") > 0);
    assert.ok(score("Taras", "тар") > 0);
    assert.equal(score("Maya", "x"), 0);
});

test("search: what fits of a name is marked as it is written", () => {
    assert.deepEqual(fits("Podil Community Garden", "gar"), ["Podil Community ", "Gar", "den"]);
    assert.deepEqual(fits("Тарас Щербак", "taras shche"), ["", "Тарас Ще", "рбак"]);
    assert.deepEqual(fits("Щербак Тарас", "tar shch"), ["", "Щ", "ербак ", "Тар", "ас"]);
    assert.deepEqual(fits("Podil Community Garden", "pcg"), ["", "P", "odil ", "C", "ommunity ", "G", "arden"]);
    assert.deepEqual(fits("Edgar", "gar"), ["Ed", "gar"]);
    assert.deepEqual(fits("🌱🌱 Garden", "gar"), ["🌱🌱 ", "Gar", "den"]);
    assert.deepEqual(fits("Об’їзд", "obyi"), ["", "Об’ї", "зд"]);
    assert.deepEqual(fits("Maya", ""), ["Maya"]);
    assert.deepEqual(fits("Maya", "a"), ["Maya"], "one letter is found at beginnings only");
});

test("markdown only where there is a mark", async () => {
    assert.equal(await formatted("plain text", []), undefined);
    assert.equal(await formatted("**bold**", []), "<strong>bold</strong>");
    assert.equal(await formatted("a ||secret|| b", []), "a <span data-mx-spoiler>secret</span> b");
    assert.equal(await formatted("2 > 1", []), undefined);
    assert.match((await formatted("`x` <script>alert(1)</script> <b>", [])) ?? "", /&#60;script&#62;/);
    assert.match((await formatted("```py\nx<1\n```", [])) ?? "", /<pre><code class="language-py">x&#60;1\n<\/code><\/pre>/);
});

test("mentions, replies and edits as the specification has them", async () => {
    const mention = { text: "@Ada", id: "@ada:b" };
    const content = await contentOf({ text: "@Ada hi", mentions: [mention], reply: { id: "$r", sender: "@maya:b" }, thread: undefined, edit: undefined });
    assert.deepEqual(content["m.mentions"], { user_ids: ["@ada:b", "@maya:b"] });
    assert.equal(content["formatted_body"], '<a href="https://matrix.to/#/@ada:b">Ada</a> hi');
    assert.deepEqual(content["m.relates_to"], { "m.in_reply_to": { event_id: "$r" } });
    const edit = await contentOf({ text: "new", mentions: [], reply: undefined, thread: undefined, edit: "$e" });
    assert.deepEqual(edit["m.relates_to"], { rel_type: "m.replace", event_id: "$e" });
    assert.equal((edit["m.new_content"] as { body: string }).body, "new");
    assert.equal((await contentOf({ text: "/me waves", mentions: [], reply: undefined, thread: undefined, edit: undefined }))["msgtype"], "m.emote");
});

test("what begins with a slash is a command, a path or a text", async () => {
    assert.deepEqual(commandOf("/kick  @ada:b \n"), { name: "kick", rest: "@ada:b", known: true });
    assert.deepEqual(commandOf("/shrgu\nso"), { name: "shrgu", rest: "so", known: false });
    assert.equal(commandOf("/вийти")?.known, false);
    for (const text of ["/etc/hosts", "//leave", "/", "/ leave", "/5 of them", " /leave", "to /leave"]) assert.equal(commandOf(text), undefined, text);
    assert.equal((await contentOf({ text: "//leave", mentions: [], reply: undefined, thread: undefined, edit: undefined }))["body"], "/leave");
});

test("languages: the same keys and slots, all plural forms", () => {
    const slots = (text: unknown): string => [...new Set(JSON.stringify(text).match(/\{\w+\}/g))].filter((slot) => slot !== "{n}").sort().join();
    for (const key of Object.keys(en) as (keyof typeof en)[]) assert.equal(slots(uk[key]), slots(en[key]), key);
    for (const [n, word] of [[1, "учасник"], [2, "учасники"], [5, "учасників"], [21, "учасник"], [112, "учасників"]] as const) {
        assert.equal(fill(uk["room.members"], { n }, "uk"), `${n} ${word}`);
    }
});

test("the language that is none is longer, has accents and keeps slots", () => {
    assert.equal(dressed("{n} Messages"), "{n} Ṁéšš\u0227ğéš".replace("\u0227", "ȧ") + " ~~~~");
    assert.equal(dressed("Send"), "Šéñđ~~");
    assert.match(dressed("a sentence of several words that go on"), / ~{7} ~{7} ~+$/);
});

/** Sources without those whose name a pattern allows, by path. */
function sources(without: RegExp): [string, string][] {
    const root = new URL("../", import.meta.url);
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll("\\", "/"));
    const found = files.filter((file) => /\.tsx?$/.test(file) && !/^(i18n|tests)\//.test(file) && !without.test(file));
    assert.ok(found.length > 50);
    return found.map((file) => [file, readFileSync(new URL(file, root), "utf8")]);
}

test("every text is said somewhere", () => {
    const text = sources(/^$/).map(([, each]) => each).join("\n");
    // What is put together out of a beginning and something else: `panel.${tab}`.
    const begun = new Set([...text.matchAll(/`([\w.-]*[.-])\$\{/g)].map(([, beginning]) => beginning ?? ""));
    // Of what happened to several: `happened.joined` with what is put after it.
    const known = (key: string): boolean => text.includes(`"${key}"`) || [...begun].some((beginning) => key.startsWith(beginning)) || (key.endsWith(".many") && text.includes(`"${key.slice(0, -5)}"`));
    for (const texts of [en, adminEn, mailEn, searchEn, trustEn]) assert.deepEqual(Object.keys(texts).filter((key) => !known(key)), []);
});

test("texts that come with some parts are said by them alone", () => {
    const said = (texts: object, by: RegExp): string[] =>
        Object.keys(texts).filter((key) => key.includes(".")).flatMap((key) => sources(by).filter(([, text]) => text.includes(`"${key}"`)).map(([file]) => `${file}: ${key}`));
    assert.deepEqual(said(settings, /^pages\/(Settings|Backup|Profile|Told|Confirm|ByCode|KeysFile|rows)\./), []);
    const asked = /^(pages\/(Backup|Explore|FirstWords|KeysFile|Preview|Profile|Settings|Space|Told)\.|pages\/admin\/(Rooms|Users)\.|parts\/(Details|Elsewhere|Files|Jump|KeysTable|Members|NewDialog|People|PersonCard|Report|RoomSettings|SupportCase|Voice)\.)/;
    assert.deepEqual(said(more, asked), []);
    const icons = JSON.parse(readFileSync(new URL("../../look/icons.asked.json", import.meta.url), "utf8")) as string[];
    const draws = (text: string): boolean => icons.some((name) => text.includes(`"${name}"`));
    for (const [file, text] of sources(/^pages\/admin\/site-types/)) if (draws(text)) assert.match(text, /asked\.ts";/, file);
    for (const [file, text] of sources(/^$/)) if (asked.test(file)) assert.match(text, /import "[./a-z]*\/asked\.ts";/, file);
});
