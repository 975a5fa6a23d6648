"""The commands `hromada database …`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeserver import boot, running
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.log import DeviceListEntry
from homeserver.terminal import write

_LEAP = 1_000_000_000
"""Positions that are never given again: more than any server gives between a backup and the loss of its database."""

Load = Callable[[argparse.Namespace], Config]
WithSettings = Callable[[argparse.ArgumentParser, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]


def add_database_actions(actions: Any, with_settings: WithSettings, load: Load) -> None:
    """Add the actions of `hromada database` to its subparsers."""
    restored = actions.add_parser(
        "restored",
        help="say that the database comes from a backup, before the server starts on it",
        description="Drops one-time keys, which may have been given away after the backup was made and must never be "
        "given twice; lets clients ask for everybody's devices anew; and goes on behind every position that clients "
        "may have been told, so that they need not begin anew. Stop the server before.",
    )
    with_settings(restored, lambda options: asyncio.run(_restored(load(options))))


async def _restored(config: Config) -> int:
    if running.settings(Path(config.server.data_dir)):
        raise MatrixError(ErrCode.UNKNOWN, "The server is running on this data folder: stop it first")
    async with boot.offline(config) as server, server.store.write() as tx:
        dropped = await tx.keys.drop_one_time_keys()
        users = await tx.keys.users()
        first = await tx.log.reserve(_LEAP + len(users)) + _LEAP
        await tx.log.record([DeviceListEntry(first + number, user_id) for number, user_id in enumerate(users)])
    write(f"Dropped {dropped:,} one-time keys of {len(users):,} users; their devices will upload others")
    return 0
