"""Driver errors turned into the port's.

What a caller can act on has a type: a row that was there first (UniqueViolation), a transaction to try again
(TransactionConflict), a database to wait for (StoreUnavailable), a disk that failed (StoreBroken). Everything else is
a fault of ours and stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from homeserver.ports.store import StoreBroken, StoreUnavailable, TransactionConflict, UniqueViolation

_UNIQUE_VIOLATION = "23505"
_CONFLICTS = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
# Connection lost or refused, out of resources, lock timeout, cancelled or shutting down, I/O error.
_UNAVAILABLE = ("08", "53", "55P03", "57", "58")
# After a failed sync the kernel forgets what it could not write and reports success from then on. PostgreSQL ends by
# itself then; SQLite would go on.
_SQLITE_BROKEN = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_SQLITE_UNIQUE = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})


@contextmanager
def translated() -> Iterator[None]:
    """Raise the port's errors for the database's; errors of the block's own pass unchanged."""
    try:
        yield
    except DBAPIError as error:
        raise _port_error(error) from error
    except (PoolTimeout, ConnectionError, TimeoutError) as error:
        raise StoreUnavailable(str(error)) from error


def _port_error(error: DBAPIError) -> Exception:
    state = getattr(error.orig, "sqlstate", None) or ""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(error, IntegrityError):
        return UniqueViolation(str(error.orig)) if state == _UNIQUE_VIOLATION or code in _SQLITE_UNIQUE else error
    if state in _CONFLICTS:
        return TransactionConflict(str(error.orig))
    if code in _SQLITE_BROKEN:
        return StoreBroken(str(error.orig))
    if code == sqlite3.SQLITE_ERROR:  # a statement that cannot be: a missing table, say
        return error
    lost = error.connection_invalidated or isinstance(error, InterfaceError)
    if lost or state.startswith(_UNAVAILABLE) or (isinstance(error, OperationalError) and not state):
        return StoreUnavailable(str(error.orig))
    return error
