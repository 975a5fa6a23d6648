"""Internal row ids handed out from blocks, so that most transactions need no statement for them.

A block is taken from the `counters` row inside a transaction and kept by the process only once that transaction
is committed: after a rollback the database would give the same numbers to somebody else. Unused ids are gaps.
"""

from __future__ import annotations

from homeserver.storage.dialect import Connection, Sql

BLOCK = 1024

TAKE = Sql("UPDATE counters SET value = value + :count WHERE name = :name RETURNING value")


class IdBlocks:
    """The process's unused ids by counter name. Owned by `Database`."""

    def __init__(self) -> None:
        self._free: dict[str, range] = {}

    def take(self, name: str, count: int) -> range | None:
        """`count` committed ids, or None if the block has too few."""
        free = self._free.get(name, range(0))
        if len(free) < count:
            return None
        self._free[name] = free[count:]
        return free[:count]

    def keep(self, name: str, rest: range) -> None:
        """Keep ids of a committed block, if they are more than what is there."""
        if len(rest) > len(self._free.get(name, range(0))):
            self._free[name] = rest


class TransactionIds:
    """Ids for one transaction. `committed` gives what is left of its new blocks to the process."""

    def __init__(self, connection: Connection, blocks: IdBlocks) -> None:
        self._connection = connection
        self._blocks = blocks
        self._new: dict[str, range] = {}

    async def take(self, name: str, count: int) -> range:
        """`count` ids of the counter, in order; one statement only when the block is used up."""
        own = self._new.get(name)
        if own is not None and len(own) >= count:
            self._new[name] = own[count:]
            return own[:count]
        taken = self._blocks.take(name, count)
        if taken is not None:
            return taken
        size = count + BLOCK
        last = int((await TAKE.first(self._connection, name=name, count=size))[0])
        block = range(last - size + 1, last + 1)
        self._new[name] = block[count:]
        return block[:count]

    def committed(self) -> None:
        """The transaction is durable: its new blocks are ours."""
        for name, rest in self._new.items():
            self._blocks.keep(name, rest)
        self._new.clear()
