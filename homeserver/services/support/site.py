"""What a website's owner sets: its `SiteConfig`, read strictly and checked as a whole.

Only what `public` gives reaches visitors: no key, no agent, no limit. Colours, texts and addresses are checked here,
once, so that whoever uses them need not.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.ratelimits import Rate
from homeserver.services.support.template import RoomTemplate, fault_of
from homeserver.services.support.texts import clean

LOCALES = ("en", "uk", "de", "pl", "ar")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{1,31}")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LEAST_CONTRAST = 4.5
_HOUR_S = 3_600
_PORTS = {"http": 80, "https": 443}
_LONGEST_LAUNCHER = 40

Short = Annotated[str, Meta(max_length=100)]
Text = Annotated[str, Meta(max_length=500)]
Url = Annotated[str, Meta(max_length=500)]
Hour = Annotated[str, Meta(max_length=5)]
Locale = Literal["en", "uk", "de", "pl", "ar"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a site's settings."""


class Theme(_Part, frozen=True):
    """How it looks. Nothing else can be set: the rest is the widget's own."""

    accent: Annotated[str, Meta(max_length=7)] = "#2B58D8"
    scheme: Literal["auto", "light", "dark"] = "auto"
    side: Literal["end", "start"] = "end"
    launcher: Short = ""
    """A word beside the launcher's icon; of a long one the first 40 characters."""


class Words(_Part, frozen=True):
    """The site's own words in one language, in the place of the widget's."""

    title: Short = ""
    greeting: Short = ""
    promise: Text = ""
    away: Text = ""
    consent: Text = ""


