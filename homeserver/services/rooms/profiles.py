"""What rooms ask of the accounts services: how a user is to be shown in their member events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class MemberProfiles(Protocol):
    """Profiles of users.  spec: client-server-api#events-on-change-of-profile-information"""

    async def member_profile(self, user_id: str) -> Mapping[str, str]:
        """`displayname` and `avatar_url` for a member event, each only if it is set; empty for unknown users."""
        ...
