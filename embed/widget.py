"""Handlers of the support chat: the loader, the frame, a visitor's session.

A session is begun, resumed and ended from the frame's own page only: there is no CORS here, a header of our own is
asked for, and browsers say where a request comes from. Tokens are in bodies, never in addresses.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from embed.assets import Manifest
from embed.deps import EmbedServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import CALLER_ADDRESS, Requester
from homeserver.services.support import hours, texts, transcript
from homeserver.services.support.blocks import blocked
from homeserver.services.support.session import Start, Started
from homeserver.services.support.site import is_web_url, public
from homeserver.services.support.sites import LiveSite
from homeserver.services.support.visitors import IDLE_SESSION_DAYS
from homeserver.web.cookies import visitor_cookie
from homeserver.web.request import Request
from homeserver.web.response import Json, Response

_LONGEST_COOKIES = 16 * 1024
_LOADER_S = 300
"""So long browsers keep the loader."""
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_LOOPBACK = re.compile(r"(?:localhost|[a-z0-9-]+\.localhost|127\.[0-9.]+|\[::1\])(?::[0-9]{1,5})?\Z")
_SHARED = (
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("X-Content-Type-Options", "nosniff"),
)

_PREVIEW = {
    **{"preview": True, "site": "", "nonce": "", "origins": [], "open": True, "next": None, "staff": []},
    **{"name": "", "locale": "en", "accent": "#2B58D8", "scheme": "light", "side": "end", "launcher": ""},
    **{"words": {}, "form": [], "consent": ""},
    **{"hours": None, "offline": "open", "identity": "anonymous", "files": {"max": 0, "types": []}, "rating": False},
    **{"accounts": False, "work": 0, "persist": False},
}

Answer = Annotated[str, Meta(max_length=5_000)]


class StartBody(msgspec.Struct):
    """The beginning of a session."""

    nonce: Annotated[str, Meta(max_length=200)]
    key: Annotated[str, Meta(min_length=16, max_length=64)]
    answers: Annotated[dict[Annotated[str, Meta(max_length=32)], Answer], Meta(max_length=20)] = {}
    consent: bool = False
    page: Annotated[str, Meta(max_length=4_000)] = ""
    title: Annotated[str, Meta(max_length=1_000)] = ""
    jwt: Annotated[str, Meta(max_length=4_096)] = ""
    work: Annotated[str, Meta(max_length=20)] = ""
    begin: bool = True


class ContextBody(msgspec.Struct):
    """What the page says of its visitor, by fields of the form."""

    answers: Annotated[dict[Annotated[str, Meta(max_length=32)], Answer], Meta(max_length=20)] = {}


async def get_loader(embed: EmbedServices, *, request: Request) -> Response:
    """The script that sites name. It is small, changes seldom, and any page may load it.

    Sites that hide their chat out of hours name themselves in its address, and get one then that shows nothing.
    """
    return await _script(embed, request, "loader")


async def get_module(embed: EmbedServices, *, request: Request) -> Response:
    """The same for pages that are built of modules."""
    return await _script(embed, request, "module")


async def _script(embed: EmbedServices, request: Request, entry: str) -> Response:
    manifest = embed.assets.manifest
    hidden_ms = await _hidden_ms(embed, request.query.get("site"))
    name = manifest.entries.get(entry if hidden_ms is None else f"{entry}_closed") if manifest else None
    if name is None:
        raise MatrixError(ErrCode.NOT_FOUND, "The support chat was not built: make web")
    found = embed.assets.respond(name, request.headers)
    changed = ("cache-control", "cross-origin-resource-policy", "access-control-allow-origin")
    headers = [(key, value) for key, value in found.headers if key.lower() not in changed]
    seconds = _LOADER_S if hidden_ms is None else min(_LOADER_S, hidden_ms // 1000 + 1)
    headers += [("Cache-Control", f"public, max-age={seconds}"), ("Access-Control-Allow-Origin", "*")]
    headers.append(_SHARED[0])
    return Response(found.status, tuple(headers), found.body)


async def _hidden_ms(embed: EmbedServices, site: list[str] | None) -> int | None:
    """How long a site hides its chat from now on; None if it shows it, or there is no such site."""
    if not site:
        return None
    try:
        live = await embed.support.sites.get(site[0])
    except MatrixError:
        return None
    if not _is_hidden(embed, live):
        return None
    now_ms = embed.support.visitors.now_ms()
    opening = hours.next_opening(live.config.hours, now_ms)
    return _LOADER_S * 1000 if opening is None else opening - now_ms


def _is_hidden(embed: EmbedServices, live: LiveSite) -> bool:
    return live.config.offline == "hide" and not embed.support.desk.is_open(live)


async def get_frame(embed: EmbedServices, *, request: Request, site: str) -> Response:
    """The page inside the frame. Only pages of the site's origins may show it; browsers see to that.

    Who is refused gets a page as well, since it is people who see it: one that says what is wrong and can be closed,
    or that there is no chat.
    """
    manifest = embed.assets.manifest
    if manifest is None or "frame" not in manifest.entries:
        raise MatrixError(ErrCode.NOT_FOUND, "The support chat was not built: make web")
    live: LiveSite | None = None
    try:
        live = await embed.support.sites.get(site)
        if not live.config.enabled:
            raise MatrixError(ErrCode.NOT_FOUND, "The chat of this site is switched off")
        if _is_hidden(embed, live):
            raise MatrixError(ErrCode.NOT_FOUND, "The chat of this site is shown in its hours only")
        embed.support.limits.take("support_sessions", CALLER_ADDRESS.get())
    except MatrixError as error:
        return _refusal(embed, manifest, live, error)
    await embed.support.sites.seen(live, request.headers.get("referer", ""))
    desk, opening = embed.support.desk, live.config.hours
    given = {
        "site": live.id,
        "nonce": embed.support.nonces.make(live.id),
        "origins": list(live.config.origins),
        "open": desk.is_open(live),
        "next": hours.next_opening(opening, embed.support.visitors.now_ms()),
        "staff": [{"name": texts.clean(name, 60), "here": here} for name, here in await desk.staff(live)],
        "accounts": live.config.accounts and embed.info.registration == "open",
        "work": live.config.proof_of_work,
        **public(live.config),
    }
    return embed.pages.render(
        "frame.html",
        frame_policy(live, request.headers.get("host", "")),
        framed=True,
        entries=manifest.entries,
        site_name=live.config.name,
        locale=live.config.locale,
        given=json.dumps(given, ensure_ascii=True).replace("<", "\\u003c"),
    )


def _refusal(embed: EmbedServices, manifest: Manifest, live: LiveSite | None, error: MatrixError) -> Response:
    """The page in place of the chat. It holds no secret, and any page may show the one of no site."""
    origins = _ancestors(live) if live is not None else "*"
    given = {"off": error.status == 404, "origins": list(live.config.origins) if live is not None else []}
    return embed.pages.render(
        "frame_error.html",
        _policy(origins, ""),
        status=error.status,
        framed=True,
        entries=manifest.entries,
        given=json.dumps(given, ensure_ascii=True).replace("<", "\\u003c"),
    )


async def get_preview(embed: EmbedServices, *, request: Request) -> Response:
    """The frame as the administrators' page shows it: it is told by that page what to show, and asks for nothing."""
    manifest = embed.assets.manifest
    if manifest is None or "frame" not in manifest.entries:
        raise MatrixError(ErrCode.NOT_FOUND, "The support chat was not built: make web")
    return embed.pages.render(
        "frame.html",
        _policy("'self'", ""),
        framed=True,
        entries=manifest.entries,
        site_name="Hromada",
        locale="en",
        given=json.dumps(_PREVIEW),
    )


