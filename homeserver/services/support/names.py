"""What the accounts of a support chat are called: a site's bot, and its visitors."""

from __future__ import annotations

from homeserver.services.accounts.names import VISITOR_PREFIX


def bot_id(site_id: str, server_name: str) -> str:
    """The user id of a site's bot."""
    return f"@support-{site_id}:{server_name}"


def visitor_id(site_id: str, letters: str, server_name: str) -> str:
    """The user id of a new visitor; `letters` are random, and there is no hyphen among them."""
    return f"@{VISITOR_PREFIX}{site_id}-{letters.lower()}:{server_name}"


def is_visitor(user_id: str, site_id: str | None = None) -> bool:
    """Whether somebody began as a visitor of a site (None: of any), whatever their account has become since."""
    # The site `shop` has no visitor of the site `shop-eu`: the last hyphen is that of the letters.
    named = user_id.partition(":")[0].rpartition("-")[0]
    return named.startswith(f"@{VISITOR_PREFIX}") if site_id is None else named == f"@{VISITOR_PREFIX}{site_id}"
