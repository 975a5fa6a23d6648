"""The configuration of a bridge: `bridges.toml`. Everything wrong with it is reported at once, by name.

Secrets come from files or the environment only (`{ file = … }`, `{ env = … }`), never from the configuration itself.
The texts below the settings are the reference in docs/generated/bridges.md; `bridges.checks` finds what is wrong.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bridges.filters import Filter

POSTGRES = ("postgresql://", "postgres://")
"""What the URLs of PostgreSQL begin with."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ConfigError(Exception):
    """What is wrong with the configuration: one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Secret(_Section, frozen=True, kw_only=True):
    """A value that stands elsewhere."""

    file: str | None = None
    """The file whose text it is."""
    env: str | None = None
    """The environment variable that has it."""

    def read(self, environment: Mapping[str, str] = os.environ) -> str:
        """The value. Raises ConfigError."""
        if (self.file is None) == (self.env is None):
            raise ConfigError(["a secret names either a file or an environment variable"])
        if self.env is not None:
            if not (value := environment.get(self.env, "")):
                raise ConfigError([f"the environment variable {self.env} is not set"])
            return value
        try:
            value = Path(self.file or "").read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{self.file}: {error}"]) from None
        if not value:
            raise ConfigError([f"{self.file} is empty"])
        return value


class AdminRoom(_Section, frozen=True, kw_only=True):
    """A room in which the bridge says what went wrong."""

    alias: str = "_db_admin"
    """Its alias, without `#` and server."""
    invite: tuple[str, ...] = ()
    """Who is invited."""


class AppService(_Section, frozen=True, kw_only=True):
    """Who the bridge is to the homeserver."""

    id: str
    """The name of the registration."""
    homeserver: str
    """Where the homeserver's client API is, such as `http://127.0.0.1:8008`."""
    server_name: str
    """The part of its user ids behind the colon."""
    as_token: Secret
    """What the bridge shows the homeserver."""
    hs_token: Secret
    """What the homeserver shows the bridge."""
    listen: str = ""
    """Where the homeserver reaches the bridge, such as `127.0.0.1:29400`. Without it nothing comes back from rooms."""
    url: str = ""
    """The same as the homeserver sees it; `http://` and `listen` unless set."""
    bot: str = "_db_bot"
    """The user who makes the rooms."""
    prefix: str = "_db_"
    """What the names of the bridge's users and rooms begin with."""
    device_id: str = "DBBRIDGE"
    """The device of all of its users: with it, homeservers remember transaction ids over their restarts."""
    state: str | Secret = "bridges.db"
    """Where what is captured and not delivered yet is kept: a file (SQLite), or the URL of a PostgreSQL database
    (`postgresql://…`) that is the bridge's own, if several machines shall be able to run it."""
    max_queue: int = 10_000
    """With this many deliveries waiting nothing more is read; the databases keep it."""
    lanes: int = 8
    """In how many rooms is sent at the same time."""
    admin_room: AdminRoom | None = None
    """A room for notices of the bridge."""

    @property
    def address(self) -> tuple[str, int] | None:
        """`listen` as host and port."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None

    def owns(self, user_id: str) -> bool:
        """Whether it is a user of the bridge's own."""
        return user_id.startswith(f"@{self.prefix}") and user_id.endswith(f":{self.server_name}")


class TLS(_Section, frozen=True, kw_only=True):
    """Encryption of the connections to a database. Other hosts than this one are verified unless it is said here."""

    mode: Literal["verify-full", "require", "disable"] = "verify-full"
    """`require` encrypts without looking who is there."""
    ca: str = ""
    """A file with the authority's certificates; those of the system unless set."""


class Timeouts(_Section, frozen=True, kw_only=True):
    """How long a database is waited for."""

    connect: str = "5s"
    """For a connection."""
    statement: str = "10s"
    """For a statement."""
    lock: str = "2s"
    """For a lock that somebody else holds."""


