"""Routing, settings and hours of support chats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.services.support import hours, texts
from homeserver.services.support.site import Hours, allows, parse_config, readable
from tests.embed.support_chat import Agent, Frame, new_site, site_command
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

ORIGIN = "https://shop.example"


@pytest.mark.usefixtures("web_build")
@pytest.mark.parametrize("mode", ["round_robin", "least_open"])
async def test_cases_are_offered_in_turn_to_who_is_there(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser, mode: str
) -> None:
    agents = [Agent(await make_user(name)) for name in ("first", "second")]
    away = await make_user("away")
    names = [agent.client.user_id for agent in agents]
    routing = {"mode": mode, "requeue_seconds": 3_600}
    site = new_site(server, [ORIGIN], [*names, away.user_id], routing=routing)
    desk = ""
    for agent in agents:
        desk = await agent.join_desk()  # their syncs say that they are there
    await away.ok("POST", f"/join/{desk}", {})
    offered: list[str] = []
    for number in range(2):
        frame = Frame(http, server, site)
        await frame.begin()
        await frame.say(f"case number {number}")
        card = await agents[0].card(desk, f"case number {number}", "offered to")
        offered.append(card["body"].split("offered to ")[1].split("\n")[0])
    assert set(offered) == set(names)
    # Nobody takes the first one: after its time, which is short from now on, it goes to the other agent, who is told in
    # the thread.
    site_command(server, "edit", site, "--file", "-", stdin='{"routing": {"requeue_seconds": 10}}')
    await agents[0].card(desk, "case number 0", f"offered to {offered[1]}")
    told = await agents[0].until(
        lambda: [e for e in agents[0].events[desk] if "it is your turn" in e["content"].get("body", "")], "a call"
    )
    assert told[0]["content"]["m.mentions"]["user_ids"] == [offered[1]]


@pytest.mark.usefixtures("web_build")
async def test_the_command_tells_what_is_wrong(server: Server) -> None:
    site = new_site(server, [ORIGIN], [])
    theme = '{"theme": {"side": "start"}}'
    said = site_command(server, "add", fresh("s"), "--name", "x", "--origin", ORIGIN, "--file", "-", stdin=theme)
    assert ' data-side="start"></script>' in said
    assert "data-accent" not in said
    assert "already" in site_command(server, "add", site, "--name", "x", "--origin", ORIGIN, status=1)
    assert "no origin" in site_command(server, "edit", site, "--origin", "shop.example/path", status=1)
    assert "no account" in site_command(server, "edit", site, "--agent", "nobody", status=1)
    assert "time zone" in site_command(server, "edit", site, "--file", "-", stdin='{"hours":{"tz":"X/Y"}}', status=1)
    assert "unknown field" in site_command(server, "edit", site, "--file", "-", stdin='{"css":"x"}', status=1)
    assert "no such site" in site_command(server, "show", "nothing", status=1)
    site_command(server, "edit", site, "--name", "New name", "--origin", "https://new.example")
    assert any(site in line and "New name" in line for line in site_command(server, "list").splitlines())


GOOD: dict[str, Any] = {"name": "Shop", "origins": [ORIGIN]}


@pytest.mark.parametrize(
    "changes",
    [
        {"origins": []},
        {"origins": ["*"]},
        {"origins": ["https://*"]},
        {"origins": ["https://*.com"]},
        {"origins": ["https://a.example; script-src *"]},
        {"origins": ["https://a.example 'unsafe-inline'"]},
        {"origins": ["javascript://a.example"]},
        {"origins": ["https://a.example:99999"]},
        {"theme": {"accent": "red;background:url(//evil)"}},
        {"form": {"consent_url": "javascript:alert(1)"}},
        {"form": {"fields": [{"name": "a"}, {"name": "a"}]}},
        {"form": {"fields": [{"name": "a", "type": "select"}]}},
        {"hours": {"weekly": {"mon": [["18:00", "09:00"]]}}},
        {"hours": {"weekly": {"mon": "always"}}},
        {"identity": {"mode": "required"}},
        {"identity": {"keys": [{"kid": "a", "alg": "HS256", "secret": "short"}]}},
        {"identity": {"keys": [{"kid": "a", "alg": "RS256", "secret": "x" * 40}]}},
        {"encryption": "yes"},
        {"unknown": 1},
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MatrixError) as refused:
        parse_config({**GOOD, **changes})
    assert refused.value.code == "M_INVALID_PARAM"


def test_origins() -> None:
    config = parse_config(
        {**GOOD, "origins": ["https://shop.example", "https://*.teren.example", "http://a.localhost:1"]}
    )
    for origin in (
        "https://shop.example",
        "https://www.teren.example",
        "https://a.b.teren.example",
        "http://a.localhost:1",
    ):
        assert allows(config, origin), origin
    for origin in (
        *("http://shop.example", "https://shop.example.evil", "https://evilshop.example", "https://teren.example"),
        *("https://evilteren.example", "https://shop.example:8443", "null", "", "http://a.localhost:2"),
    ):
        assert not allows(config, origin), origin


@given(st.from_regex(r"#[0-9A-F]{6}", fullmatch=True))
def test_every_colour_can_be_read(colour: str) -> None:
    def channel(value: int) -> float:
        return value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(int(readable(colour)[i : i + 2], 16)) for i in (1, 3, 5))
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


@given(st.text(max_size=400))
def test_names_hold_nothing_hidden(text: str) -> None:
    name = texts.name_of(text)
    assert len(name) <= 60
    assert not any(char in name for char in "\0\n\r\u202e\u2066\u200b")
    assert texts.name_of(name) == name


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("https://shop.example/a?token=1#x", "https://shop.example/a"),
        ("http://shop.example/\u202egnp", "http://shop.example/gnp"),
        ("https://user:pw@shop.example/", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("https://[::1", ""),
        ("", ""),
    ],
)
def test_pages(page: str, shown: str) -> None:
    assert texts.page_of(page, keep_query=False) == shown


def test_hours_follow_the_site_s_own_clock() -> None:
    week = Hours("Europe/Kyiv", {"mon": [["09:00", "12:00"], ["13:00", "18:00"]]}, ("2026-11-30",))

    def at(*moment: int) -> int:
        return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc] # five numbers

    assert hours.is_open(week, at(2026, 11, 23, 7, 30))  # Monday, 9:30 in Kyiv
    assert not hours.is_open(week, at(2026, 11, 23, 10, 30))  # the break
    assert not hours.is_open(week, at(2026, 11, 30, 7, 30))  # a holiday
    assert not hours.is_open(week, at(2026, 11, 24, 7, 30))  # a Tuesday
    assert hours.next_opening(week, at(2026, 11, 23, 10, 30)) == at(2026, 11, 23, 11, 0)
    assert hours.next_opening(week, at(2026, 11, 23, 20, 0)) == at(2026, 12, 7, 7, 0)  # not the holiday
    assert hours.is_open(Hours(), at(2026, 1, 1, 3, 0))
