"""Registration tokens and reports, as administrators see and change them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import RegistrationToken
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.reports import FiledReport, Report, ReportSearch
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store
from homeserver.services.audit import Audit
from homeserver.services.rooms.previews import SHOWN, summarise
from homeserver.services.rooms.state import stated
from homeserver.services.rooms.writer import RoomMemory

TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}")
"""spec: client-server-api#token-authenticated-registration"""
_MOST_USES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """How often and until when (Unix milliseconds) a token may be used; None is without end, UNSET leaves it."""

    uses_allowed: int | msgspec.UnsetType | None = msgspec.UNSET
    expires_ms: int | msgspec.UnsetType | None = msgspec.UNSET


class TokenAdministration:
    """Owns what administrators do with registration tokens."""

    def __init__(self, store: Store, audit: Audit, clock: Clock, entropy: Entropy, *, most: int = 10_000) -> None:
        """There may be `most` tokens."""
        self._store = store
        self._audit = audit
        self._clock = clock
        self._entropy = entropy
        self._most = most

    async def all(self, valid: bool | None) -> list[RegistrationToken]:
        """All tokens; those that may (not) be used any more, if `valid` says which."""
        async with self._store.read() as tx:
            tokens = await tx.registration_tokens.all()
        now_ms = self._clock.now_ms()
        return [token for token in tokens if valid is None or token.usable(now_ms) is valid]

    async def get(self, token: str) -> RegistrationToken:
        """One token. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            found = await tx.registration_tokens.get(token) if TOKEN.fullmatch(token) else None
        if found is None:
            raise _no_token()
        return found

    async def add(self, who: Requester, token: str | None, length: int, limits: TokenLimits) -> RegistrationToken:
        """Make a token, a random one of `length` characters if None is given. Raises MatrixError(INVALID_PARAM)."""
        if not 1 <= length <= 64:
            raise MatrixError(ErrCode.INVALID_PARAM, "length must be between 1 and 64")
        token = self._entropy.letters(length) if token is None else token
        if not TOKEN.fullmatch(token):
            raise MatrixError(ErrCode.INVALID_PARAM, "Tokens are 1 to 64 letters, digits and ._~-")
        new = self._limited(RegistrationToken(token), limits)
        async with self._store.write() as tx:
            if await tx.registration_tokens.get(token) is not None:
                raise MatrixError(ErrCode.INVALID_PARAM, "There is such a token already")
            if len(await tx.registration_tokens.all()) >= self._most:
                raise MatrixError(ErrCode.INVALID_PARAM, f"There are at most {self._most} tokens")
            await tx.registration_tokens.put(new)
            await self._audit.note(who, "registration_token.create", token)(tx)
        return new

    async def change(self, who: Requester, token: str, limits: TokenLimits) -> RegistrationToken:
        """Change a token's limits. Raises MatrixError: NOT_FOUND, INVALID_PARAM."""
        self._limited(RegistrationToken(token), limits)
        async with self._store.write() as tx:
            known = await tx.registration_tokens.get(token) if TOKEN.fullmatch(token) else None
            if known is None:
                raise _no_token()
            changed = self._limited(known, limits)
            await tx.registration_tokens.put(changed)
            await self._audit.note(who, "registration_token.change", token)(tx)
        return changed

    async def delete(self, who: Requester, token: str) -> None:
        """Delete a token. Raises MatrixError(NOT_FOUND)."""
        async with self._store.write() as tx:
            if not TOKEN.fullmatch(token) or not await tx.registration_tokens.delete(token):
                raise _no_token()
            await self._audit.note(who, "registration_token.delete", token)(tx)

    def _limited(self, token: RegistrationToken, limits: TokenLimits) -> RegistrationToken:
        if not isinstance(limits.uses_allowed, msgspec.UnsetType):
            if limits.uses_allowed is not None and not 0 <= limits.uses_allowed <= _MOST_USES:
                raise MatrixError(ErrCode.INVALID_PARAM, "uses_allowed must be a number from 0, or null")
            token = replace(token, uses_allowed=limits.uses_allowed)
        if not isinstance(limits.expires_ms, msgspec.UnsetType):
            if limits.expires_ms is not None and not self._clock.now_ms() < limits.expires_ms < 2**53:
                raise MatrixError(ErrCode.INVALID_PARAM, "expiry_time must be in the future")
            token = replace(token, expires_ms=limits.expires_ms)
        return token


@dataclass(frozen=True, slots=True)
class ShownReport:
    """A report, with what there is of its room."""

    filed: FiledReport
    name: str | None
    canonical_alias: str | None


class ReportAdministration:
    """Shows administrators what users reported."""

    def __init__(self, memory: RoomMemory, audit: Audit) -> None:
        self._memory = memory
        self._store = memory.store
        self._audit = audit

    async def page(self, search: ReportSearch, offset: int, limit: int) -> tuple[list[ShownReport], int]:
        """A page of reports, and how many there are altogether."""
        async with self._store.read() as tx:
            filed = await tx.reports.page(search, offset, limit)
            total = await tx.reports.count(search)
        return await self._shown(filed), total

    async def get(self, who: Requester, report_id: int) -> tuple[ShownReport, bytes | None]:
        """A report and the event that it is about, rendered. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            filed = await tx.reports.get(report_id)
        if filed is None:
            raise _no_report()
        (shown,) = await self._shown([filed])
        return shown, await self._event(who, filed.report)

    async def _event(self, who: Requester, report: Report) -> bytes | None:
        """What was reported, whoever may see it; without what erased users said."""
        if report.event_id is None or report.room_id is None:
            return None
        async with self._store.read() as tx:
            room_nid = (await tx.rooms.room_nids([report.room_id])).get(report.room_id)
            stored = (await tx.events.get_many([report.event_id])).get(report.event_id)
        if room_nid is None or stored is None:
            return None
        history = await self._memory.histories.fetch(room_nid, who.user_id, self._store)
        (told,) = stated(history, history.known([stored]))
        return told

    async def delete(self, who: Requester, report_id: int) -> None:
        """Delete a report: it has been dealt with. Raises MatrixError(NOT_FOUND)."""
        async with self._store.write() as tx:
            filed = await tx.reports.get(report_id)
            if filed is None or not await tx.reports.delete(report_id):
                raise _no_report()
            report = filed.report
            about = report.event_id or report.room_id or report.user_id
            note = self._audit.note(who, "report.delete", str(report_id), about=about, reporter=report.reporter)
            await note(tx)

    async def _shown(self, filed: Sequence[FiledReport]) -> list[ShownReport]:
        rooms = {one.report.room_id for one in filed if one.report.room_id is not None}
        async with self._store.read() as tx:
            nids = await tx.rooms.room_nids(rooms) if rooms else {}
            states = await tx.rooms.current_state(nids.values(), types=SHOWN) if nids else {}
        known = {room_id: summarise(room_id, states.get(nid, []), {}) for room_id, nid in nids.items()}
        found = []
        for one in filed:
            summary = known.get(one.report.room_id or "", {})
            found.append(ShownReport(one, summary.get("name"), summary.get("canonical_alias")))
        return found


def _no_token() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such token")


def _no_report() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such report")
