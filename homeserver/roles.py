"""The roles a process can have. A role's package is imported only in processes that run it."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["client", "media", "embed"]

ROLES: tuple[Role, ...] = get_args(Role)

PACKAGES: dict[Role, str] = {"client": "client_api.role", "media": "media_repo.role", "embed": "embed.role"}
"""The module whose `mount` gives the role's routes."""
