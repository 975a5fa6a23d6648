"""Registration files: every fault has a name, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from homeserver.services.appservices.interest import Interest
from homeserver.services.appservices.registration import BadRegistration, check_together, parse_registration

GOOD: dict[str, Any] = {
    "id": "irc",
    "url": "http://127.0.0.1:9000/",
    "as_token": "a",
    "hs_token": "h",
    "sender_localpart": "ircbot",
    "namespaces": {"users": [{"exclusive": True, "regex": "@irc_.*"}], "aliases": [], "rooms": None},
}


def test_a_good_one() -> None:
    found = parse_registration(yaml.safe_dump(GOOD), "hromada.test")
    assert found.url == "http://127.0.0.1:9000"
    assert found.sender == "@ircbot:hromada.test"
    assert found.covers("@irc_a:hromada.test")
    assert found.covers("@ircbot:hromada.test")
    assert not found.covers("@alice:hromada.test")
    assert found.rate_limited
    assert "as_token" not in repr(found)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": 5}, "id must"),
        ({"as_token": "two words"}, "as_token must"),
        ({"hs_token": None}, "hs_token must"),
        ({"url": "ftp://x"}, "url must"),
        ({"url": "http://"}, "url must"),
        ({"rate_limited": "no way"}, "rate_limited must"),
        ({"protocols": "irc"}, "protocols must"),
        ({"namespaces": []}, "namespaces must"),
        ({"namespaces": {"users": {}}}, "namespaces.users must"),
        ({"namespaces": {"users": [{"regex": "("}]}}, "namespaces.users[0].regex"),
        ({"namespaces": {"users": [{"exclusive": True}]}}, "namespaces.users[0].regex"),
        ({"namespaces": {"rooms": [{"exclusive": 1, "regex": "x"}]}}, "namespaces.rooms[0].exclusive"),
    ],
)
def test_faults_are_named(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadRegistration) as caught:
        parse_registration(yaml.safe_dump({**GOOD, **change}), "hromada.test")
    assert [line for line in caught.value.faults if line.startswith(fault)], caught.value.faults


@pytest.mark.parametrize("text", ["", "- a", "{", "!!python/object:os.system {}", "\x00"])
def test_what_is_no_mapping(text: str) -> None:
    with pytest.raises(BadRegistration):
        parse_registration(text, "hromada.test")


def test_none_shares_a_secret() -> None:
    one = parse_registration(yaml.safe_dump(GOOD), "hromada.test")
    other = parse_registration(yaml.safe_dump({**GOOD, "id": "b", "sender_localpart": "b"}), "hromada.test")
    with pytest.raises(BadRegistration, match="as_token"):
        check_together([one, other])


def test_only_local_users_are_its_own() -> None:
    """spec: application-service-api#registration"""
    interest = Interest(parse_registration(yaml.safe_dump(GOOD), "hromada.test"), "hromada.test")
    assert interest.covers("@irc_one:hromada.test")
    assert not interest.covers("@irc_one:elsewhere.test")
