"""Pushes to a browser while no page of the client is in sight: asked for in the settings, shown by the service worker.

A browser's own push service cannot be had on loopback, so its subscription is one of `PushService`, and what that got
and could read is handed to the real service worker, as the browser would.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.embed.people import PASSWORD, local, person
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.pushgateway import ENVIRONMENT
from tests.support.pushservice import running_push_service
from tests.support.server import Server

# ruff: noqa: RUF001 - Ukrainian

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Worker

# What `pushManager.subscribe` gives where there is a push service. It outlives the page, as the real one does.
SUBSCRIPTION = """(([endpoint, p256dh, auth]) => {
    const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const made = (key) => ({
        endpoint,
        options: { applicationServerKey: bytes(key).buffer },
        getKey: (name) => bytes(name === "auth" ? auth : p256dh).buffer,
        unsubscribe: async () => (localStorage.removeItem("subscribed"), true),
    });
    PushManager.prototype.getSubscription = async () => {
        const key = localStorage.getItem("subscribed");
        return key && made(key);
    };
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
        if (!userVisibleOnly) throw new Error("browsers refuse this");
        localStorage.setItem("subscribed", applicationServerKey);
        return made(applicationServerKey);
    };
})"""
# The browser says that it took a push, not that the worker is through with it: the worker counts those.
COUNTS = """() => {
    self.handled = 0;
    const inherited = ExtendableEvent.prototype.waitUntil;
    ExtendableEvent.prototype.waitUntil = function (done) {
        done.finally(() => (self.handled += 1));
        return inherited.call(this, done);
    };
}"""
PAGES = """async () => {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    return pages.map((page) => page.visibilityState);
}"""
SHOWN = """async () => {
    const shown = await self.registration.getNotifications();
    return shown.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
}"""


async def _registration(session: CDPSession) -> str:
    """The service worker's registration, once it works."""
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def updated(event: dict[str, Any]) -> None:
        for version in event["versions"]:
            if version["status"] == "activated" and not found.done():
                found.set_result(version["registrationId"])

    session.on("ServiceWorker.workerVersionUpdated", updated)
    await session.send("ServiceWorker.enable")
    return await asyncio.wait_for(found, 30)


async def _until(worker: Worker, script: str, wanted: object) -> None:
    """Wait until the service worker answers what is wanted."""
    async with asyncio.timeout(60):
        while await worker.evaluate(script) != wanted:
            await asyncio.sleep(0.05)


async def test_a_closed_client_is_told_by_its_service_worker(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession, web_build: Path
) -> None:
    server = start_server("sqlite", environment=ENVIRONMENT)
    async with running_push_service() as service:
        ada = await person(browser, local(server), "ada", locale="uk")
        await ada.context.grant_permissions(["notifications"], origin=ada.url)
        subscription = json.dumps([service.endpoint, service.p256dh, service.auth])
        await ada.context.add_init_script(f"{SUBSCRIPTION}({subscription})")
        maya = await Client(http, server.url).register(f"maya{ada.name}")
        ada_there = await Client(http, server.url).register(ada.name, password=PASSWORD)
        room = await maya.shared_room(ada_there, name="Сад")
        page = ada.page
        await page.goto(f"{ada.url}/#/login")
        await page.get_by_label("Ім’я користувача").fill(ada.name)
        await page.get_by_label("Пароль", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Увійти").click()
        await page.get_by_role("navigation").first.wait_for()
        await page.goto(f"{ada.url}/#/settings/notifications")
        switch = page.get_by_role("switch", name="І коли жодна сторінка цього чату не відкрита")
        await switch.check()
        session = await ada.context.new_cdp_session(page)
        registration = await _registration(session)

        [worker] = ada.context.service_workers
        await worker.evaluate(COUNTS)

        async def deliver() -> None:
            handled = int(await worker.evaluate("self.handled"))
            data = json.dumps(service.pushed[-1].said)
            wanted = {"origin": ada.url, "registrationId": registration, "data": data}
            await session.send("ServiceWorker.deliverPushMessage", wanted)
            await _until(worker, "self.handled", handled + 1)

        async with asyncio.timeout(30):
            while not (await ada_there.ok("GET", "/pushers"))["pushers"]:
                await asyncio.sleep(0.05)
        await maya.send(room, "перші помідори")
        await service.until(lambda: len(service.pushed) == 1)
        # Who looks at the client is told by the client.
        await _until(worker, PAGES, ["visible"])
        await deliver()
        assert await worker.evaluate(SHOWN) == []
        await page.goto("about:blank")
        await _until(worker, PAGES, [])
        await deliver()
        [shown] = await worker.evaluate(SHOWN)
        assert shown == {"title": f"{maya.user_id} · Сад", "body": "перші помідори", "tag": room, "data": room}
        await page.goto(f"{ada.url}/#/settings/notifications")
        await switch.wait_for()
        assert await switch.is_checked()
        await switch.uncheck()
        async with asyncio.timeout(90):
            while (await ada_there.ok("GET", "/pushers"))["pushers"]:
                await asyncio.sleep(0.05)
        assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_worker_is_asked_for_anew_and_may_fetch_nothing(
    server: Server, http: aiohttp.ClientSession, web_build: Path
) -> None:
    async with http.get(f"{server.url}/worker.js") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
        assert answer.headers["Content-Type"].startswith("text/javascript")
