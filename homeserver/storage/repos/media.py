"""SQL for `ports.media`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from homeserver.ports.media import Blob, KeptBlob, Media, MediaRepo, Selection, Usage
from homeserver.storage.dialect import FOR_UPDATE, Connection, Sql, in_texts, json_texts
from homeserver.storage.repos.columns import Columns
from homeserver.storage.repos.rows import opened

_MEDIA = Columns(Media)
_BLOBS = Columns(Blob)
_STORE = _BLOBS.index("store")
_MXC = re.compile(rb"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}")

_ADD = Sql(f"INSERT INTO media ({_MEDIA.names}) VALUES ({_MEDIA.parameters})")
_GET = Sql(f"SELECT {_MEDIA.names} FROM media WHERE origin = :origin AND media_id = :media_id")
_COMPLETE = Sql(
    """UPDATE media SET content_type = :content_type, upload_name = :upload_name, size = :size, digest = :digest,
        accessed_ms = :accessed_ms, expires_ms = NULL, quarantined_by = :quarantined_by
    WHERE origin = :origin AND media_id = :media_id AND digest IS NULL"""
)
_PENDING = Sql(
    "SELECT count(*) FROM media WHERE user_id = :user_id AND digest IS NULL AND size IS NULL AND expires_ms > :now_ms"
)
_USAGE = Sql("SELECT count(size), CAST(COALESCE(SUM(size), 0) AS bigint) FROM media WHERE user_id = :user_id")
_USAGE_BY_USER = Sql(
    """SELECT user_id, count(size), CAST(COALESCE(SUM(size), 0) AS bigint) FROM media
    WHERE user_id > :after GROUP BY user_id ORDER BY user_id LIMIT :count"""
)
_TOTALS = Sql(
    """SELECT kind, count(size), CAST(COALESCE(SUM(size), 0) AS bigint) FROM media
    WHERE digest IS NOT NULL GROUP BY kind ORDER BY kind"""
)
_TOUCH = Sql(
    """UPDATE media SET accessed_ms = :now_ms
    WHERE origin = :origin AND media_id = :media_id AND accessed_ms < :now_ms"""
)
_SELECT = Sql(
    f"""SELECT {_MEDIA.names} FROM media
    WHERE (origin > :after_origin OR (origin = :after_origin AND media_id > :after_id)) AND digest IS NOT NULL
        AND """
    + """{kinds} AND size > :larger_than AND (protected = false OR :with_protected = 1)
        AND (CAST(:user_id AS text) IS NULL OR user_id = :user_id)
        AND (CAST(:origin AS text) IS NULL OR origin = :origin)
        AND (CAST(:accessed AS bigint) IS NULL OR accessed_ms < :accessed)
        AND (CAST(:created AS bigint) IS NULL OR created_ms < :created)
    ORDER BY origin, media_id LIMIT :count""",
    kinds=in_texts("kind", "kinds"),
)
_SET_QUARANTINE = Sql(
    """UPDATE media SET quarantined_by = :by
    WHERE (origin = :origin AND media_id = :media_id
        OR digest = (SELECT m.digest FROM media m WHERE m.origin = :origin AND m.media_id = :media_id))
        AND (protected = false OR CAST(:by AS text) IS NULL)"""
)
_SET_PROTECTED = Sql("UPDATE media SET protected = :protected WHERE origin = :origin AND media_id = :media_id")
_DELETE = Sql("DELETE FROM media WHERE origin = :origin AND media_id = :media_id RETURNING digest")
_CONDEMN = Sql(
    f"""UPDATE blobs SET condemned_ms = :now_ms WHERE digest = :digest
        AND NOT EXISTS (SELECT 1 FROM media WHERE media.digest = blobs.digest)
    RETURNING {_BLOBS.names}"""
)
_FORGET_EXPIRED = Sql(
    """DELETE FROM media WHERE (origin, media_id) IN (SELECT origin, media_id FROM media
        WHERE expires_ms IS NOT NULL AND expires_ms <= :now_ms AND digest IS NULL LIMIT :count)"""
)

_BLOB = Sql(f"SELECT {_BLOBS.names} FROM blobs WHERE digest = :digest")
_KEEP_BLOB = Sql(
    f"""INSERT INTO blobs ({_BLOBS.names}) VALUES ({_BLOBS.parameters})
    ON CONFLICT (digest) DO UPDATE SET condemned_ms = NULL
    RETURNING {_BLOBS.names},
        (SELECT m.quarantined_by FROM media m
            WHERE m.digest = :digest AND m.quarantined_by IS NOT NULL LIMIT 1),
        (SELECT CAST(COALESCE(SUM(m.size), 0) AS bigint) FROM media m WHERE m.user_id = CAST(:user_id AS text))"""
)
_ADD_KEPT = Sql(
    f"INSERT INTO media ({_MEDIA.names}) VALUES ({_MEDIA.parameters})".replace(
        ":quarantined_by",
        "(SELECT m.quarantined_by FROM media m WHERE m.digest = :digest AND m.quarantined_by IS NOT NULL LIMIT 1)",
    )
)
_LOCK_USER = Sql("SELECT 1 FROM users WHERE user_id = :user_id{for_update}", for_update=FOR_UPDATE)
_CONDEMNED = Sql(
    f"""SELECT {_BLOBS.names} FROM blobs WHERE condemned_ms IS NOT NULL AND condemned_ms <= :before_ms
    ORDER BY condemned_ms LIMIT :count"""
)
_DROP_BLOB = Sql("DELETE FROM blobs WHERE digest = :digest AND condemned_ms IS NOT NULL")
_BLOBS_OF = Sql(
    f"""SELECT {_BLOBS.names} FROM blobs
    WHERE digest > :after AND (CAST(:store AS text) IS NULL OR store = :store) ORDER BY digest LIMIT :count"""
)
_MOVE_BLOB = Sql("UPDATE blobs SET store = :store WHERE digest = :digest")

_PREVIEW = Sql("SELECT body FROM url_previews WHERE digest = :digest AND expires_ms > :now_ms")
_PUT_PREVIEW = Sql(
    """INSERT INTO url_previews (digest, fetched_ms, expires_ms, body)
    VALUES (:digest, :fetched_ms, :expires_ms, :body)
    ON CONFLICT (digest) DO UPDATE
        SET fetched_ms = excluded.fetched_ms, expires_ms = excluded.expires_ms, body = excluded.body"""
)
_FORGET_PREVIEWS = Sql(
    """DELETE FROM url_previews
    WHERE digest IN (SELECT digest FROM url_previews WHERE expires_ms <= :now_ms LIMIT :count)"""
)

# What shows media for as long as it stands. Everybody's avatar in a room is one of the profiles' (or was).
_STATE_TYPES = ("m.room.avatar", "m.room.pinned_events", "im.ponies.room_emotes", "m.room.image_pack")
_PACK_TYPES = ("im.ponies.user_emotes", "m.image_pack")
_PROFILE_VALUES = Sql("SELECT value FROM profile_fields WHERE name = 'avatar_url' OR name LIKE '%.%'")
_STATE = Sql(
    """SELECT s.type, e.json FROM current_state s JOIN events e ON e.nid = s.event_nid WHERE {types}""",
    types=in_texts("s.type", "types"),
)
_EVENTS = Sql("SELECT json FROM events WHERE {ids}", ids=in_texts("event_id", "ids"))
_PACKS = Sql("SELECT content FROM account_data WHERE {types}", types=in_texts("type", "types"))


class SqlMediaRepo(MediaRepo):
    """Implements `ports.media.MediaRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, media: Media) -> None:
        await _ADD.run_many(self._connection, [_MEDIA.values(media)])  # on SQLite along with what follows

    async def get(self, origin: str, media_id: str) -> Media | None:
        row = await _GET.first(self._connection, origin=origin, media_id=media_id)
        return None if row is None else _MEDIA.record(row)

    async def complete(self, media: Media) -> bool:
        given = _MEDIA.values(media)
        wanted = {name: given[name] for name in _COMPLETE.names}
        return await _COMPLETE.run(self._connection, **wanted) > 0

    async def pending(self, user_id: str, now_ms: int) -> int:
        return int((await _PENDING.first(self._connection, user_id=user_id, now_ms=now_ms))[0])

    async def usage(self, user_id: str) -> Usage:
        count, size = await _USAGE.first(self._connection, user_id=user_id)
        return Usage(int(count), int(size))

    async def usage_by_user(self, after: str, limit: int) -> list[tuple[str, Usage]]:
        rows = await _USAGE_BY_USER.rows(self._connection, after=after, count=limit)
        return [(user_id, Usage(int(count), int(size))) for user_id, count, size in rows]

    async def totals(self) -> list[tuple[str, Usage]]:
        return [(kind, Usage(int(count), int(size))) for kind, count, size in await _TOTALS.rows(self._connection)]

    async def touch(self, ids: Sequence[tuple[str, str]], now_ms: int) -> None:
        rows = [{"origin": origin, "media_id": media_id, "now_ms": now_ms} for origin, media_id in sorted(ids)]
        await _TOUCH.run_many(self._connection, rows)

    async def select(self, selection: Selection, after: tuple[str, str], limit: int) -> list[Media]:
        rows = await _SELECT.rows(
            self._connection,
            after_origin=after[0],
            after_id=after[1],
            kinds=json_texts(selection.kinds),
            larger_than=selection.larger_than,
            with_protected=int(selection.with_protected),
            user_id=selection.user_id,
            origin=selection.origin,
            accessed=selection.accessed_before_ms,
            created=selection.created_before_ms,
            count=limit,
        )
        return [_MEDIA.record(row) for row in rows]

    async def set_quarantine(self, origin: str, media_id: str, by: str | None) -> int:
        return await _SET_QUARANTINE.run(self._connection, origin=origin, media_id=media_id, by=by)

    async def set_protected(self, origin: str, media_id: str, protected: bool) -> bool:
        done = await _SET_PROTECTED.run(self._connection, origin=origin, media_id=media_id, protected=protected)
        return done > 0

    async def delete(self, ids: Sequence[tuple[str, str]], now_ms: int) -> list[Blob]:
        digests: set[bytes] = set()
        for origin, media_id in ids:
            row = await _DELETE.first(self._connection, origin=origin, media_id=media_id)
            if row is not None and row[0] is not None:
                digests.add(bytes(row[0]))
        condemned = []
        for digest in sorted(digests):
            row = await _CONDEMN.first(self._connection, digest=digest, now_ms=now_ms)
            if row is not None:
                condemned.append(_BLOBS.record(row))
        return condemned

    async def forget_expired(self, now_ms: int, limit: int) -> int:
        return await _FORGET_EXPIRED.run(self._connection, now_ms=now_ms, count=limit)

    async def referenced(self) -> set[str]:
        found = _uris(row[0] for row in await _PROFILE_VALUES.rows(self._connection))
        pinned: set[str] = set()
        sealing = self._connection.sealing
        for type_, json in await _STATE.rows(self._connection, types=json_texts(_STATE_TYPES)):
            plain = opened(json, sealing)
            if type_ == "m.room.pinned_events":
                ids = orjson.loads(plain)["content"].get("pinned", [])
                pinned.update(id_ for id_ in ids if isinstance(id_, str)) if isinstance(ids, list) else None
            else:
                found |= _uris([plain])
        for row in await _EVENTS.rows(self._connection, ids=json_texts(pinned)):
            found |= _uris([opened(row[0], sealing)])
        packs = await _PACKS.rows(self._connection, types=json_texts(_PACK_TYPES))
        return found | _uris(sealing.open(row[0], "account") for row in packs)

    # --- blobs ---

    async def blob(self, digest: bytes) -> Blob | None:
        row = await _BLOB.first(self._connection, digest=digest)
        return None if row is None else _BLOBS.record(row)

    async def keep_blob(self, blob: Blob, user_id: str | None = None) -> KeptBlob:
        await self._alone_for(user_id)
        *kept, by, used = await _KEEP_BLOB.first(self._connection, **_BLOBS.values(blob), user_id=user_id)
        return KeptBlob(_BLOBS.record(kept), by, int(used))

    async def keep(self, media: Media, blob: Blob, quota: int) -> KeptBlob:
        user_id = media.user_id if quota else None
        await self._alone_for(user_id)
        given = _MEDIA.values(media)
        del given["quarantined_by"]
        await _ADD_KEPT.run_many(self._connection, [given])

        def is_right(row: Sequence[Any]) -> bool:
            return row[_STORE] == blob.store and (not quota or row[-1] <= quota)

        *kept, by, used = await _KEEP_BLOB.last(self._connection, is_right, **_BLOBS.values(blob), user_id=user_id)
        return KeptBlob(_BLOBS.record(kept), by, int(used))

    async def _alone_for(self, user_id: str | None) -> None:
        if user_id is not None and not self._connection.is_sqlite:  # which has one writer at a time
            await _LOCK_USER.rows(self._connection, user_id=user_id)

    async def condemned(self, before_ms: int, limit: int) -> list[Blob]:
        rows = await _CONDEMNED.rows(self._connection, before_ms=before_ms, count=limit)
        return [_BLOBS.record(row) for row in rows]

    async def drop_blob(self, digest: bytes) -> bool:
        return await _DROP_BLOB.run(self._connection, digest=digest) > 0

    async def blobs(self, store: str | None, after: bytes, limit: int) -> list[Blob]:
        rows = await _BLOBS_OF.rows(self._connection, store=store, after=after, count=limit)
        return [_BLOBS.record(row) for row in rows]

    async def move_blob(self, digest: bytes, store: str) -> bool:
        return await _MOVE_BLOB.run(self._connection, digest=digest, store=store) > 0

    # --- previews ---

    async def preview(self, digest: bytes, now_ms: int) -> bytes | None:
        row = await _PREVIEW.first(self._connection, digest=digest, now_ms=now_ms)
        return None if row is None else self._connection.sealing.open(row[0], "preview")

    async def put_preview(self, digest: bytes, fetched_ms: int, expires_ms: int, body: bytes) -> None:
        sealed = self._connection.sealing.seal(body, "preview")
        await _PUT_PREVIEW.run(
            self._connection, digest=digest, fetched_ms=fetched_ms, expires_ms=expires_ms, body=sealed
        )

    async def forget_previews(self, now_ms: int, limit: int) -> int:
        return await _FORGET_PREVIEWS.run(self._connection, now_ms=now_ms, count=limit)


def _uris(texts: Iterable[Any]) -> set[str]:
    return {found.decode() for text in texts for found in _MXC.findall(bytes(text))}