class Source(_Section, frozen=True, kw_only=True):
    """A database."""

    driver: Literal["postgresql", "mysql", "mongodb"]
    """MariaDB is `mysql`."""
    url: Secret
    """`postgresql://user:password@host/database`, `mysql://…`, `mongodb://…`."""
    tls: TLS | None = None
    """Encryption."""
    read_only: bool | None = None
    """`true` refuses every write, also an outbox's; unset, sessions are read-only but for write-back and the outbox."""
    timeouts: Timeouts = Timeouts()
    """Timeouts."""
    pool: int = 3
    """At most how many connections."""
    applied: str = "bridge_applied"
    """The table that makes write-back exactly-once, where it is there (`hromada bridges sql` prints it)."""


class Capture(_Section, frozen=True, kw_only=True):
    """How changes are noticed."""

    mode: Literal["outbox", "logical", "binlog", "overlap", "horizon", "changestream"]
    """docs/bridges/index.md compares them."""
    poll: str = "200ms"
    """How often is looked."""
    batch: int = 500
    """How many changes at a time."""
    table: str = "bridge_outbox"
    """The outbox (`outbox`); in PostgreSQL in the schema `public` unless another is named."""
    publication: str = "bridge"
    """The publication with the table (`logical`)."""
    slot: str = ""
    """The slot (`logical`); `bridge_` and the mapping's name unless set."""
    cursor: str = ""
    """The column that grows with every change, a time (`overlap`, `horizon`)."""
    overlap: str = "60s"
    """How far back is read again (`overlap`): longer than the longest transaction."""
    fallback: Literal["", "overlap"] = ""
    """What to do where change streams are not offered (`changestream`)."""
    full_scan: str = ""
    """How often everything is read (users)."""

    def outbox(self, driver: str) -> str:
        """The outbox as a database of that kind names it."""
        return f"public.{self.table}" if driver == "postgresql" and "." not in self.table else self.table


class Backfill(_Section, frozen=True, kw_only=True):
    """Which of the rows that were there before get a room at once. The others get theirs when they change."""

    mode: Literal["none", "where", "last", "all"] = "none"
    """`where` takes those of `filter`, `last` the `limit` last by key."""
    filter: dict[str, Any] | None = None
    """A condition (`where`)."""
    limit: int = 100_000
    """At most how many."""
    ts: str = ""
    """The column with the time that their messages get."""


class Room(_Section, frozen=True, kw_only=True):
    """The room of a row. Texts are templates over its columns."""

    alias: str
    """Its alias, without `#` and server: it must differ for each row."""
    name: str = ""
    """Its name."""
    topic: str = ""
    """Its topic."""
    invite: tuple[str, ...] = ()
    """Who is invited; templates too."""
    space: str = ""
    """The alias of a space that the rooms are in; it is made if it begins with the prefix."""
    federate: bool = False
    """Whether users of other servers may join, for ever."""
    power: dict[str, int] = {}
    """User → power level in the new room."""


class When(_Section, frozen=True, kw_only=True):
    """A condition of a message."""

    changed: tuple[str, ...] = ()
    """Only if one of these columns changed."""


class Message(_Section, frozen=True, kw_only=True):
    """A message for a change."""

    on: Literal["insert", "update", "delete"]
    """What happened to the row. To begin or cease to meet the mapping's filter counts as insert and delete."""
    text: str
    """The text, a template over the row; `old.COLUMN` is what it was."""
    html: str = ""
    """The same as HTML; values are escaped."""
    sender: str = "bot"
    """`bot`, or `ghost:COLUMN`: a user of its own for each value of the column."""
    msgtype: Literal["m.text", "m.notice"] = "m.text"
    """The kind of message."""
    when: When = When()
    """A further condition."""


