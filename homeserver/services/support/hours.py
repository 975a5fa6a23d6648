"""Business hours: whether staff is there at a moment, and when it will be next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from homeserver.services.support.site import DAYS, Hours

_LOOK_AHEAD_DAYS = 15


def is_open(hours: Hours, now_ms: int) -> bool:
    """Whether `now_ms` is within the hours; always if none are set."""
    if not hours.weekly:
        return True
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(hours.tz))
    if local.date().isoformat() in hours.holidays:
        return False
    time = f"{local:%H:%M}"
    return any(start <= time < end for start, end in hours.weekly.get(DAYS[local.weekday()], []))


def next_opening(hours: Hours, now_ms: int) -> int | None:
    """When staff is there again, in milliseconds; None if not within two weeks, or if it is there now."""
    if is_open(hours, now_ms):
        return None
    zone = ZoneInfo(hours.tz)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    for ahead in range(_LOOK_AHEAD_DAYS):
        day = (local + timedelta(days=ahead)).date()
        if day.isoformat() in hours.holidays:
            continue
        for start, _ in sorted(hours.weekly.get(DAYS[day.weekday()], [])):
            hour, minute = map(int, start.split(":"))
            opening = datetime(day.year, day.month, day.day, hour % 24, minute, tzinfo=zone)
            if opening > local:
                return int(opening.timestamp() * 1000)
    return None
