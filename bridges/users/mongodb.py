"""A users collection in MongoDB (`pip install 'hromada[mongodb]'`)."""

from __future__ import annotations

from typing import Any

from bridges.users.people import BadTable, Row, SourceAway, Table, Tls


class MongoUsers:
    """Implements `Source`. Values are compared with text that people type: never with operators."""

    def __init__(self, table: Table, url: str, *, tls: Tls | None, seconds: float, pool: int) -> None:
        """`url` names the database: `mongodb://HOST/DATABASE`. Raises ImportError without the driver, ValueError."""
        from pymongo import AsyncMongoClient  # noqa: PLC0415 - an extra
        from pymongo.errors import PyMongoError  # noqa: PLC0415 - the same

        options: dict[str, Any] = {} if tls is None else {"tls": True}
        if tls is not None and tls.ca_file is not None:
            options["tlsCAFile"] = tls.ca_file
        milliseconds = int(seconds * 1000)
        try:
            self._client: Any = AsyncMongoClient(
                url,
                maxPoolSize=pool,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                timeoutMS=milliseconds,
                appname="hromada",
                **options,
            )
            self._collection = self._client.get_default_database()[table.name]
        except PyMongoError as error:
            raise ValueError(f"its url is not usable: {type(error).__name__}") from None
        self._table = table
        self._errors = PyMongoError

    async def find(self, login: str, limit: int) -> list[Row]:
        """Rows with this text in a login column, at most `limit`. Raises SourceAway, BadTable."""
        return await self._rows({"$or": [{name: login} for name in self._table.login]}, limit)

    async def by_keys(self, keys: list[str]) -> list[Row]:
        """Rows with these keys, in any order; those that are gone are left out. Raises SourceAway, BadTable."""
        from bson import ObjectId  # noqa: PLC0415 - an extra

        values: list[Any] = list(keys)
        values += [ObjectId(key) for key in keys if ObjectId.is_valid(key)]
        values += [int(key) for key in keys if key.lstrip("-").isdecimal() and len(key) < 19]
        return await self._rows({self._table.key: {"$in": values}}, 0)

    async def page(self, after: Row | None, limit: int) -> list[Row]:
        """At most `limit` rows in the order of their keys, behind a row. Raises SourceAway, BadTable."""
        where = {} if after is None else {self._table.key: {"$gt": after[self._table.key]}}
        return await self._rows(where, limit)

    async def check(self) -> str:
        """What there is, in words, once it was looked up. Raises SourceAway, BadTable."""
        rows = await self._rows({}, 1)
        if not rows:
            raise BadTable(f"collection {self._table.name} is empty, or not there")
        if missing := [name for name in (*self._table.login, self._table.password) if rows[0].get(name) is None]:
            raise BadTable(f"the first document of {self._table.name} has no {', '.join(missing)}")
        return f"collection {self._table.name} is there"

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    async def _rows(self, where: dict[str, Any], limit: int) -> list[Row]:
        fields = dict.fromkeys(self._table.columns, 1)
        if "_id" not in fields:
            fields["_id"] = 0
        try:
            cursor = self._collection.find(where, fields).sort(self._table.key, 1).limit(limit)
            return [dict.fromkeys(self._table.columns) | document async for document in cursor]
        except self._errors as error:
            raise SourceAway(f"{type(error).__name__}: {str(error)[:200]}") from None
