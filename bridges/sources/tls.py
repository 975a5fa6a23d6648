"""Encryption of the connections to databases: verified unless the configuration says otherwise, or it is this host."""

from __future__ import annotations

import ipaddress
import re
import ssl
from urllib.parse import urlsplit

from bridges.config import TLS, ConfigError


def tls_context(url: str, settings: TLS | None) -> ssl.SSLContext | None:
    """How to encrypt; None for not at all. Raises ConfigError."""
    host = urlsplit(url).hostname or ""
    if settings is None and is_local(host):
        return None
    settings = settings or TLS()
    if settings.mode == "disable":
        if not is_local(host):
            raise ConfigError([f"a database at {host} is not spoken to without encryption"])
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"tls.ca: {settings.ca}: {error}"]) from None
    if settings.mode == "require":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def is_local(host: str) -> bool:
    """Whether it is this machine."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reason(error: BaseException) -> str:
    """What went wrong with a database, for whoever has to mend it; drivers hide what is wrong with a certificate."""
    cause: BaseException | None = error
    # MongoDB's keeps the text only.
    told = re.search(r"certificate verify failed: (.+?)\.? \(_ssl\.c", str(error))
    why = told[1] if told else ""
    while cause is not None and not why:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
        cause = cause.__cause__ or cause.__context__
    if why:
        return f"the certificate of the database is not trusted: {why}; see tls.ca and the URL's host"
    return f"{type(error).__name__}: {error}"
