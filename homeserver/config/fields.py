"""The settings as a list: what the loader, the environment and the documentation walk over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from homeserver.config.base import Section
from homeserver.config.model import Config
from homeserver.ports.ratelimits import Rate

ENVIRONMENT_PREFIX = "HROMADA_"
_BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    section: str
    name: str
    type: Any
    """With its bounds, as msgspec checks it."""
    default: Any
    doc: str
    bounds: tuple[float | None, float | None]

    @property
    def key(self) -> str:
        """`section.name`: what errors call it."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"{ENVIRONMENT_PREFIX}{self.section}_{self.name}".upper()

    @property
    def kind(self) -> Any:
        """The plain type, without bounds."""
        return get_args(self.type)[0]

    @property
    def tables(self) -> type[Section] | None:
        """What each table of a list of tables holds; None for other settings."""
        item = (*get_args(self.kind), None)[0]
        return item if isinstance(item, type) and issubclass(item, Section) else None

    def convert(self, value: Any) -> Any:
        """`value` from a TOML file as this setting's type. Raises ValueError with what is wrong."""
        if self.kind is Rate:
            if not isinstance(value, str):
                raise ValueError("expected per_second/burst, such as 0.2/10")
            return Rate.parse(value)
        try:
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError as error:
            allowed = f": one of {', '.join(get_args(self.kind))}" if get_origin(self.kind) is Literal else ""
            raise ValueError(f"{error}{allowed}") from None

    def convert_text(self, text: str) -> Any:
        """`text` from the environment or a flag as this setting's type. Lists are separated by commas."""
        value: Any = text
        if self.kind is bool:
            value = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}.get(
                text.lower(), text
            )
        elif self.kind is int:
            value = int(text) if text.strip().lstrip("-").isdecimal() else text
        elif self.tables is not None:
            try:
                value = json.loads(text or "[]")
            except ValueError as error:
                raise ValueError(f"expected JSON: {error}") from None
        elif get_origin(self.kind) is tuple:
            value = [item.strip() for item in text.split(",") if item.strip()]
        return self.convert(value)


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Every section's name and class, in the order of the documentation."""
    for field in msgspec.structs.fields(Config):
        yield field.encode_name, field.type


def settings(section: str, model: type[Section]) -> Iterator[Setting]:
    """Every setting of a section."""
    hints = get_type_hints(model, include_extras=True)
    for field in msgspec.structs.fields(model):
        annotated = hints[field.name]
        if get_origin(annotated) is not Annotated:
            raise TypeError(f"{section}.{field.name} has no documentation")
        meta: msgspec.Meta = annotated.__metadata__[0]
        bounds = (meta.ge, meta.le)
        yield Setting(section, field.name, annotated, field.default, meta.description or "", bounds)
