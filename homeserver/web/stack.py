"""Whether the HTTP server beneath us is one that this release knows: private names of three packages are used.

`web.connection` and `web.hypercorn_bounds` mend what Hypercorn has no hook for. With another version a name may be
gone, or worse, be there and no longer do what it did, so that a bound is lost without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module, metadata
from operator import attrgetter

TESTED = {"h11": "0.16.", "hypercorn": "0.18.", "wsproto": "1.3."}

_NAMES = {
    "hypercorn.asyncio.run": ("TCPServer",),
    "hypercorn.asyncio.tcp_server": (
        *("TCPServer.run", "TCPServer.protocol_send", "TCPServer._read_data", "TCPServer._close"),
        "TCPServer._initiate_server_close",
    ),
    "hypercorn.protocol": ("H11Protocol", "ProtocolWrapper.handle"),
    "hypercorn.protocol.h11": (
        *("HTTPStream", "WSStream", "H11Protocol._check_protocol", "H11Protocol._create_stream"),
        *("H11Protocol._send_error_response", "H11Protocol.handle"),
    ),
    "hypercorn.protocol.http_stream": ("HTTPStream.handle", "HTTPStream.app_send"),
    "hypercorn.protocol.ws_stream": (
        *("WSStream.handle", "WSStream.app_send", "WSStream._accept", "WSStream._send_wsproto_event"),
        *("WebsocketBuffer.extend", "WebsocketBuffer.to_message", "ASGIWebsocketState.CONNECTED", "FrameTooLargeError"),
    ),
    "h11": ("Connection.trailing_data", "Connection.their_state", "DONE", "MUST_CLOSE", "SEND_RESPONSE"),
    "wsproto.frame_protocol": ("FrameDecoder", "MessageDecoder", "FrameProtocol"),
    "asyncio": ("StreamReader.feed_data", "StreamReader.feed_eof", "StreamReader.set_exception"),
}


class UnknownStack(RuntimeError):
    """Packages of the HTTP server that this release has not been tested with; the message says which."""


def faults() -> Iterator[str]:
    """What is not as it was when this release was tested, for an operator."""
    for package, tested in TESTED.items():
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield f"{package} is not installed; it needs {tested}x"
            continue
        if not version.startswith(tested):
            yield f"{package} is {version}; this release needs {tested}x: pip install '{package}=={tested}*'"
    for module, names in _NAMES.items():
        for name in names:
            try:
                attrgetter(name)(import_module(module))
            except (ImportError, AttributeError):
                yield f"{module}.{name} is gone"


def check() -> None:
    """Raises UnknownStack unless everything is as it was when this release was tested."""
    if found := list(faults()):
        raise UnknownStack("; ".join(found))
