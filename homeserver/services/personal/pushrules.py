"""Push rules of local users, kept as their account data `m.push_rules`.

What is stored is the whole rule set as clients see it, so sync sends it as it is.
spec: client-server-api#push-rules-api
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.pushrules import Rule, RuleSet, default_rules, parse_rule, restore_rules
from homeserver.services.personal.edits import AccountDataEdits

PUSH_RULES = "m.push_rules"


def push_rules(user_id: str, stored: bytes | None) -> RuleSet:
    """The user's rules, given their account data `m.push_rules` if they have any."""
    return default_rules(user_id) if stored is None else restore_rules(user_id, orjson.loads(stored).get("global", {}))


def push_rules_content(user_id: str, stored: bytes | None) -> bytes:
    """The content of the user's `m.push_rules` event as JSON; the defaults if they never changed a rule.

    An initial sync shows it to everybody.
    """
    return _content(push_rules(user_id, stored))


class PushRules:
    """Owns the rules."""

    def __init__(self, edits: AccountDataEdits, *, max_rules: int = 1_000, max_bytes: int = 262_144) -> None:
        self._edits = edits
        self._max_rules = max_rules
        self._max_bytes = max_bytes

    async def of(self, user_id: str) -> RuleSet:
        """All rules of the user."""
        return push_rules(user_id, await self._edits.read(user_id, None, PUSH_RULES))

    async def content(self, user_id: str) -> bytes:
        """The content of the user's `m.push_rules` event as JSON."""
        return _content(await self.of(user_id))

    async def get(self, user_id: str, kind: str, rule_id: str) -> Rule:
        """One rule. Raises MatrixError: NOT_FOUND, INVALID_PARAM for an unknown kind."""
        return (await self.of(user_id)).get(kind, rule_id)

    async def of_kind(self, user_id: str, kind: str) -> list[dict[str, Any]]:
        """The rules of one kind, in order. Raises MatrixError(INVALID_PARAM) for an unknown kind."""
        rules = (await self.of(user_id)).to_json()
        if kind not in rules:
            raise MatrixError(ErrCode.INVALID_PARAM, "There is no such kind of push rules")
        found: list[dict[str, Any]] = rules[kind]
        return found

    async def put(
        self, user_id: str, kind: str, rule_id: str, body: dict[str, Any], before: str | None, after: str | None
    ) -> None:
        """Add or replace a rule of the user. Raises as `core.pushrules.parse_rule` and `RuleSet.put`."""
        rule = parse_rule(kind, rule_id, body)
        await self._change(user_id, lambda rules: rules.put(kind, rule, before=before, after=after))

    async def add(self, user_id: str, kind: str, rule: Rule) -> None:
        """Add a rule that is one already, as the most important of its kind. Raises as `RuleSet.put`."""
        await self._change(user_id, lambda rules: rules.put(kind, rule))

    async def delete(self, user_id: str, kind: str, rule_id: str) -> None:
        """Delete a rule of the user. Raises as `RuleSet.remove`."""
        await self._change(user_id, lambda rules: rules.remove(kind, rule_id))

    async def set_enabled(self, user_id: str, kind: str, rule_id: str, enabled: bool) -> None:
        """Enable or disable a rule. Raises as `get`."""
        await self._change(user_id, lambda rules: rules.set_enabled(kind, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: str, rule_id: str, actions: list[Any]) -> None:
        """Change the actions of a rule. Raises as `RuleSet.set_actions`."""
        await self._change(user_id, lambda rules: rules.set_actions(kind, rule_id, actions))

    async def _change(self, user_id: str, change: Callable[[RuleSet], RuleSet]) -> None:
        async def edit(stored: bytes | None) -> bytes | None:
            rules = push_rules(user_id, stored)
            changed = change(rules)
            if changed == rules:
                return None
            content = _content(changed)
            own = sum(map(len, changed.own.values()))
            too_many = own > self._max_rules or len(content) > self._max_bytes
            if too_many and len(content) > len(stored or b""):  # fewer or smaller ones may always be set
                raise MatrixError(
                    ErrCode.TOO_LARGE,
                    f"You may have {self._max_rules:,} push rules of your own and {self._max_bytes:,} bytes of them",
                )
            return content

        await self._edits.edit(user_id, None, PUSH_RULES, edit)


def _content(rules: RuleSet) -> bytes:
    return orjson.dumps({"global": rules.to_json()})