class Each(_Section, frozen=True, kw_only=True):
    """A message for each new element of a column that is a list of objects; `el` is the element."""

    array: str
    """The column."""
    element_key: str
    """The field that tells elements apart."""
    text: str
    """The text, a template over the row and `el`."""
    html: str = ""
    """The same as HTML."""
    sender: str = "bot"
    """`bot`, or `ghost:FIELD` of the element or the row."""
    msgtype: Literal["m.text", "m.notice"] = "m.text"
    """The kind of message."""
    skip_if: dict[str, Any] | None = None
    """A condition on elements that are not told; `op = "exists"` is one of it."""


class Ghost(_Section, frozen=True, kw_only=True):
    """The profile of the users that a column makes. Templates over the row in which they were last seen."""

    name: str = ""
    """The display name."""
    avatar: str = ""
    """The avatar, an `mxc://` URI."""


class Update(_Section, frozen=True, kw_only=True):
    """A guarded change of the room's row."""

    set: dict[str, Any] = {}
    """Column → value; texts are templates over the row, `sender`, `body`, `args`, `event_id`, `now`, `db_user`."""
    require: dict[str, list[Any]] = {}
    """Column → values of which it must have one."""
    writer: str = ""
    """The source that writes; the mapping's own unless set."""
    power_level: int = 0
    """Who may: the power level in the room."""
    users: tuple[str, ...] = ()
    """Who may besides: only these, if there are any."""


class Command(Update, frozen=True, kw_only=True):
    """What `!name` in a room does; the update may stand in a table `update` of its own."""

    update: Update | None = None
    """The update."""
    help: str = ""
    """A line for `!help`."""

    @property
    def change(self) -> Update:
        """The update."""
        return self.update or self


class WriteMessage(_Section, frozen=True, kw_only=True):
    """What a message in the room writes."""

    push: str = ""
    """The list column of the row that `value` is appended to (MongoDB)."""
    value: dict[str, Any] = {}
    """Field → template."""
    bump: str = ""
    """A column that counts up with it."""
    insert: str = ""
    """The table that `values` is inserted into."""
    values: dict[str, Any] = {}
    """Column → template; `event_uuid` is a key that is the same for the same message."""
    set: dict[str, Any] = {}
    """Column of the row → template."""
    writer: str = ""
    """The source that writes; the mapping's own unless set."""
    power_level: int = 0
    """Who may."""
    users: tuple[str, ...] = ()
    """Who may besides."""


class Mark(_Section, frozen=True, kw_only=True):
    """An element of a list that is changed."""

    array: str
    """The list column."""
    set: dict[str, Any]
    """Field → value."""


class WriteRedaction(_Section, frozen=True, kw_only=True):
    """What the redaction of a message in the room writes."""

    mark: Mark
    """The element that the message made is changed."""
    writer: str = ""
    """The source that writes."""


class WriteBack(_Section, frozen=True, kw_only=True):
    """What people in the room write into the database."""

    message: WriteMessage | None = None
    """On a message."""
    redaction: WriteRedaction | None = None
    """On a redaction."""


class Rate(_Section, frozen=True, kw_only=True):
    """At most how many messages."""

    per_room: str = "100/s"
    """In a room."""
    total: str = "1000/s"
    """In all rooms of the mapping."""


