"""Reads the registration files of application services."""

from __future__ import annotations

from homeserver.boot.parts import data_path
from homeserver.config.load import ConfigError
from homeserver.config.model import Config
from homeserver.services.appservices.registration import (
    BadRegistration,
    Registration,
    check_together,
    parse_registration,
)
from homeserver.services.appservices.registry import Registry

_LARGEST_FILE = 1024 * 1024


def load_registry(config: Config) -> Registry:
    """All registered application services. Raises ConfigError, which names every fault of every file."""
    found: list[Registration] = []
    faults: list[str] = []
    for name in config.appservices.files:
        try:
            with data_path(config, name).open("rb") as file:
                found.append(parse_registration(file.read(_LARGEST_FILE).decode(), config.server.name))
        except OSError as error:
            faults.append(f"appservices.files: {name}: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"appservices.files: {name}: is not UTF-8")
        except BadRegistration as error:
            faults += [f"appservices.files: {name}: {fault}" for fault in error.faults]
    try:
        check_together(found)
    except BadRegistration as error:
        faults += [f"appservices.files: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(faults)
    return Registry(found)
