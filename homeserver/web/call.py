"""From a handler's signature to its arguments.

`compile_call` looks at a handler once, at start, and raises if it does not fit its route. The resulting `Call` turns
path values, query and body into keyword arguments, with the errors the specification names.
spec: client-server-api#common-error-codes
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from homeserver.core import strictjson
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.web.request import Request
from homeserver.web.route import Auth, Route

_REQUIRED: Any = object()
_INTEGER = re.compile(r"-?[0-9]{1,16}\Z", re.ASCII)
_MAX_INTEGER = 2**53 - 1
_WORDS = re.compile(r"(?<=[a-z0-9])([A-Z])")

Query = Mapping[str, list[str]]


class HandlerMismatch(TypeError):
    """A handler's signature does not fit its route: a fault in the program, found at start."""


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One query parameter: its handler name, its names on the wire, how to read it and what to do without it."""

    name: str
    wire: tuple[str, ...]
    read: Callable[[str, list[str]], Any]
    default: Any

    def value(self, query: Query) -> Any:
        """The value for the handler. Raises MatrixError INVALID_PARAM or MISSING_PARAM."""
        for wire in self.wire:
            values = query.get(wire)
            if values is not None:
                return self.read(wire, values)
        if self.default is _REQUIRED:
            raise MatrixError(ErrCode.MISSING_PARAM, f"The query parameter {self.wire[0]!r} is missing")
        return self.default


@dataclass(frozen=True, slots=True)
class Call:
    """How to call one handler."""

    path: tuple[str, ...]
    """Keyword names of the path parameters, in the order of the template."""
    query: tuple[QueryParameter, ...]
    body: Callable[[bytes], Any] | None
    """Reads the body into the `body` argument; None if the handler takes none."""
    wants_request: bool
    fixed: Mapping[str, Any]

    def arguments(self, path_values: list[str], query: Query) -> dict[str, Any]:
        """Keyword arguments from path and query. Raises MatrixError for bad ones."""
        arguments: dict[str, Any] = dict(zip(self.path, path_values, strict=True))
        if self.fixed:
            arguments.update(self.fixed)
        for parameter in self.query:
            arguments[parameter.name] = parameter.value(query)
        return arguments


def parameter_name(name: str) -> str:
    """The handler's name of a path parameter: `roomId` → `room_id`."""
    return _WORDS.sub(r"_\1", name).lower()


def path_parameters(template: str) -> tuple[str, ...]:
    """The parameters of a path template, as handler names."""
    return tuple(parameter_name(part[1:-1]) for part in template.split("/") if part.startswith("{"))


def compile_call(route: Route[Any]) -> Call:
    """Check the handler of `route` and make its `Call`. Raises HandlerMismatch."""
    where = f"{route.method} {route.path} → {getattr(route.handler, '__qualname__', route.handler)}"
    hints = get_type_hints(route.handler)
    parameters = list(inspect.signature(route.handler).parameters.values())
    keywords = _check_positional(where, route.auth, parameters, hints)
    path = path_parameters(route.path)
    body: Callable[[bytes], Any] | None = None
    query: list[QueryParameter] = []
    for name, parameter in keywords.items():
        hint = hints.get(name)
        if name in route.fixed:
            continue
        if name in path:
            if _base(hint) is not str:
                raise HandlerMismatch(f"{where}: the path parameter {name} must be a str")
        elif name == "request":
            if hint is not Request:
                raise HandlerMismatch(f"{where}: request must be a Request")
        elif name == "body":
            body = _body_reader(where, hint, parameter.default)
        else:
            query.append(_query_parameter(where, route, parameter, hint))
    missing = [name for name in path if name not in keywords]
    unknown = [name for name in (*route.query_names, *route.fixed) if name not in keywords]
    if missing or unknown:
        raise HandlerMismatch(f"{where}: the handler lacks {', '.join(missing + unknown)}")
    return Call(path, tuple(query), body, "request" in keywords, route.fixed)


