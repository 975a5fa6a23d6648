"""The command `hromada site`: support chats on other websites."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeserver import commands_site
from homeserver.boot.parts import public_base_url
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.support.site import SiteConfig, Theme, readable, without_secrets
from homeserver.terminal import write, write_row

_MOST_BYTES = 1_048_576

Command = Callable[[argparse.Namespace], int]
WithSettings = Callable[[argparse.ArgumentParser, Command], argparse.ArgumentParser]
ConfigOf = Callable[[argparse.Namespace], Config]


def add_site_actions(actions: Any, with_settings: WithSettings, config_of: ConfigOf) -> None:
    """Add `add`, `list`, `show`, `edit`, `rotate-key`, `unblock` and `remove` to the command's parser."""
    add = with_settings(actions.add_parser("add", help="make a site and its desk"), lambda o: _add(o, config_of(o)))
    add.add_argument("site", metavar="SITE", help="its public id: 2 to 32 of a-z, 0-9, _ and -")
    add.add_argument("--name", required=True, help="what staff and visitors see")
    edit = with_settings(actions.add_parser("edit", help="change a site's settings"), lambda o: _edit(o, config_of(o)))
    edit.add_argument("site", metavar="SITE")
    edit.add_argument("--name")
    edit.add_argument("--enable", action="store_const", const=True, dest="enabled")
    edit.add_argument("--disable", action="store_const", const=False, dest="enabled")
    for action in (add, edit):
        action.add_argument(
            "--origin", action="append", metavar="ORIGIN", help="such as https://shop.example.org; may be repeated"
        )
        action.add_argument("--offline", choices=("form", "open", "hide"), help="what visitors see out of hours")
        action.add_argument("--agent", action="append", default=[], metavar="NAME", help="somebody for the desk")
        action.add_argument("--file", type=Path, metavar="JSON", help="settings as in docs/embedding.md; - reads them")
    with_settings(actions.add_parser("list", help="print all sites"), lambda o: _list(config_of(o)))
    show = with_settings(actions.add_parser("show", help="print a site's settings"), lambda o: _show(o, config_of(o)))
    show.add_argument("site", metavar="SITE")
    rotate = with_settings(
        actions.add_parser("rotate-key", help="make a new identity key; the one before it serves on"),
        lambda o: _rotate(o, config_of(o)),
    )
    rotate.add_argument("site", metavar="SITE")
    rotate.add_argument("--alg", choices=("HS256", "EdDSA", "ES256"), default="HS256")
    rotate.add_argument("--public-key", type=Path, metavar="PEM", help="the site's own, for EdDSA and ES256")
    unblock = with_settings(
        actions.add_parser("unblock", help="let a visitor in again whom staff has blocked"),
        lambda o: _unblock(o, config_of(o)),
    )
    unblock.add_argument("site", metavar="SITE")
    unblock.add_argument("number", metavar="NUMBER", type=int, help="the case's, as on its card")
    remove = with_settings(
        actions.add_parser("remove", help="forget a site and close its visitors' accounts"),
        lambda o: _remove(o, config_of(o)),
    )
    remove.add_argument("site", metavar="SITE")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the options say. Raises MatrixError(INVALID_PARAM)."""
    given: dict[str, Any] = {}
    if options.file is not None:
        try:
            text = sys.stdin.read(_MOST_BYTES) if str(options.file) == "-" else options.file.read_text()
            given = json.loads(text)
        except (OSError, ValueError) as error:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{options.file}: {error}") from None
        if not isinstance(given, dict):
            raise MatrixError(ErrCode.INVALID_PARAM, f"{options.file}: is no JSON object")
    for name, value in (("name", options.name), ("origins", options.origin), ("offline", options.offline)):
        if value is not None:
            given[name] = value
    if getattr(options, "enabled", None) is not None:
        given["enabled"] = options.enabled
    return given


def _snippet(config: Config, site_id: str, site: SiteConfig) -> str:
    """What the site's pages need. Who hides their chat out of hours says so in the address."""
    address = f"{public_base_url(config)}/embed.js" + (f"?site={site_id}" if site.offline == "hide" else "")
    theme = site.theme
    accent = "" if theme.accent == Theme().accent else f' data-accent="{readable(theme.accent)}"'
    side = "" if theme.side == "end" else f' data-side="{theme.side}"'
    return f'  <script async src="{address}" data-site="{site_id}"{accent}{side}></script>'


def _add(options: argparse.Namespace, config: Config) -> int:
    site = asyncio.run(commands_site.add(config, options.site, _given(options), options.agent))
    write(f"Made the site {site.id}. Put this into its pages:")
    write(_snippet(config, site.id, site.config))
    write(f"Its desk is {site.row.desk_id}" + (f"; invited: {', '.join(options.agent)}" if options.agent else ""))
    return 0


def _edit(options: argparse.Namespace, config: Config) -> int:
    changed = asyncio.run(commands_site.edit(config, options.site, _given(options), options.agent))
    write(f"{options.site} is {'on' if changed.enabled else 'off'} for {', '.join(changed.origins)}")
    if changed.offline == "hide":
        write("Its chat is hidden out of hours, if its pages have this:")
        write(_snippet(config, options.site, changed))
    return 0


def _list(config: Config) -> int:
    for site, cases in asyncio.run(commands_site.all_sites(config)):
        state = "on" if site.config.enabled else "off"
        write_row([site.id, state, f"{cases} open", site.config.name, " ".join(site.config.origins)])
    return 0


def _show(options: argparse.Namespace, config: Config) -> int:
    shown = without_secrets(asyncio.run(commands_site.show(config, options.site)))
    write(json.dumps(shown, ensure_ascii=False, indent=2))
    return 0


def _rotate(options: argparse.Namespace, config: Config) -> int:
    public_key = options.public_key.read_text() if options.public_key is not None else ""
    key = asyncio.run(commands_site.rotate_key(config, options.site, options.alg, public_key))
    write(f"kid     {key.kid}")
    write(f"alg     {key.alg}")
    if key.secret:
        write(f"secret  {key.secret}")
        write("It is not shown again. The key before it serves on; a further rotation ends it.")
    return 0


def _unblock(options: argparse.Namespace, config: Config) -> int:
    asyncio.run(commands_site.unblock(config, options.site, options.number))
    write(f"The visitor of case #{options.number} may write again; its card says so.")
    return 0


def _remove(options: argparse.Namespace, config: Config) -> int:
    gone = asyncio.run(commands_site.remove(config, options.site))
    write(f"Removed {options.site}; {gone} visitors' accounts are closed. Its rooms stay with staff.")
    return 0
