"""Web pages for clients that do not know a stage of interactive authentication.

The session id is the only thing the page knows; it is escaped, and the page may run its one script and nothing else.
spec: client-server-api#fallback
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.stages import DUMMY, REGISTRATION_TOKEN, TERMS
from homeserver.web.pages import Pages
from homeserver.web.request import Request
from homeserver.web.response import Response

# spec: client-server-api#fallback
_SCRIPT = """
if (window.onAuthDone) { window.onAuthDone(); }
else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }
"""
_SCRIPT_HASH = b64encode(sha256(_SCRIPT.encode()).digest()).decode()
_HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; script-src 'sha256-{_SCRIPT_HASH}'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Vary", "Accept-Language"),
)
_TEXTS = {
    "en": {
        "title": "Authentication",
        "token": "Registration token",
        "accept": "By continuing you accept:",
        "go_on": "Continue",
        "done": "Done",
        "close": "You can close this window.",
    },
    "uk": {
        "title": "Підтвердження",
        "token": "Код реєстрації",
        "accept": "Продовжуючи, ви приймаєте:",
        "go_on": "Продовжити",
        "done": "Готово",
        "close": "Це вікно можна закрити.",
    },
}
_STAGES = (DUMMY, REGISTRATION_TOKEN, TERMS)
_PAGES = Pages(Path(__file__).parent / "templates")


async def get_fallback_page(api: ClientServices, *, request: Request, auth_type: str, session: str) -> Response:
    """The form of a stage."""
    return await _form(api, request, auth_type, session)


async def complete_fallback_stage(api: ClientServices, *, request: Request, auth_type: str, session: str) -> Response:
    """The form, filled in."""
    _require_page(auth_type)
    fields = parse_qs((await request.read()).decode("utf-8", "replace"))
    auth = {name: values[0] for name, values in fields.items()}
    try:
        await api.accounts.interactive.complete_stage(session, auth_type, auth)
    except MatrixError as error:
        return await _form(api, request, auth_type, session, error)
    lang = language(request)
    return await _PAGES.render("fallback_done.html", _HEADERS, language=lang, texts=_TEXTS[lang], script=_SCRIPT)


async def _form(
    api: ClientServices, request: Request, stage: str, session: str, error: MatrixError | None = None
) -> Response:
    _require_page(stage)
    lang = language(request)
    return await _PAGES.render(
        "fallback.html",
        _HEADERS,
        status=200 if error is None else error.status,
        language=lang,
        texts=_TEXTS[lang],
        stage=stage,
        session=session.encode("utf-8", "replace").decode(),
        policies=_policies(api, lang) if stage == TERMS else [],
        error=None if error is None else error.message,
    )


def _require_page(stage: str) -> None:
    if stage not in _STAGES:
        raise MatrixError(ErrCode.NOT_FOUND, "There is no page for this stage")


def _policies(api: ClientServices, language: str) -> list[dict[str, str]]:
    """Name and link of each policy, in the reader's language where there is one; only links that are web pages."""
    params = api.accounts.interactive.flow(TERMS)[0].params() or {}
    found = []
    for name, policy in params.get("policies", {}).items():
        texts: list[dict[str, Any]] = [value for value in policy.values() if isinstance(value, dict)]
        text = policy[language] if isinstance(policy.get(language), dict) else next(iter(texts), {})
        url = str(text.get("url", ""))
        found.append({"name": str(text.get("name", name)), "url": url if url.startswith("https://") else ""})
    return found


def language(request: Request) -> str:
    """The first language of the browser that the pages speak."""
    for wanted in request.headers.get("accept-language", "")[:200].split(","):
        lang = wanted.partition(";")[0].partition("-")[0].strip().lower()
        if lang in _TEXTS:
            return lang
    return "en"