async def start_session(embed: EmbedServices, *, request: Request, site: str, body: StartBody) -> Response:
    """Begin, or say who one is: makes account, device and room at the first time, and nothing at a repetition."""
    _require_frame(request)
    live = await embed.support.sites.get(site, fresh=bool(body.jwt))  # a key may be a moment old
    embed.support.nonces.check(live.id, body.nonce)
    # Whom the site vouches for is not taken for who was shut out in this browser before them.
    current = await _current(embed, request, live, lenient=bool(body.jwt))
    page = body.page if is_web_url(body.page) else ""
    answers, said = dict(body.answers), (body.nonce, body.work)
    start = Start(body.key, answers, body.consent, page, body.title, body.jwt, *said, begin=body.begin)
    started = await embed.support.visitors.start(live, start, current)
    return _session(embed, live, started)


async def resume_session(embed: EmbedServices, *, request: Request, site: str) -> Response:
    """Go on with the session of this browser, by its cookie."""
    _require_frame(request)
    live = await embed.support.sites.get(site)
    who = await _known(embed, request, live)
    return _session(embed, live, await embed.support.visitors.resume(live, who))


async def renew_session(embed: EmbedServices, *, request: Request, site: str) -> Response:
    """Go on as another device: for browsers that have lost the keys of theirs."""
    _require_frame(request)
    live = await embed.support.sites.get(site)
    who = await _known(embed, request, live)
    return _session(embed, live, await embed.support.visitors.renew(live, who))


async def end_session(embed: EmbedServices, *, request: Request, site: str) -> Response:
    """Forget this browser."""
    _require_frame(request)
    live = await embed.support.sites.get(site)
    who = await _current(embed, request, live, lenient=True)
    if who is not None:
        await embed.support.sessions.end(who)
    return _json({}, _cookie(live, "", 0))


async def tell_context(embed: EmbedServices, who: Requester, *, site: str, body: ContextBody) -> dict[str, Any]:
    """Show staff what the page says of its visitor meanwhile."""
    live = await embed.support.sites.get(site)
    await embed.support.visitors.tell_more(live, who, body.answers)
    return {}


