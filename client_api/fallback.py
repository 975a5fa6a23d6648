"""Web pages for clients that do not know a stage of interactive authentication.

The session id is the only thing the page knows; it is escaped, and the page may run its one script and nothing else.
spec: client-server-api#fallback
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from urllib.parse import parse_qs

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.stages import DUMMY, REGISTRATION_TOKEN, TERMS
from homeserver.web.request import Request
from homeserver.web.response import Response

# spec: client-server-api#fallback
_SCRIPT = """
if (window.onAuthDone) { window.onAuthDone(); }
else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }
"""
_SCRIPT_HASH = b64encode(sha256(_SCRIPT.encode()).digest()).decode()
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; script-src 'sha256-{_SCRIPT_HASH}'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head><body><h1>{title}</h1>
{content}
</body></html>
"""


async def get_fallback_page(api: ClientServices, *, auth_type: str, session: str) -> Response:
    """The form of a stage."""
    return _page(200, "Authentication", _form(api, auth_type, session))


async def complete_fallback_stage(api: ClientServices, *, request: Request, auth_type: str, session: str) -> Response:
    """The form, filled in."""
    form = _form(api, auth_type, session)
    fields = parse_qs((await request.read()).decode("utf-8", "replace"))
    auth = {name: values[0] for name, values in fields.items()}
    try:
        await api.accounts.interactive.complete_stage(session, auth_type, auth)
    except MatrixError as error:
        return _page(error.status, "Authentication", f"<p>{escape(error.message)}</p>{form}")
    return _page(200, "Done", f"<p>You can close this window.</p><script>{_SCRIPT}</script>")


def _form(api: ClientServices, auth_type: str, session: str) -> str:
    if auth_type == REGISTRATION_TOKEN:
        content = '<p><label>Registration token <input name="token" autocomplete="off"></label></p>'
    elif auth_type == TERMS:
        content = _policies(api)
    elif auth_type == DUMMY:
        content = ""
    else:
        raise MatrixError(ErrCode.NOT_FOUND, "There is no page for this stage")
    action = f"?session={escape(session)}"
    return f'<form method="post" action="{action}">{content}<p><button>Continue</button></p></form>'


def _policies(api: ClientServices) -> str:
    params = api.accounts.interactive.flow(TERMS)[0].params() or {}
    items = []
    for name, policy in params.get("policies", {}).items():
        text = next((value for value in policy.values() if isinstance(value, dict)), {})
        url = str(text.get("url", ""))
        label = escape(str(text.get("name", name)))
        link = f'<a href="{escape(url)}" rel="noreferrer">{label}</a>' if url.startswith("https://") else label
        items.append(f"<li>{link}</li>")
    return f"<p>By continuing you accept:</p><ul>{''.join(items)}</ul>"


def _page(status: int, title: str, content: str) -> Response:
    return Response(status, _HEADERS, _PAGE.format(title=title, content=content).encode("utf-8", "replace"))
