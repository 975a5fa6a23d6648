"""Sites with a support chat for administrators (docs/operating/admin-api.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from client_api.administration import DEFAULT_PAGE, paging
from client_api.bounds import Id
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.administration.sites import Figures, Removing
from homeserver.services.support.cards import shown_name
from homeserver.services.support.site import without_secrets
from homeserver.services.support.sites import LiveSite
from homeserver.web.response import Json

_MOST_AGENTS = 50
_LONGEST_NUMBER = 15

Settings = Annotated[dict[str, Any], Meta(max_length=50)]
"""As `services.support.site.SiteConfig` reads them, which bounds whatever is in them."""


class NewSiteBody(msgspec.Struct):
    """A site to be made."""

    site_id: Id
    settings: Settings
    agents: Annotated[list[Id], Meta(max_length=_MOST_AGENTS)] = []


class SettingsBody(msgspec.Struct):
    """Changes to settings: objects are merged, everything else is replaced, null takes a member away."""

    settings: Settings


class AgentBody(msgspec.Struct):
    """Somebody for the desk."""

    user_id: Id


class RotateBody(msgspec.Struct):
    """A new identity key."""

    alg: Literal["HS256", "EdDSA", "ES256"] = "HS256"
    public_key: Annotated[str, Meta(max_length=2_000)] = ""


async def list_sites(api: ClientServices, who: Requester) -> dict[str, Any]:
    """All sites, with their figures."""
    found = await api.administration.sites.all()
    return {"sites": [_listed(*one) for one in found], "total": len(found)}


async def add_site(api: ClientServices, who: Requester, *, body: NewSiteBody) -> Json:
    """Make a site with its desk."""
    sites = api.administration.sites
    site = await sites.add(who, body.site_id, body.settings, body.agents)
    return Json.of(await _shown(api, *await sites.get(site.id)), 201)


async def get_site(api: ClientServices, who: Requester, *, site_id: str) -> dict[str, Any]:
    """One site with its settings, its figures and who is on its desk."""
    return await _shown(api, *await api.administration.sites.get(site_id))


async def edit_site(api: ClientServices, who: Requester, *, site_id: str, body: SettingsBody) -> dict[str, Any]:
    """Change settings."""
    await api.administration.sites.edit(who, site_id, body.settings)
    return await get_site(api, who, site_id=site_id)


async def remove_site(api: ClientServices, who: Requester, *, site_id: str) -> dict[str, Any]:
    """Begin to remove a site and close its visitors' accounts; `GET` says how far that is."""
    return {"removing": _removing(await api.administration.sites.remove(who, site_id))}


async def preview_site(api: ClientServices, who: Requester, *, site_id: str, body: SettingsBody) -> dict[str, Any]:
    """What visitors would see after changes."""
    return await api.administration.sites.preview(site_id, body.settings)


async def rotate_site_key(
    api: ClientServices, who: Requester, *, site_id: str, body: RotateBody | None = None
) -> dict[str, Any]:
    """Make a new identity key; its secret is in this answer and in no other."""
    body = body or RotateBody()
    key = await api.administration.sites.rotate_key(who, site_id, body.alg, body.public_key)
    return {"kid": key.kid, "alg": key.alg, **({"secret": key.secret} if key.secret else {})}


async def add_site_agent(api: ClientServices, who: Requester, *, site_id: str, body: AgentBody) -> dict[str, Any]:
    """Invite somebody to the desk."""
    await api.administration.sites.invite(who, site_id, body.user_id)
    return {}


async def remove_site_agent(api: ClientServices, who: Requester, *, site_id: str, user_id: str) -> dict[str, Any]:
    """Take somebody from the desk."""
    await api.administration.sites.dismiss(who, site_id, user_id)
    return {}


async def list_blocked(
    api: ClientServices, who: Requester, *, site_id: str, from_: int | None = None, limit: int = DEFAULT_PAGE
) -> dict[str, Any]:
    """Visitors whom staff has blocked, the newest case first; `from` is the `next_token` of the page before."""
    below, limit = paging(from_ or 0, limit, api.administration.max_page)
    found = await api.administration.sites.shut_out(site_id, None if from_ is None else below, limit)
    return {
        "blocked": [
            {
                "number": one.case.number,
                "room_id": one.case.room_id,
                "user_id": one.case.visitor_id,
                "name": shown_name(one.visitor),
                "verified": one.visitor.subject is not None,
                "blocked_ts": one.case.blocked_ms,
                "blocked_by": one.case.blocked_by,
                "address_until_ts": one.until_ms,
            }
            for one in found
        ],
        **({"next_token": str(found[-1].case.number)} if found and len(found) == limit else {}),
    }


async def unblock_visitor(api: ClientServices, who: Requester, *, site_id: str, number: str) -> dict[str, Any]:
    """Let the visitor of a case in again."""
    if not (number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER):
        raise MatrixError(ErrCode.NOT_FOUND, "There is no such case")
    await api.administration.sites.let_in(who, site_id, int(number))
    return {}


def _listed(site: LiveSite, figures: Figures, removing: Removing | None) -> dict[str, Any]:
    return {
        "site_id": site.id,
        "name": site.config.name,
        "enabled": site.config.enabled,
        "origins": list(site.config.origins),
        "created_ts": site.row.created_ms,
        "seen_ts": site.row.seen_ms,
        "seen_origin": site.row.seen_origin,
        "figures": msgspec.to_builtins(figures),
        "removing": None if removing is None else _removing(removing),
    }


async def _shown(api: ClientServices, site: LiveSite, figures: Figures, removing: Removing | None) -> dict[str, Any]:
    staff = await api.administration.sites.staff(site)
    return {
        **_listed(site, figures, removing),
        "settings": without_secrets(site.config),
        "bot": site.row.bot,
        "space_id": site.row.space_id,
        "desk_id": site.row.desk_id,
        "agents": [msgspec.to_builtins(one) for one in staff],
    }


def _removing(job: Removing) -> dict[str, Any]:
    return {"closed": job.closed, "error": job.error}
