"""Reporting events, rooms and users.  spec: client-server-api#reporting-content"""

from __future__ import annotations

import msgspec

from client_api.bounds import Text
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester


class ReportBody(msgspec.Struct):
    """Why; `score` of old clients is not used."""

    reason: Text


class ReportEventBody(msgspec.Struct):
    """Why an event is reported."""

    reason: Text | None = None


async def report_event(
    api: ClientServices, who: Requester, *, room_id: str, event_id: str, body: ReportEventBody
) -> None:
    """Report an event."""
    await api.reports.report_event(who.user_id, room_id, event_id, body.reason or "")


async def report_room(api: ClientServices, who: Requester, *, room_id: str, body: ReportBody) -> None:
    """Report a room."""
    await api.reports.report_room(who.user_id, room_id, body.reason)


async def report_user(api: ClientServices, who: Requester, *, user_id: str, body: ReportBody) -> None:
    """Report a user."""
    await api.reports.report_user(who.user_id, user_id, body.reason)
