"""Sites that are told, and do not answer as they should."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from bridges.config import load
from bridges.state import State
from bridges.webhooks import outgoing
from bridges.webhooks.outgoing import WAITS_S, Endpoints, troubles
from tests.bridges.test_webhooks import event, make_config, receiver, running, waiting
from tests.support.client import eventually


async def test_who_does_not_answer_in_time_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "WAITS_S", (0.0,) * len(WAITS_S))
    asked: list[str] = []
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["webhook-id"])
        if len(asked) == 1:
            await never.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = make_config(
        tmp_path,
        monkeypatch,
        url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook",
        allow='allow = ["127.0.0.0/8"]\ntimeout = "500ms"',
    )
    state = State(config.state)
    endpoints = Endpoints(config, state, lambda _who, _text: None)
    endpoints.tell(event(1))

    async def sent() -> bool:
        return waiting(state) == 0

    async with running(endpoints):
        await eventually(sent)
    state.close()
    never.set()
    await runner.cleanup()
    assert len(asked) >= 2
    assert len(set(asked)) == 1, "it can tell that it is the same"
    assert troubles_of(tmp_path) == []


async def test_who_asks_to_wait_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: web.Request, _data: bytes) -> web.Response:
        asked.append(request.headers["webhook-id"])
        return web.Response(status=429, headers={"Retry-After": "7200"})

    async with receiver(answer) as url:
        config = make_config(tmp_path, monkeypatch, url=url, allow='allow = ["127.0.0.0/8"]')
        state = State(config.state)
        clock = 1_790_000_000.0
        endpoints = Endpoints(config, state, lambda _who, _text: None, lambda: clock)
        endpoints.tell(event(1))

        def again() -> int:
            with state.transaction() as db:
                return int(db.execute("SELECT not_before_ms FROM outgoing").fetchone()[0])

        async def postponed() -> bool:
            return again() > 0

        async with running(endpoints):
            await eventually(postponed)
        assert again() == int((clock + 7200) * 1000), "and not sooner, though the first wait is 5 s"
        state.close()
    assert len(asked) == 1


def troubles_of(folder: Path) -> list[tuple[int, str, str]]:
    """What was put aside, as an operator sees it who looks in afterwards."""
    state = State(load(folder / "bridges.toml").state)
    found = troubles(state)
    state.close()
    return found
