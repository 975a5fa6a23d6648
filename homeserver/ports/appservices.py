"""Application services as accounts see them: whose token is it, and whose user ids.

spec: application-service-api#registration
"""

from __future__ import annotations

from typing import Protocol


class AppService(Protocol):
    """A registered application service."""

    @property
    def id(self) -> str:
        """Its unique name."""
        ...

    def covers(self, user_id: str) -> bool:
        """True if the user id is its own or in one of its user namespaces."""
        ...


class AppServices(Protocol):
    """All registered application services."""

    def by_token(self, token: str) -> AppService | None:
        """The application service that authenticates with `as_token` `token`."""
        ...

    def exclusive(self, user_id: str) -> AppService | None:
        """The application service that alone may make this user."""
        ...