class TableMapping(_Section, frozen=True, kw_only=True):
    """A table whose rows are rooms."""

    source: str
    """The database."""
    key: tuple[str, ...]
    """The columns of its primary key."""
    columns: tuple[str, ...]
    """The columns that are read; no other ever leaves the database."""
    capture: Capture
    """How changes are noticed."""
    room: Room
    """The room of a row."""
    table: str = ""
    """The table, with its schema."""
    collection: str = ""
    """The collection (MongoDB)."""
    message: tuple[Message, ...] = ()
    """Messages for changes."""
    each: tuple[Each, ...] = ()
    """Messages for new elements of a list."""
    ghost: dict[str, Ghost] = {}
    """Column → profile of the users it makes."""
    filter: dict[str, Any] | None = None
    """A condition: which rows are mapped."""
    deliver: Literal["every", "latest"] = "every"
    """`latest` tells what waits together as one change."""
    backfill: Backfill = Backfill()
    """Rows that were there before."""
    reconcile: str = ""
    """How often the whole table is compared with what was seen; empty for never."""
    on_delete: Literal["ignore", "notice", "archive", "redact"] = "archive"
    """`archive` lets nobody write any more, `redact` takes the messages away besides."""
    on_error: Literal["park", "stop"] = "park"
    """What a row that cannot be told does: it is put aside, or the mapping stops."""
    rate: Rate = Rate()
    """Limits."""
    command: dict[str, Command] = {}
    """`!name` in the room."""
    write: WriteBack = WriteBack()
    """What people in the room write into the database."""
    external_url: str = ""
    """A template: the page of the row, for messages."""

    @property
    def predicate(self) -> Filter:
        """Which rows are mapped."""
        return Filter(self.filter)

    @property
    def relation(self) -> str:
        """Table or collection."""
        return self.table or self.collection


class Query(_Section, frozen=True, kw_only=True):
    """A named question: `!name value …` in a room of one of the mappings."""

    source: str
    """The database."""
    statement: str
    """The statement; `:name` stands for an argument."""
    arguments: dict[str, str] = {}
    """Argument → its type in the database. One that is a column of the room's row needs no value."""
    mappings: tuple[str, ...] = ()
    """In whose rooms it may be asked; the admin room always."""
    limit: int = 50
    """At most how many rows are shown."""
    power_level: int = 0
    """Who may."""
    help: str = ""
    """A line for `!help`."""


class Config(_Section, frozen=True, kw_only=True):
    """The whole file."""

    appservice: AppService
    """Who the bridge is to the homeserver."""
    source: dict[str, Source] = {}
    """Databases."""
    mapping: dict[str, TableMapping] = {}
    """Tables as rooms."""
    query: dict[str, Query] = {}
    """Named questions."""
    users: dict[str, Any] = {}
    """Users tables, for a homeserver that asks whether a password is right (docs/bridges/login.md)."""
    hook: dict[str, Any] = {}
    """Sites that send webhooks (docs/bridges/webhooks.md)."""
    endpoint: dict[str, Any] = {}
    """Sites that are sent webhooks (docs/bridges/webhooks.md)."""
    folder: str = "."

    @property
    def state(self) -> Path | str:
        """Where the state is: a file, or a URL."""
        state = self.appservice.state
        text = state.read() if isinstance(state, Secret) else state
        return text if text.startswith(POSTGRES) else Path(self.folder) / text.removeprefix("sqlite:///")


def seconds(text: str) -> float:
    """`500ms`, `5s`, `10m`, `24h`, `7d` in seconds. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 500ms, 5s, 10m or 24h")
    return int(match[1]) * _SECONDS[match[2]]


def per_second(text: str) -> float:
    """`5/s`, `20/min`, `100/h` as a number per second. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})/(s|min|m|h)", text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is not a rate such as 5/s, 20/min or 100/h")
    return int(match[1]) / _SECONDS[match[2].removesuffix("in")]


def load(file: Path) -> Config:
    """The configuration in `file`. Raises ConfigError."""
    from bridges.checks import faults  # noqa: PLC0415 - which reads the sections above
    from bridges.webhooks.settings import faults as webhook_faults  # noqa: PLC0415 - as above

    try:
        document = tomllib.loads(file.read_text())
        config = msgspec.convert({**document, "folder": str(file.resolve().parent)}, Config)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{file}: {error}"]) from None
    except msgspec.ValidationError as error:
        raise ConfigError([f"{file}: {error}"]) from None
    found = [*faults(config), *webhook_faults(config)]
    if config.users:
        from bridges.users.login import faults as users_faults  # noqa: PLC0415 - only what is used is imported

        found += users_faults(config)
    if found:
        raise ConfigError(found)
    return config
