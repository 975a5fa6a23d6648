"""`/versions` is true: every version's additions are served, every flag has a test, and the rest is written down."""

from __future__ import annotations

import re
from itertools import pairwise

from client_api.deps import UNSTABLE_FEATURES
from client_api.discovery import VERSIONS
from tests.architecture.routes import role_routes
from tests.architecture.source import ROOT
from tests.architecture.specification import operations

# Why a version may be listed although this is missing of what it added.
EXCUSED = {
    "redirectToSSO": "offered by `GET /login` only where it is served",
    "redirectToIdP": "offered by `GET /login` only where it is served",
    "getWellknownPolicy": "of policy servers",
}
# The test that shows what a flag promises.
SHOWN = {
    "fi.mau.msc2246.stable": "tests/media/test_http.py",
    "fi.mau.msc2659.stable": "tests/api/test_appservice_push.py::test_waiting_ends_when_the_service_is_heard_of",
    "org.matrix.e2e_cross_signing": "tests/api/test_keys.py::test_cross_signing",
    "org.matrix.msc2285.stable": "tests/api/test_unread.py::test_messages_count_until_they_are_read",
    "org.matrix.msc3440.stable": "tests/services/rooms/test_relations.py",
    "org.matrix.msc3771": "tests/api/test_unread.py::test_threads_have_counts_and_receipts_of_their_own",
    "org.matrix.msc3773": "tests/api/test_unread.py::test_threads_have_counts_and_receipts_of_their_own",
    "org.matrix.msc3827.stable": "tests/services/rooms/test_directory.py",
    "org.matrix.msc3881": "tests/api/test_pushers.py::test_what_tells_nobody",
    "org.matrix.msc3916.stable": "tests/media/test_http.py",
    "org.matrix.msc3981": "tests/services/rooms/test_relations.py",
    "org.matrix.msc4380.stable": "tests/api/test_membership.py::test_who_blocks_invites_gets_none_by_any_path",
    "uk.half-shot.msc2666.query_mutual_rooms": "tests/api/test_people.py::test_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable": "tests/api/test_people.py::test_mutual_rooms",
    "uk.tcpip.msc4133": "tests/api/test_accounts.py",
    "uk.tcpip.msc4133.stable": "tests/api/test_accounts.py",
    "uk.timedout.msc4323.stable": "tests/client_api/test_sessions.py::test_locked_and_suspended_accounts",
}
UNSTABLE_PATHS = {
    "uk.half-shot.msc2666.query_mutual_rooms": "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
    "uk.tcpip.msc4133": "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}",
}


def served() -> set[tuple[str, str]]:
    return {(row.method, path) for _, row in role_routes() for path in (row.path, *row.also)}


def test_versions_bring_what_they_added() -> None:
    routes = served()
    missing = {
        f"v{version} {operation.method} {operation.path}"
        for operation in operations()
        if operation.api == "client-server" and (operation.method, operation.path) not in routes
        for flag in operation.flags
        if (version := flag.removeprefix("added-")) != flag and f"v{version}" in VERSIONS
        if operation.operation_id not in EXCUSED
    }
    assert not missing, "listed by /versions, but not served"


def test_versions_have_no_holes() -> None:
    """Libraries take a version for a promise of all before it."""
    numbers = [int(version.removeprefix("v1.")) for version in VERSIONS]
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))


def test_the_page_says_what_is_not_served() -> None:
    said = re.findall(r"`([A-Z]+) (/\S+)`", (ROOT / "docs/compatibility.md").read_text().partition("## Not served")[2])
    assert len(said) == len(set(said))
    missing = {(one.method, one.path) for one in operations() if one.api == "client-server"} - served()
    assert set(said) == missing, "docs/compatibility.md names other endpoints than those that are missing"


def test_every_flag_has_a_test() -> None:
    assert set(SHOWN) == set(UNSTABLE_FEATURES)
    for flag, place in SHOWN.items():
        file, _, name = place.partition("::")
        text = (ROOT / file).read_text()
        assert not name or f"def {name}(" in text, f"{flag}: there is no {place}"


def test_unstable_paths_are_served() -> None:
    paths = {path for _, path in served()}
    assert set(UNSTABLE_PATHS.values()) <= paths