class Field(_Part, frozen=True):
    """A question of the form before the chat."""

    name: Annotated[str, Meta(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
    type: Literal["text", "email", "tel", "textarea", "select"] = "text"
    required: bool = False
    label: Annotated[dict[Locale, Short], Meta(max_length=5)] = {}
    options: Annotated[tuple[Short, ...], Meta(max_length=20)] = ()


class Form(_Part, frozen=True):
    """What is asked before the first message. `name`, `email` and `message` have labels of their own."""

    fields: Annotated[tuple[Field, ...], Meta(max_length=10)] = ()
    consent_url: Url = ""
    """Where the privacy notice can be read. Not empty: visitors have to agree before they write."""


class Hours(_Part, frozen=True):
    """When staff is there. No `weekly`: always."""

    tz: Short = "UTC"
    weekly: Annotated[dict[Day, Any], Meta(max_length=7)] = {}
    """Day → list of [from, to], such as [["09:00", "12:30"], ["13:00", "18:00"]]."""
    holidays: Annotated[tuple[Annotated[str, Meta(max_length=10)], ...], Meta(max_length=100)] = ()


class Key(_Part, frozen=True):
    """A key by which the site vouches for its users."""

    kid: Annotated[str, Meta(max_length=64, min_length=1)]
    alg: Literal["HS256", "EdDSA", "ES256"]
    secret: Annotated[str, Meta(max_length=200)] = ""
    public_key: Annotated[str, Meta(max_length=2_000)] = ""
    not_after_ms: int | None = None


class Identity(_Part, frozen=True):
    """Whether visitors are anonymous, may be vouched for by the site, or must be."""

    mode: Literal["anonymous", "optional", "required"] = "optional"
    keys: Annotated[tuple[Key, ...], Meta(max_length=4)] = ()


class Routing(_Part, frozen=True):
    """Who is told of a new case."""

    mode: Literal["broadcast", "round_robin", "least_open"] = "broadcast"
    requeue_seconds: Annotated[int, Meta(ge=10, le=86_400)] = 120
    auto_resolve_hours: Annotated[int, Meta(ge=0, le=8_760)] = 72
    """Cases that wait so long for their visitor are resolved; 0: never."""
    new_case_after_hours: Annotated[int, Meta(ge=0, le=8_760)] = 24
    """A message later than that after a case was resolved begins a new one; 0: always the same conversation."""


class Files(_Part, frozen=True):
    """What visitors may send."""

    max_bytes: Annotated[int, Meta(ge=0, le=104_857_600)] = 10 * 1024 * 1024
    """0: no files."""
    types: Annotated[tuple[Short, ...], Meta(max_length=50)] = (
        *("image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm"),
        *("application/pdf", "text/plain"),
    )


class Limits(_Part, frozen=True):
    """Bounds of one site, where they are to be tighter than the server's (`rate_limits.support_*`); 0: as those."""

    visitors_per_hour: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """New visitors, all addresses together."""
    messages_per_minute: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Of all visitors together."""
    files_per_day: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """Of one visitor."""


class Mails(_Part, frozen=True):
    """Letters to visitors who have left an address, where the server has mail."""

    enabled: bool = False
    after_minutes: Annotated[int, Meta(ge=0, le=1_440)] = 5
    """An answer is sent on when the visitor was away and has not read it for so long."""


class SiteConfig(_Part, frozen=True):
    """All of a site's settings."""

    name: Short
    origins: Annotated[tuple[Annotated[str, Meta(max_length=300)], ...], Meta(max_length=50)]
    """`https://shop.example.org`, with one leading `*.` if subdomains are meant."""
    enabled: bool = True
    locale: Locale = "en"
    """Where the visitor's own language is none of ours."""
    theme: Theme = Theme()
    words: Annotated[dict[Locale, Words], Meta(max_length=5)] = {}
    form: Form = Form()
    hours: Hours = Hours()
    offline: Literal["open", "form", "hide"] = "form"
    """Out of hours: as always, a form that says so, or no chat at all."""
    identity: Identity = Identity()
    persist: Literal["cookie", "host"] = "cookie"
    """`host`: where the browser keeps no cookie for the chat, pages with `data-persist=host` may keep a handle."""
    encryption: Literal["off", "on"] = "off"
    """Whether new conversations are encrypted; those that were begun stay as they are."""
    room_template: RoomTemplate = RoomTemplate()
    """What the rooms of new cases are made with."""
    routing: Routing = Routing()
    files: Files = Files()
    rating: bool = True
    letters: Mails = Mails()
    keep_query: bool = False
    """Whether addresses of the site's pages are shown to staff with what is behind `?`."""
    accounts: bool = False
    """Whether the chat offers visitors to keep the conversation as an account here, where strangers may register."""
    proof_of_work: Annotated[int, Meta(ge=0, le=22)] = 0
    """Bits of work that a new visitor's browser does first; 16 take about half a second, 20 several seconds."""
    limits: Limits = Limits()
    block_hours: Annotated[int, Meta(ge=0, le=720)] = 24
    """So long nobody new may write from where somebody was whom staff has blocked; 0: everybody may."""
    visitor_idle_days: Annotated[int, Meta(ge=1, le=3_650)] = 365
    """Accounts of visitors who were not seen for so long are closed."""
    conversation_days: Annotated[int, Meta(ge=0, le=3_650)] = 0
    """Conversations that were resolved so long ago are taken back, what staff said in them included; 0: never."""
    canned: Annotated[
        dict[Annotated[str, Meta(max_length=32)], Annotated[str, Meta(max_length=4_000)]], Meta(max_length=200)
    ] = {}


def site_id_of(text: str) -> str:
    """`text`, if it can be a site's id. Raises MatrixError(INVALID_PARAM)."""
    if not _ID.fullmatch(text):
        raise _bad("A site's id has 2 to 32 characters: a-z, 0-9, _ and -")
    return text


def parse_config(data: bytes | dict[str, Any]) -> SiteConfig:
    """Read and check settings. Raises MatrixError(INVALID_PARAM), which says what is wrong."""
    try:
        if isinstance(data, bytes):
            config = msgspec.json.decode(data, type=SiteConfig)
        else:
            config = msgspec.convert(data, SiteConfig)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise _bad(str(error)) from None
    _check_origins(config.origins)
    if not _COLOUR.fullmatch(config.theme.accent):
        raise _bad("theme.accent is a colour such as #2B58D8")
    if config.form.consent_url and not is_web_url(config.form.consent_url):
        raise _bad("form.consent_url is no http or https address")
    names = [field.name for field in config.form.fields]
    if len(names) != len(set(names)):
        raise _bad("Two fields of the form have one name")
    if any(field.type == "select" and not field.options for field in config.form.fields):
        raise _bad("A select field needs options")
    _check_hours(config.hours)
    _check_keys(config.identity)
    if fault := fault_of(config.room_template):
        raise _bad(fault)
    return config


def dump_config(config: SiteConfig) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(config)


def merged(config: SiteConfig, changes: dict[str, Any]) -> SiteConfig:
    """Settings with changes: objects are merged, everything else is replaced; null takes a member away.

    An identity key given without its secret keeps the one that it has. Raises MatrixError(INVALID_PARAM).
    """
    secrets = {key.kid: key.secret for key in config.identity.keys}
    old = msgspec.to_builtins(config)
    new = _merge(old, changes)
    identity = new.get("identity")
    keys = identity.get("keys") if isinstance(identity, dict) else None
    if isinstance(keys, list):
        identity["keys"] = [
            {**key, "secret": secrets[key["kid"]]}
            if isinstance(key, dict)
            and "secret" not in key
            and isinstance(key.get("kid"), str)
            and secrets.get(key["kid"])
            else key
            for key in keys
        ]
    return parse_config(new)


def _merge(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    whole = {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return {key: value for key, value in whole.items() if value is not None}


def without_secrets(config: SiteConfig) -> dict[str, Any]:
    """Settings as they are shown: secrets are shown once, when they are made."""
    value: dict[str, Any] = msgspec.to_builtins(config)
    for key in value.get("identity", {}).get("keys", ()):
        key.pop("secret", None)
    return value


def contrast(accent: str) -> float:
    """Of white text on a colour.  WCAG 2.2, 1.4.3"""
    red, green, blue = (int(accent[start : start + 2], 16) for start in (1, 3, 5))
    return _contrast_with_white(red, green, blue)


def _check_origins(origins: tuple[str, ...]) -> None:
    if not origins:
        raise _bad("A site needs at least one origin, such as https://shop.example.org")
    for origin in origins:
        if origin == "null":
            continue  # pages in files and WebViews, by choice
        scheme, _, rest = origin.partition("://")
        host, _, port = rest.rpartition(":") if re.search(r":[0-9]{1,5}$", rest) else (rest, "", "")
        if scheme not in ("https", "http") or not _HOST.fullmatch(host) or (port and int(port) > 65_535):
            raise _bad(f"{origin!r} is no origin: scheme, host and port only, such as https://shop.example.org")
        if host.startswith("*.") and host.count(".") < 2 and not host.endswith("localhost"):
            raise _bad(f"{origin!r} would be a whole top-level domain")


def _check_hours(hours: Hours) -> None:
    try:
        ZoneInfo(hours.tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _bad(f"hours.tz: there is no time zone {hours.tz!r}") from None
    for day, spans in hours.weekly.items():
        if not isinstance(spans, list) or len(spans) > 6:
            raise _bad(f"hours.weekly.{day} is a list of [from, to]")
        for span in spans:
            if (
                not isinstance(span, list)
                or len(span) != 2
                or not all(isinstance(time, str) and _TIME.fullmatch(time) for time in span)
                or not span[0] < span[1]
            ):
                raise _bad(f'hours.weekly.{day}: {span!r} is no span such as ["09:00", "18:00"]')
    if not all(_DATE.fullmatch(day) for day in hours.holidays):
        raise _bad("hours.holidays are dates such as 2026-12-25")


def _check_keys(identity: Identity) -> None:
    kids = [key.kid for key in identity.keys]
    if len(kids) != len(set(kids)):
        raise _bad("Two identity keys have one kid")
    if identity.mode == "required" and not identity.keys:
        raise _bad("identity.mode is required, but there is no key: hromada site rotate-key makes one")
    for key in identity.keys:
        if key.alg == "HS256" and len(key.secret.encode()) < 32:
            raise _bad(f"identity key {key.kid}: a secret has at least 32 bytes")
        if key.alg != "HS256" and not key.public_key:
            raise _bad(f"identity key {key.kid}: {key.alg} needs public_key in PEM form")


def visitors_rate(limits: Limits) -> Rate | None:
    """How fast new visitors may come; None: as the server says."""
    return _rate(limits.visitors_per_hour, _HOUR_S)


def messages_rate(limits: Limits) -> Rate | None:
    """How fast messages of visitors may come; None: as the server says."""
    return _rate(limits.messages_per_minute, 60)


def files_rate(limits: Limits) -> Rate | None:
    """How fast a visitor may send files; None: as the server says."""
    return _rate(limits.files_per_day, 24 * _HOUR_S)


def _rate(count: int, seconds: int) -> Rate | None:
    return Rate(count / seconds, count) if count else None


def is_web_url(text: str) -> bool:
    """Whether it is an http or https address without a password in it."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False


def origin_of(address: str) -> str | None:
    """The origin of a page's address, as `SiteConfig.origins` has them; None if it has none.  RFC 6454, 6.2"""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or not parts.hostname.isascii():
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")
    return origin if origin.isprintable() else None


def allows(config: SiteConfig, origin: str) -> bool:
    """Whether pages of an origin may show the chat."""
    scheme, _, host = origin.partition("://")
    for allowed in config.origins:
        if allowed == origin:
            return True
        if allowed.startswith(f"{scheme}://*.") and host.endswith(allowed.removeprefix(f"{scheme}://*")):
            return True
    return False


def readable(accent: str) -> str:
    """The colour, darkened until white text on it can be read.  WCAG 2.2, 1.4.3"""
    red, green, blue = (int(accent[start : start + 2], 16) for start in (1, 3, 5))
    while _contrast_with_white(red, green, blue) < LEAST_CONTRAST:
        red, green, blue = int(red * 0.95), int(green * 0.95), int(blue * 0.95)
    return f"#{red:02X}{green:02X}{blue:02X}"


def _contrast_with_white(*channels: int) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def public(config: SiteConfig) -> dict[str, Any]:
    """What the frame is told."""
    hours = config.hours
    return {
        "name": config.name,
        "locale": config.locale,
        "accent": readable(config.theme.accent),
        "scheme": config.theme.scheme,
        "side": config.theme.side,
        "launcher": clean(config.theme.launcher, _LONGEST_LAUNCHER),
        "words": msgspec.to_builtins(config.words),
        "form": [
            {"name": f.name, "type": f.type, "required": f.required, "label": dict(f.label), "options": list(f.options)}
            for f in config.form.fields
        ],
        "consent": config.form.consent_url,
        "hours": {"tz": hours.tz, "weekly": hours.weekly} if hours.weekly else None,
        "offline": config.offline,
        "identity": config.identity.mode if config.identity.keys else "anonymous",
        "files": {"max": config.files.max_bytes, "types": list(config.files.types)},
        "rating": config.rating,
        "persist": config.persist == "host",
    }


def _bad(message: str) -> MatrixError:
    return MatrixError(ErrCode.INVALID_PARAM, message)