def _check_positional(
    where: str, auth: Auth, parameters: list[inspect.Parameter], hints: dict[str, Any]
) -> dict[str, inspect.Parameter]:
    """`(api, who, *, …)`, or `(api, *, …)` for a route without authentication; returns the keyword parameters."""
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    if len(positional) + len(keywords) != len(parameters):
        raise HandlerMismatch(f"{where}: only (api, who, *, keywords) is understood")
    if auth is Auth.NONE:
        if len(positional) != 1:
            raise HandlerMismatch(f"{where}: without authentication the handler takes (api, *, …)")
        return keywords
    expected = Requester | None if auth is Auth.OPTIONAL else Requester
    if len(positional) != 2 or positional[1] != "who" or hints.get("who") != expected:
        raise HandlerMismatch(f"{where}: with auth={auth.name} the handler takes (api, who: {expected}, *, …)")
    return keywords


def _base(hint: Any) -> Any:
    """The type behind a NewType."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    return hint


def _without_none(hint: Any) -> Any:
    """`X` for `X | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        rest = [argument for argument in get_args(hint) if argument is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return hint


# --- query ---


def _query_parameter(where: str, route: Route[Any], parameter: inspect.Parameter, hint: Any) -> QueryParameter:
    wire = route.query_names.get(parameter.name, parameter.name)
    kind = _base(_without_none(hint))
    read = _literal_reader(kind) if get_origin(kind) is Literal else _READERS.get(kind)
    if read is None:
        raise HandlerMismatch(f"{where}: the query parameter {parameter.name} has the type {hint}")
    default = _REQUIRED if parameter.default is parameter.empty else parameter.default
    return QueryParameter(parameter.name, (wire,) if isinstance(wire, str) else wire, read, default)


def _invalid(name: str, expected: str) -> MatrixError:
    return MatrixError(ErrCode.INVALID_PARAM, f"The query parameter {name!r} must be {expected}")


def _read_str(name: str, values: list[str]) -> str:
    return values[0]


def _read_list(name: str, values: list[str]) -> list[str]:
    return values


def _read_int(name: str, values: list[str]) -> int:
    if not _INTEGER.match(values[0]) or abs(int(values[0])) > _MAX_INTEGER:
        raise _invalid(name, "an integer")
    return int(values[0])


def _read_bool(name: str, values: list[str]) -> bool:
    if values[0] not in ("true", "false"):
        raise _invalid(name, "true or false")
    return values[0] == "true"


def _literal_reader(kind: Any) -> Callable[[str, list[str]], str]:
    allowed = get_args(kind)

    def read(name: str, values: list[str]) -> str:
        if values[0] not in allowed:
            raise _invalid(name, "one of " + ", ".join(allowed))
        return values[0]

    return read


_READERS: dict[Any, Callable[[str, list[str]], Any]] = {
    str: _read_str,
    int: _read_int,
    bool: _read_bool,
    list[str]: _read_list,
}

# --- body ---


def _body_reader(where: str, hint: Any, default: Any) -> Callable[[bytes], Any]:
    """A reader of JSON bodies. An empty body is allowed only where the parameter has a default."""
    kind = _without_none(hint)
    convert = _convert_dict if get_origin(kind) is dict or kind is dict else _struct_converter(where, kind)

    def read(data: bytes) -> Any:
        if not data and default is not inspect.Parameter.empty:
            return default
        return convert(strictjson.parse_object(data))

    return read


def _convert_dict(value: dict[str, Any]) -> dict[str, Any]:
    return value


def _struct_converter(where: str, kind: Any) -> Callable[[dict[str, Any]], Any]:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise HandlerMismatch(f"{where}: body must be a msgspec.Struct or dict[str, Any], not {kind}")

    def convert(value: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            text = str(error)
            raise MatrixError(_fault(text), text) from None

    return convert


def _fault(text: str) -> ErrCode:
    """msgspec tells a missing, an oversized and a wrong member apart in the message only; tests pin the wording."""
    if text.startswith("Object missing required field"):
        return ErrCode.MISSING_PARAM
    return ErrCode.INVALID_PARAM if " of length <= " in text else ErrCode.BAD_JSON