async def get_transcript(embed: EmbedServices, who: Requester, *, site: str) -> Response:
    """The conversation as text."""
    live = await embed.support.sites.get(site)
    visitor = await embed.support.visitors.of(live, who)
    embed.support.limits.take("support_exports", who.user_id)
    rooms = await embed.support.visitors.rooms_of(visitor)
    text = await transcript.text_of(embed.support.history, visitor, live, rooms)
    headers = (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Disposition", 'attachment; filename="conversation.txt"'),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(200, headers, text.encode())


async def mail_transcript(embed: EmbedServices, who: Requester, *, site: str) -> dict[str, Any]:
    """Send the conversation to the visitor's own address."""
    live = await embed.support.sites.get(site)
    visitor = await embed.support.visitors.of(live, who)
    embed.support.limits.take("support_exports", who.user_id)
    await embed.support.letters.transcript(visitor, live)
    return {}


async def erase_visitor(embed: EmbedServices, who: Requester, *, site: str) -> Response:
    """Forget who asks, and what they wrote."""
    live = await embed.support.sites.get(site)
    embed.support.limits.take("support_exports", who.user_id)
    await embed.support.visitors.erase(live, who)
    return _json({}, _cookie(live, "", 0))


def frame_policy(live: LiveSite, host: str) -> str:
    """What the frame's page may do, and who may show it."""
    sockets = ""
    if _HOST.match(host):
        sockets = f" wss://{host}" + (f" ws://{host}" if _LOOPBACK.match(host) else "")
    return _policy(_ancestors(live), sockets)


def _ancestors(live: LiveSite) -> str:
    return " ".join("file:" if origin == "null" else origin for origin in live.config.origins)


def _policy(ancestors: str, sockets: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "style-src 'self'",
            f"connect-src 'self'{sockets}",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "object-src 'none'",
            f"frame-ancestors {ancestors}",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _require_frame(request: Request) -> None:
    """Only our own page asks this: browsers say so, and other pages cannot send the header without asking first."""
    if request.headers.get("x-hromada-embed") != "1":
        raise MatrixError(ErrCode.FORBIDDEN, "The header X-Hromada-Embed is missing")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise MatrixError(ErrCode.FORBIDDEN, "Only the chat's own page may do this")


def _cookie(live: LiveSite, value: str, seconds: int) -> tuple[str, str]:
    attributes = f"Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=None; Partitioned"
    return ("Set-Cookie", f"{visitor_cookie(live.id)}={value}; {attributes}")


async def _known(embed: EmbedServices, request: Request, live: LiveSite) -> Requester:
    """The visitor whose session this browser has. Raises UNKNOWN_TOKEN."""
    who = await _current(embed, request, live)
    if who is None:
        raise MatrixError(ErrCode.UNKNOWN_TOKEN, "There is no session", soft_logout=False)
    return who


async def _current(
    embed: EmbedServices, request: Request, live: LiveSite, *, lenient: bool = False
) -> Requester | None:
    """Whose session the browser has: by a handle that its page keeps in memory, else by the cookie.

    Raises MatrixError(FORBIDDEN) for somebody who is shut out, unless `lenient`: then they are nobody.
    """
    name = visitor_cookie(live.id)
    given = request.headers.get("x-hromada-session", "")
    for pair in request.headers.get("cookie", "")[:_LONGEST_COOKIES].split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and value and not given:
            given = value
    if not given:
        return None
    try:
        who = await embed.support.sessions.authenticate_visitor(given)
    except MatrixError as error:
        if error.code is ErrCode.USER_LOCKED and not lenient:
            raise blocked() from None
        if error.code not in (ErrCode.UNKNOWN_TOKEN, ErrCode.USER_LOCKED):
            raise
        return None
    return who if who.site_id == live.id else None


def _session(embed: EmbedServices, live: LiveSite, started: Started) -> Response:
    value: dict[str, Any] = {
        "user_id": started.visitor.user_id,
        "device_id": started.device_id,
        "access_token": started.access_token,
        "expires_in_ms": started.expires_in_ms,
        # For browsers that keep no cookies: the page holds it in memory and sends it back itself.
        "handle": started.cookie,
        **({"keep": started.keep} if started.keep else {}),
        "room_id": None if started.case is None else started.case.room_id,
        "rooms": list(started.rooms),
        "number": None if started.case is None else started.case.number,
        "name": started.visitor.name,
        "encrypted": list(started.encrypted),
        "staff": list(started.staff),
        # What is encrypted cannot be written into a letter.
        "mail": bool(started.visitor.email) and embed.support.letters.offered(live) and not started.encrypted,
        "verified": started.visitor.subject is not None,
    }
    days = embed.support.session_days
    if started.visitor.subject is None:  # their session ends then, so the cookie would be of no use
        days = min(days, IDLE_SESSION_DAYS)
    seconds = days * 86_400
    if started.until_ms is not None:
        seconds = min(seconds, max(1, (started.until_ms - embed.support.visitors.now_ms()) // 1000))
    return _json(value, _cookie(live, started.cookie, seconds))


def _json(value: dict[str, Any], *more: tuple[str, str]) -> Response:
    headers = (
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *more,
    )
    return Response(200, headers, Json.of(value).data)
