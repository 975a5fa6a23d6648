"""The commands `hromada search …`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from homeserver import boot
from homeserver.boot.parts import keeps_words
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.terminal import write

_STEP = 200
_EVERY_S = 0.1
_LOWEST = -(2**62)

Load = Callable[[argparse.Namespace], Config]
WithSettings = Callable[[argparse.ArgumentParser, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]


def add_search_actions(actions: Any, with_settings: WithSettings, load: Load) -> None:
    """Add the actions of `hromada search` to its subparsers."""
    rebuild = actions.add_parser("rebuild", help="index all messages anew; the server may run meanwhile")
    with_settings(rebuild, lambda options: asyncio.run(_rebuild(load(options))))


async def _rebuild(config: Config) -> int:
    if not keeps_words(config):
        raise MatrixError(ErrCode.INVALID_PARAM, "search.messages is off: there is no index to rebuild")
    done, shown = 0, 0.0
    async with boot.offline(config) as server:
        after = _LOWEST
        async with server.store.read() as tx:
            total = await tx.search.searchable()
        while True:
            async with server.store.read() as tx:
                nids = await tx.search.following(after, _STEP)
            if not nids:
                break
            # Short transactions: a running server waits no longer than for one of them.
            async with server.store.write() as tx:
                await tx.search.put(nids)
            after, done = nids[-1], done + len(nids)
            if sys.stderr.isatty() and time.monotonic() >= shown + _EVERY_S:
                shown = time.monotonic()
                sys.stderr.write(f"\r{100 * done // max(total, done):3} %  {done:,} events ")
                sys.stderr.flush()
    if shown:
        sys.stderr.write("\r\x1b[K")
    write(f"Indexed {done:,} events")
    return 0
