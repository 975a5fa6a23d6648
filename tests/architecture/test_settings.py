"""Every documented setting does something: the composition root, the command or a rate limit reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest

from homeserver.config.base import Section
from homeserver.config.model import Config
from tests.architecture.source import ROOT, modules

# Accepted for scripts; the documentation says that it is not used yet.
NOT_YET = {"redis.url"}


def settings() -> Iterator[tuple[str, str]]:
    for section in msgspec.structs.fields(Config):
        assert isinstance(section.type, type)
        assert issubclass(section.type, Section)
        for field in msgspec.structs.fields(section.type):
            yield section.name, field.name


def code() -> str:
    """The text of everything that may read settings, the model and the loader aside."""
    files = [module.path for module in modules("homeserver", "client_api", "media_repo", "embed")]
    return "\n".join((ROOT / path).read_text() for path in files if "homeserver/config/" not in str(path))


@pytest.mark.parametrize(("section", "name"), [pair for pair in settings() if ".".join(pair) not in NOT_YET])
def test_the_setting_is_read(section: str, name: str) -> None:
    text = code()
    if section == "rate_limits" and name != "enabled":
        pattern = rf'(limit=|visitors=|\(|\b_[A-Z]+ = )"{name}"'
    else:
        pattern = rf"\b(config\.)?{section}\.{name}\b"
    assert re.search(pattern, text), f"nothing reads {section}.{name}"
