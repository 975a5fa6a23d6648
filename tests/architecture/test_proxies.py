"""The examples of reverse proxies pass on what the server serves, but for what is there for operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest

from tests.architecture.routes import role_routes
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs" / "operating" / "reverse-proxy.md").read_text()
FOR_OPERATORS = ("/_synapse/admin/", "/_hromada/admin/")


def example(name: str) -> str:
    return PAGE.split(f"```{name}\n")[1].split("```")[0]


def nginx() -> Callable[[str], bool]:
    rules = re.findall(r"location ~ (\S+) \{", example("nginx"))
    return lambda path: any(re.search(rule, path) for rule in rules)


def caddy() -> Callable[[str], bool]:
    rules = [rule for line in re.findall(r"@\w+ path (.+)", example("caddy")) for rule in line.split()]
    return lambda path: any(fnmatchcase(path, rule) for rule in rules)


def haproxy() -> Callable[[str], bool]:
    rules = re.findall(r"use_backend \w+ if \{ (path(?:_beg)?) (.+) \}", example("haproxy"))
    begins = tuple(path for kind, paths in rules if kind == "path_beg" for path in paths.split())
    exact = {path for kind, paths in rules if kind == "path" for path in paths.split()}
    return lambda path: path.startswith(begins) or path in exact


@pytest.mark.parametrize("proxy", [nginx, caddy, haproxy])
def test_what_is_served_is_passed_on(proxy: Callable[[], Callable[[str], bool]]) -> None:
    passes = proxy()
    paths = {path.replace("{", "").replace("}", "") for _, row in role_routes() for path in (row.path, *row.also)}
    assert "/" in paths and "/embed.js" in paths
    wrong = [path for path in paths if passes(path) is path.startswith(FOR_OPERATORS)]
    assert wrong == []
    assert not any(passes(path) for path in ("/metrics", "/health", "/phpmyadmin/", "/embed.js/x"))
