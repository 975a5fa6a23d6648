"""What the server says about itself, through its routes.  spec: client-server-api#server-discovery"""

from __future__ import annotations

from typing import Any, cast

import pytest

from client_api.deps import ClientServices, PublicInfo
from client_api.routes import DISCOVERY
from homeserver.web.app import Application, WebSettings
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.operations import ROUTES, Operations
from homeserver.web.ratelimit import RateLimiter
from tests.support.asgi import AsgiClient
from tests.web.test_app_contract import ManualClock, Tokens


class OnlyInfo:
    """Discovery needs nothing but `info`, and to know whose password is kept here: everybody's."""

    def __init__(self, info: PublicInfo) -> None:
        self.info = info
        self.accounts = self.account = self

    async def can_change_password(self, user_id: str) -> bool:
        return user_id == "@alice:hs"


def client(token: str | None = None, **info: Any) -> AsgiClient:
    services = cast(ClientServices, OnlyInfo(PublicInfo("hs", "https://hs", **info)))
    clock, metrics = ManualClock(), Metrics()
    mounts: list[Mount[Any]] = [Mount(services, DISCOVERY), Mount(Operations(metrics, ()), ROUTES)]
    app = Application(
        mounts,
        settings=WebSettings(),
        authenticator=Tokens(),
        limits=RateLimiter({}, clock),
        metrics=metrics,
        clock=clock,
    )
    return AsgiClient(app, token=token)


async def test_versions_list_every_version_and_true_features_only() -> None:
    answer = (await client(unstable_features=("org.example.a",)).request("GET", "/_matrix/client/versions")).json
    assert {"v1.1", "v1.11", "v1.19"} <= set(answer["versions"])
    assert answer["unstable_features"] == {"org.example.a": True}
    assert (await client("alice").request("GET", "/_matrix/client/versions")).status == 200
    for setting, forced in (
        ("private", {"private", "trusted_private"}),
        ("all", {"private", "trusted_private", "public"}),
    ):
        answer = (await client(encrypt_by_default=setting).request("GET", "/_matrix/client/versions")).json
        found = {name for name in answer["unstable_features"] if name.startswith("io.element.")}
        assert found == {f"io.element.e2ee_forced.{name}" for name in forced}


async def test_well_known_documents() -> None:
    answer = await client().request("GET", "/.well-known/matrix/client")
    assert answer.json == {"m.homeserver": {"base_url": "https://hs"}}
    assert answer.headers["access-control-allow-origin"] == "*"
    none = await client().request("GET", "/.well-known/matrix/support")
    assert (none.status, none.json["errcode"]) == (404, "M_NOT_FOUND")
    contact = {"role": "m.role.admin", "email_address": "a@hs"}
    support = await client(support_contacts=(contact,)).request("GET", "/.well-known/matrix/support")
    assert support.json == {"contacts": [contact]}


@pytest.mark.parametrize("version", ["v3", "r0"])
async def test_capabilities(version: str) -> None:
    path = f"/_matrix/client/{version}/capabilities"
    assert (await client().request("GET", path)).status == 401
    answer = (await client("alice", can_set_avatar_url=False).request("GET", path)).json["capabilities"]
    assert answer["m.room_versions"]["default"] == "12"
    assert answer["m.room_versions"]["available"] == {str(number): "stable" for number in range(1, 13)}
    assert answer["m.change_password"] == {"enabled": True}
    assert answer["m.set_avatar_url"] == {"enabled": False}
    assert answer["m.profile_fields"] == {"enabled": True, "disallowed": ["avatar_url"]}
    assert answer["m.change_password"] == {"enabled": True}
    assert "m.account_moderation" not in answer
    answer = (await client("admin").request("GET", path)).json["capabilities"]
    assert answer["m.account_moderation"] == {"lock": True, "suspend": True}


async def test_metrics_are_for_configured_networks_only() -> None:
    answer = await client().request("GET", "/metrics")
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await client().request("GET", "/health")).json == {"status": "ok"}
