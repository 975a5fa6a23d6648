"""Registration tokens and reports for administrators, at the paths that existing tools ask."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from client_api.administration import DEFAULT_PAGE, next_token, paging
from client_api.bounds import Id
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import RegistrationToken
from homeserver.ports.reports import ReportSearch
from homeserver.ports.requester import Requester
from homeserver.services.administration.moderation import ShownReport, TokenLimits

_LENGTH = 16
_DIGITS = 18


class NewTokenBody(msgspec.Struct):
    """A registration token to be made."""

    token: Id | None = None
    length: int = _LENGTH
    uses_allowed: int | None = None
    expiry_time: int | None = None


class ChangeTokenBody(msgspec.Struct):
    """New limits; what is not named stays."""

    uses_allowed: int | msgspec.UnsetType | None = msgspec.UNSET
    expiry_time: int | msgspec.UnsetType | None = msgspec.UNSET


async def get_registration_tokens(api: ClientServices, who: Requester, *, valid: bool | None = None) -> dict[str, Any]:
    """All registration tokens, or those that may (not) be used any more."""
    return {"registration_tokens": [_token(token) for token in await api.administration.tokens.all(valid)]}


async def new_registration_token(
    api: ClientServices, who: Requester, *, body: NewTokenBody | None = None
) -> dict[str, Any]:
    """Make a registration token."""
    body = body or NewTokenBody()
    limits = TokenLimits(body.uses_allowed, body.expiry_time)
    return _token(await api.administration.tokens.add(who, body.token, body.length, limits))


async def get_registration_token(api: ClientServices, who: Requester, *, token: str) -> dict[str, Any]:
    """One registration token."""
    return _token(await api.administration.tokens.get(token))


async def set_registration_token(
    api: ClientServices, who: Requester, *, token: str, body: ChangeTokenBody
) -> dict[str, Any]:
    """Change the limits of a registration token."""
    limits = TokenLimits(body.uses_allowed, body.expiry_time)
    return _token(await api.administration.tokens.change(who, token, limits))


async def delete_registration_token(api: ClientServices, who: Requester, *, token: str) -> dict[str, Any]:
    """Delete a registration token."""
    await api.administration.tokens.delete(who, token)
    return {}


def _token(token: RegistrationToken) -> dict[str, Any]:
    return {
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": token.pending,
        "completed": token.completed,
        "expiry_time": token.expires_ms,
    }


# --- reports ---


async def list_reports(
    api: ClientServices,
    who: Requester,
    *,
    events_only: bool,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    dir_: Literal["f", "b"] = "b",
    user_id: str = "",
    room_id: str = "",
) -> dict[str, Any]:
    """A page of reports, the newest first unless asked otherwise."""
    offset, limit = paging(from_, limit, api.administration.max_page)
    search = ReportSearch(user_id, room_id, events_only, oldest_first=dir_ == "f")
    shown, total = await api.administration.reports.page(search, offset, limit)
    name = "event_reports" if events_only else "reports"
    token = next_token(offset, len(shown), total)
    # COMPAT(admin tools): a number here, where other lists have a string.
    return {name: [_report(one) for one in shown], "total": total, **{key: int(value) for key, value in token.items()}}


async def get_report(api: ClientServices, who: Requester, *, report_id: str) -> dict[str, Any]:
    """A report, with the event that it is about."""
    shown, event = await api.administration.reports.get(who, _number(report_id))
    return {**_report(shown), "event_json": None if event is None else orjson.Fragment(event)}


async def delete_report(api: ClientServices, who: Requester, *, report_id: str) -> dict[str, Any]:
    """Delete a report."""
    await api.administration.reports.delete(who, _number(report_id))
    return {}


def _number(report_id: str) -> int:
    if not (report_id.isascii() and report_id.isdecimal() and len(report_id) <= _DIGITS):
        raise MatrixError(ErrCode.INVALID_PARAM, "The id of a report is a number")
    return int(report_id)


def _report(shown: ShownReport) -> dict[str, Any]:
    report = shown.filed.report
    return {
        "id": shown.filed.report_id,
        "received_ts": report.ts,
        "room_id": report.room_id,
        "name": shown.name,
        "canonical_alias": shown.canonical_alias,
        "event_id": report.event_id,
        "user_id": report.reporter,
        "sender": report.user_id,
        "reason": report.reason,
        "score": None,
    }
