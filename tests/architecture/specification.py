"""What the specification offers: its operations and the anchors that code may cite.

Reads `docs/spec/operations.tsv` and `docs/spec/anchors.txt`, made by `docs/spec/generate.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.architecture.source import ROOT

DOCUMENTS = {
    "client-server": "client-server-api",
    "server-server": "server-server-api",
    "application-service": "application-service-api",
}

# Endpoints that the prose requires and the OpenAPI files leave out, with the section that asks for each.
PROSE_ENDPOINTS = {
    "/_matrix/client/v3/auth/{authType}/fallback/web": "client-server-api#fallback",
    "/_matrix/static/client/login/": "client-server-api#login-fallback",
    "/_matrix/client/v3/rooms/{roomId}/state/{eventType}": (
        "client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey"
    ),
    "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/": (
        "client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey"
    ),
    # Gone from the specification, served for old clients.
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}": (
        "client-server-api#put_matrixclientv3roomsroomidsendeventtypetxnid"
    ),
    "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}": (
        "client-server-api#put_matrixclientv3roomsroomidredacteventidtxnid"
    ),
    "/_matrix/client/v3/pushrules": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}/": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}/{kind}": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}/{kind}/": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}/{kind}/{ruleId}": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/{scope}/{kind}/{ruleId}/{attribute}": "client-server-api#push-rules-api",
    "/_matrix/client/v3/pushrules/global/{kind}/": "client-server-api#push-rules-api",
    "/_matrix/client/v4/sync": "proposals/4186-simplified-sliding-sync",
}

_REFERENCE = re.compile(r"\bspec:\s+(?P<first>[a-z][a-z0-9/-]*(?:#[\w.-]*\w)?)?(?P<rest>.*)")
_ANCHORED = re.compile(r"\b[a-z][a-z0-9/-]*#[\w.-]*\w")


@dataclass(frozen=True)
class Operation:
    """One row of `operations.tsv`."""

    api: str
    method: str
    path: str
    operation_id: str
    anchor: str
    flags: frozenset[str]

    @property
    def reference(self) -> str:
        """How code cites this operation."""
        return f"{DOCUMENTS[self.api]}#{self.anchor}"


def operations() -> list[Operation]:
    """Every operation of the specification, in the order of the file."""
    rows = (ROOT / "docs/spec/operations.tsv").read_text().splitlines()[1:]
    found = []
    for row in rows:
        api, method, path, operation_id, anchor, flags = row.split("\t")
        found.append(Operation(api, method, path, operation_id, anchor, frozenset(flags.split(",")) - {"-"}))
    return found


def anchors() -> frozenset[str]:
    """Every `document` and `document#anchor` that a reference may name."""
    lines = (ROOT / "docs/spec/anchors.txt").read_text().splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def references(text: str) -> list[str]:
    """The references in one line of a comment or docstring; `""` stands for one that cannot be read.

    A line cites one section, `spec: rooms/v10#authorisation-rules 4.3.1`, or several with commas between them.
    """
    found = _REFERENCE.search(text)
    if found is None:
        return []
    return [found["first"] or "", *_ANCHORED.findall(found["rest"])]


def same_name(handler: str, operation_id: str) -> bool:
    """Whether a handler is named after the operation: `get_account_3pids` for `getAccount3PIDs`."""
    return handler == handler.lower() and handler.replace("_", "") == operation_id.replace("_", "").lower()
