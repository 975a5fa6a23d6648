"""Push rules.  spec: client-server-api#push-rules-api"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api import bounds
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester


class Enabled(msgspec.Struct):
    """Whether a rule is enabled."""

    enabled: bool


class Actions(msgspec.Struct):
    """The actions of a rule."""

    actions: bounds.Actions


async def get_push_rules(api: ClientServices, who: Requester) -> dict[str, Any]:
    """All rule sets of the user; there is only the global one."""
    return {"global": await get_push_rules_global(api, who)}


async def get_push_rules_global(api: ClientServices, who: Requester) -> dict[str, Any]:
    """All rules of the user by kind."""
    return (await api.personal.push_rules.of(who.user_id)).to_json()


async def get_push_rules_of_kind(api: ClientServices, who: Requester, *, kind: str) -> list[dict[str, Any]]:
    """All rules of one kind, the most important first."""
    return await api.personal.push_rules.of_kind(who.user_id, kind)


async def refuse_push_rules_path(
    api: ClientServices, who: Requester, *, scope: str = "", kind: str = "", rule_id: str = "", attribute: str = ""
) -> None:
    """COMPAT(Sytest): a path of push rules that leads nowhere is malformed, not unknown."""
    raise MatrixError(ErrCode.UNRECOGNIZED, "Paths of push rules are /pushrules/global/{kind}/{ruleId}", status=400)


async def get_push_rule(api: ClientServices, who: Requester, *, kind: str, rule_id: str) -> dict[str, Any]:
    """One rule."""
    return (await api.personal.push_rules.get(who.user_id, kind, rule_id)).to_json(kind)


async def set_push_rule(
    api: ClientServices,
    who: Requester,
    *,
    kind: str,
    rule_id: str,
    body: dict[str, Any],
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Add or replace a rule."""
    await api.personal.push_rules.put(who.user_id, kind, rule_id, body, before, after)


async def delete_push_rule(api: ClientServices, who: Requester, *, kind: str, rule_id: str) -> None:
    """Delete a rule."""
    await api.personal.push_rules.delete(who.user_id, kind, rule_id)


async def is_push_rule_enabled(api: ClientServices, who: Requester, *, kind: str, rule_id: str) -> Enabled:
    """Whether a rule is enabled."""
    return Enabled((await api.personal.push_rules.get(who.user_id, kind, rule_id)).enabled)


async def set_push_rule_enabled(api: ClientServices, who: Requester, *, kind: str, rule_id: str, body: Enabled) -> None:
    """Enable or disable a rule."""
    await api.personal.push_rules.set_enabled(who.user_id, kind, rule_id, body.enabled)


async def get_push_rule_actions(api: ClientServices, who: Requester, *, kind: str, rule_id: str) -> Actions:
    """The actions of a rule."""
    return Actions(list((await api.personal.push_rules.get(who.user_id, kind, rule_id)).actions))


async def set_push_rule_actions(api: ClientServices, who: Requester, *, kind: str, rule_id: str, body: Actions) -> None:
    """Change the actions of a rule."""
    await api.personal.push_rules.set_actions(who.user_id, kind, rule_id, body.actions)
