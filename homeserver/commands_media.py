"""What operators do to media from the command line, on the database and the stores, whether the server runs or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from homeserver import boot
from homeserver.boot.media import build_media
from homeserver.boot.outbound import LazyOutbound
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.media.control import MediaControl
from homeserver.services.renewal import Renewal


@asynccontextmanager
async def media_control(config: Config) -> AsyncIterator[tuple[MediaControl, Renewal]]:
    """The operators' side of media, and what renews the database. Raises as `boot.build`."""
    async with boot.offline(config) as server:
        built = build_media(server.base, LazyOutbound(server.base.config))
        try:
            yield built.control, server.renewal
        finally:
            await built.close()


def split_uri(uri: str) -> tuple[str, str]:
    """`mxc://server/id` in its parts. Raises MatrixError: INVALID_PARAM."""
    origin, slash, media_id = uri.removeprefix("mxc://").partition("/")
    if not uri.startswith("mxc://") or not slash:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{uri} is no mxc:// URI")
    return origin, media_id


def user_id(config: Config, name: str) -> str:
    """A user id by its name. Raises MatrixError: INVALID_PARAM."""
    found = user_id_at_login(name, config.server.name)
    if found is None:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{name} is no user of {config.server.name}")
    return found
