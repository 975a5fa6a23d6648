"""The commands `hromada media …`: arguments in, lines out.

Results go to standard output, one item a line, progress to standard error where that is a terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from homeserver.boot.atrest import rotate_at_rest_key
from homeserver.commands_media import media_control, split_uri, user_id
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.blobs import BlobStoreFailed
from homeserver.ports.media import Kind, Selection, VideoFacts
from homeserver.services.media.control import MediaControl

_KINDS: tuple[Kind, ...] = ("upload", "remote", "preview")
_DAY_MS = 24 * 3600 * 1000
_BAR = 30
_EVERY_S = 0.1

Act = Callable[[MediaControl, argparse.Namespace, Config], Awaitable[int]]
Load = Callable[[argparse.Namespace], Config]
WithSettings = Callable[[argparse.ArgumentParser, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]


def add_media_actions(actions: Any, with_settings: WithSettings, load: Load) -> None:
    """Add the actions of `hromada media` to its subparsers."""

    def add(name: str, act: Act, help_: str) -> argparse.ArgumentParser:
        return with_settings(actions.add_parser(name, help=help_), lambda options: _run(act, options, load(options)))

    usage = add("usage", _usage, "how much there is, in all and by user")
    usage.add_argument("--user", metavar="NAME", help="of this user only")
    add("info", _info, "what is known of media ids").add_argument("uri", nargs="+", metavar="MXC")
    listing = add("list", _list, "print media ids, sizes, types and users")
    _add_selection(listing)
    delete = add("delete", _delete, "delete media ids, or all that the options select")
    delete.add_argument("uri", nargs="*", metavar="MXC", help="mxc://server/id")
    delete.add_argument("--dry-run", action="store_true", help="only print what would be deleted")
    delete.add_argument("--even-in-use", action="store_true", help="also what profiles, rooms and packs show")
    delete.add_argument("--even-protected", action="store_true", help="also what is protected")
    _add_selection(delete)
    quarantine = add("quarantine", _quarantine, "let nobody have this content any more")
    quarantine.add_argument("uri", nargs="*", metavar="MXC")
    quarantine.add_argument("--user", metavar="NAME", help="everything this user has uploaded")
    quarantine.add_argument("--by", metavar="NAME", default="operator", help="who decides; default: operator")
    add("release", _release, "lift a quarantine").add_argument("uri", nargs="+", metavar="MXC")
    add("protect", _protect, "keep from quarantine and ageing").add_argument("uri", nargs="+", metavar="MXC")
    add("unprotect", _unprotect, "lift a protection").add_argument("uri", nargs="+", metavar="MXC")
    purge = add("purge-remote", _purge, "delete media of other servers")
    purge.add_argument("--older-than", type=_days, metavar="DAYS", default=0, help="not read for so long; default: all")
    add("age", _age, "delete what is older than the settings keep it")
    move = add("move", _move, "move all content from one store to another")
    move.add_argument("--from", dest="source", required=True, metavar="STORE")
    move.add_argument("--to", dest="target", required=True, metavar="STORE")
    with_settings(
        actions.add_parser("renew", help="bring content and database to the current key of encryption at rest"),
        lambda options: _finished(_renew(load(options))),
    )
    with_settings(
        actions.add_parser("rotate-key", help="make a new key of encryption at rest; restart the server then"),
        lambda options: _rotate(load(options)),
    )
    check = add("check", _check, "compare the database and the stores")
    check.add_argument("--read-all", action="store_true", help="read all content and compare its SHA-256")
    check.add_argument("--repair", action="store_true", help="delete content without a row that is older than a day")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="uploaded by this user")
    parser.add_argument("--kind", choices=_KINDS, action="append", help="default: upload")
    parser.add_argument("--older-than", type=_days, metavar="DAYS", help="neither read nor uploaded for so long")
    parser.add_argument("--larger-than", type=int, metavar="BYTES", default=0)


def _days(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 36_500:
        raise argparse.ArgumentTypeError("must be from 0 to 36,500")
    return number


def _run(act: Act, options: argparse.Namespace, config: Config) -> int:
    os.umask(0o077)  # nobody else on this machine reads what people send

    async def run() -> int:
        async with media_control(config) as (control, _):
            return await act(control, options, config)

    return _finished(run())


def _finished(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except BlobStoreFailed as error:
        sys.stderr.write(f"hromada: {error}\n")
        return 1


def _selection(options: argparse.Namespace, config: Config, *, with_protected: bool = True) -> Selection:
    older_than = options.older_than
    return Selection(
        kinds=tuple(options.kind or ("upload",)),
        user_id=None if options.user is None else user_id(config, options.user),
        accessed_before_ms=None if older_than is None else int(time.time() * 1000) - older_than * _DAY_MS,
        larger_than=options.larger_than,
        with_protected=with_protected,
    )


async def _usage(control: MediaControl, options: argparse.Namespace, config: Config) -> int:
    if options.user is not None:
        found = await control.usage(user_id(config, options.user))
        _print(f"{user_id(config, options.user)}\t{found.count}\t{found.size}")
        return 0
    for kind, usage in await control.totals():
        _print(f"all\t{kind}\t{usage.count}\t{usage.size}")
    async for user, usage in control.usage_by_user():
        _print(f"{user}\tupload\t{usage.count}\t{usage.size}")
    return 0


async def _info(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    for uri in options.uri:
        media, facts = await control.describe(*split_uri(uri))
        fields = [uri, str(media.size), media.content_type, media.user_id or "-", media.upload_name or "-"]
        if facts is not None:
            fields.append(f"{facts.width}x{facts.height}")
        if isinstance(facts, VideoFacts) and facts.duration_ms is not None:
            fields.append(f"{facts.duration_ms / 1000:g} s")
        _print("\t".join(fields))
    return 0


async def _list(control: MediaControl, options: argparse.Namespace, config: Config) -> int:
    async for media in control.select(_selection(options, config)):
        marks = [
            mark for mark in ("quarantined", "protected") if getattr(media, f"{mark}_by" if mark[0] == "q" else mark)
        ]
        fields = [f"mxc://{media.origin}/{media.media_id}", str(media.size), media.content_type, media.user_id or "-"]
        _print("\t".join([*fields, *marks]))
    return 0


async def _delete(control: MediaControl, options: argparse.Namespace, config: Config) -> int:
    is_selected = options.user is not None or options.older_than is not None or options.larger_than > 0 or options.kind
    if bool(options.uri) == bool(is_selected):
        raise MatrixError(
            ErrCode.INVALID_PARAM, "Name media ids, or select by --user, --kind, --older-than, --larger-than"
        )
    if options.uri:
        uris = [split_uri(uri) for uri in options.uri]
        for uri in [] if options.dry_run else uris:
            await control.delete(*uri)
        _print(f"{'Would delete' if options.dry_run else 'Deleted'} {len(uris)} media")
        return 0
    selection = _selection(options, config, with_protected=options.even_protected)
    if options.dry_run:
        async for media in control.select(selection):
            _print(f"mxc://{media.origin}/{media.media_id}\t{media.size}")
        return 0
    with _Progress("deleted") as progress:
        gone = await control.delete_selected(selection, spare_used=not options.even_in_use, progress=progress)
    _print(f"Deleted {gone.media} media, {gone.blobs} files")
    return 0


async def _quarantine(control: MediaControl, options: argparse.Namespace, config: Config) -> int:
    if bool(options.uri) == (options.user is not None):
        raise MatrixError(ErrCode.INVALID_PARAM, "Name media ids, or a user with --user")
    if options.user is not None:
        count = await control.quarantine_user(user_id(config, options.user), options.by)
    else:
        count = sum([await control.quarantine(*split_uri(uri), options.by) for uri in options.uri])
    _print(f"Quarantined {count} media")
    return 0


async def _release(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    _print(f"Released {sum([await control.release(*split_uri(uri)) for uri in options.uri])} media")
    return 0


async def _protect(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    for uri in options.uri:
        await control.protect(*split_uri(uri), True)
    _print(f"Protected {len(options.uri)} media")
    return 0


async def _unprotect(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    for uri in options.uri:
        await control.protect(*split_uri(uri), False)
    _print(f"{len(options.uri)} media not protected any more")
    return 0


async def _purge(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    before_ms = int(time.time() * 1000) - options.older_than * _DAY_MS
    with _Progress("deleted") as progress:
        selection = Selection(("remote",), accessed_before_ms=before_ms + 1)
        gone = await control.delete_selected(selection, spare_used=False, progress=progress)
    _print(f"Deleted {gone.media} media, {gone.blobs} files")
    return 0


async def _age(control: MediaControl, _options: argparse.Namespace, _config: Config) -> int:
    gone = await control.age()
    _print(f"Deleted {gone.media} media, {gone.blobs} files")
    return 0


async def _move(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    if options.source == options.target:
        raise MatrixError(ErrCode.INVALID_PARAM, "The stores are the same")
    total = await control.content_of(options.source)
    with _Progress("moved", total.size) as progress:
        moved = await control.move(options.source, options.target, progress)
    _print(f"Moved {moved} files from {options.source} to {options.target}")
    return 0 if moved == total.count else 1


async def _renew(config: Config) -> int:
    async with media_control(config) as (control, renewal):
        with _Progress("rows", unit="rows") as progress:
            rows = await renewal.once(lambda looked: progress(looked, 0))
        with _Progress("moved") as progress:
            moved = await control.renew(progress)
    _print("The database had nothing to renew" if not rows else f"Renewed the database: {rows:,} rows")
    _print(f"Moved {moved} files to the current key")
    return 0


def _rotate(config: Config) -> int:
    _print(f"New content is encrypted with the key {rotate_at_rest_key(config)} after the next start of the server")
    return 0


async def _check(control: MediaControl, options: argparse.Namespace, _config: Config) -> int:
    bad = 0
    with _Progress("checked") as progress:
        faults: AsyncIterator[Any] = control.check(read_all=options.read_all, repair=options.repair, progress=progress)
        async for fault in faults:
            bad += fault.kind != "orphan"
            _print("\t".join([fault.kind, fault.store, fault.key, fault.detail]).rstrip())
    _print(f"{bad} faults" if bad else "Every row has its content")
    return 1 if bad else 0


class _Progress:
    """A line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self, verb: str, total: int = 0, unit: str = "MB") -> None:
        self._verb = verb
        self._unit = unit
        self._total = total
        self._is_shown = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, items: int, size: int) -> None:
        if not self._is_shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        bar = ""
        if self._total:
            done = min(_BAR, _BAR * size // self._total)
            bar = f"[{'#' * done}{'.' * (_BAR - done)}] {100 * size // self._total:3} %  "
        sizes = f", {size / 1e6:,.1f} MB" if self._unit == "MB" else ""
        sys.stderr.write(f"\r{bar}{items:,} {self._verb}{sizes} ")
        sys.stderr.flush()

    def __exit__(self, *_how: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
