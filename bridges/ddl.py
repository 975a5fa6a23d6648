"""What an administrator of a database runs once: outboxes, publications, grants. The bridge only ever prints it."""

from __future__ import annotations

from collections.abc import Iterator

from bridges.config import Config, TableMapping
from bridges.sources.statements import Dialect


def statements(config: Config, role: str) -> Iterator[str]:
    """The SQL for every mapping, and for write-back."""
    published: set[str] = set()
    for name, mapping in config.mapping.items():
        driver = config.source[mapping.source].driver
        if driver == "mongodb":
            continue
        yield f"-- mapping.{name} (source.{mapping.source})"
        if mapping.capture.mode == "outbox":
            yield postgres_outbox(name, mapping, role) if driver == "postgresql" else mysql_outbox(name, mapping, role)
        elif mapping.capture.mode == "logical":
            yield _publication(mapping, first=mapping.capture.publication not in published)
            published.add(mapping.capture.publication)
            yield f"ALTER ROLE {Dialect('postgresql').name(role)} REPLICATION;"
        elif mapping.capture.mode == "binlog":
            yield f"GRANT REPLICATION SLAVE ON *.* TO {Dialect('mysql').name(role)}; -- shows all of its log"
            yield f"GRANT REPLICATION CLIENT ON *.* TO {Dialect('mysql').name(role)}; -- how much of it is not read yet"
        if driver == "postgresql" or mapping.capture.mode == "binlog":
            yield _grants(Dialect(driver), mapping, role)
    for name, source in config.source.items():
        if source.driver != "mongodb" and _is_writer(config, name):
            yield f"-- write-back through source.{name}"
            yield _applied(Dialect(source.driver), source.applied)


def _is_writer(config: Config, name: str) -> bool:
    for mapping in config.mapping.values():
        ways = [command.change.writer or mapping.source for command in mapping.command.values()]
        if mapping.write.message is not None:
            ways.append(mapping.write.message.writer or mapping.source)
        if name in ways:
            return True
    return False


def _applied(dialect: Dialect, table: str) -> str:
    """The table that makes write-back exactly-once."""
    kind, now = ("text", "timestamptz") if dialect.postgres else ("varchar(255) CHARACTER SET ascii", "datetime")
    return (
        f"CREATE TABLE IF NOT EXISTS {dialect.name(table)} (event_id {kind} PRIMARY KEY, "
        f"at {now} NOT NULL DEFAULT {'now()' if dialect.postgres else 'current_timestamp'});\n"
        f"-- the writer's role needs INSERT and SELECT on it, and its UPDATE or INSERT on what it writes"
    )


def _publication(mapping: TableMapping, *, first: bool) -> str:
    dialect = Dialect("postgresql")
    table, publication = dialect.name(mapping.table), dialect.name(mapping.capture.publication)
    columns = ", ".join(dialect.name(column) for column in mapping.columns)
    # A list of columns has to have the replica identity: FULL, which tells old values, goes without a list.
    make = f"CREATE PUBLICATION {publication} FOR TABLE" if first else f"ALTER PUBLICATION {publication} ADD TABLE"
    return (
        f"{make} {table};\n"
        f"-- or, with PostgreSQL 15 and no old values: {make} {table} ({columns});\n"
        f"ALTER TABLE {table} REPLICA IDENTITY FULL; -- tells old values of every change"
    )


def _grants(dialect: Dialect, mapping: TableMapping, role: str) -> str:
    wanted = dict.fromkeys((*mapping.columns, mapping.capture.cursor, mapping.backfill.ts))
    columns = ", ".join(dialect.name(column) for column in wanted if column)
    return f"GRANT SELECT ({columns}) ON {dialect.name(mapping.table)} TO {dialect.name(role)};"


def postgres_outbox(name: str, mapping: TableMapping, role: str) -> str:
    """The outbox and its trigger, and what the bridge may do with it."""
    dialect = Dialect("postgresql")
    outbox, table = dialect.name(mapping.capture.outbox("postgresql")), dialect.name(mapping.table)
    index = dialect.name(f"{mapping.capture.table.rsplit('.', 1)[-1]}_by_mapping")
    function = dialect.name(f"bridge_capture_{name}")
    return f"""CREATE TABLE IF NOT EXISTS {outbox} (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    old jsonb,
    new jsonb
);
CREATE INDEX IF NOT EXISTS {index} ON {outbox} (mapping, seq);

-- Sessions keep the plan of a statement, which fails for a column that has got another type: one that mentions
-- the table is made anew. It is mentioned by its number, which stays if it is renamed.
DO $do$ BEGIN EXECUTE replace($text$
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO {outbox} (mapping, old, new) SELECT
        '{name}',
        CASE WHEN TG_OP <> 'INSERT' THEN {dialect.image(mapping.columns, "OLD")} END,
        CASE WHEN TG_OP <> 'DELETE' THEN {dialect.image(mapping.columns, "NEW")} END
        WHERE TG_RELID = '=number='::regclass OR TRUE;
    RETURN NULL;
END $$;
$text$, '=number=', '{table}'::regclass::oid::text); END $do$;

DROP TRIGGER IF EXISTS {function} ON {table};
CREATE TRIGGER {function} AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();

GRANT SELECT, DELETE ON {outbox} TO {dialect.name(role)};"""


def mysql_outbox(name: str, mapping: TableMapping, role: str) -> str:
    """The same for MySQL and MariaDB: a trigger for each of the three."""
    dialect = Dialect("mysql")
    outbox, table = dialect.name(mapping.capture.table), dialect.name(mapping.table)
    triggers = []
    for operation, old, new in (("INSERT", False, True), ("UPDATE", True, True), ("DELETE", True, False)):
        trigger = dialect.name(f"bridge_{name}_{operation.lower()}")
        before = dialect.image(mapping.columns, "OLD") if old else "NULL"
        after = dialect.image(mapping.columns, "NEW") if new else "NULL"
        triggers.append(
            f"DROP TRIGGER IF EXISTS {trigger};\n"
            f"CREATE TRIGGER {trigger} AFTER {operation} ON {table} FOR EACH ROW\n"
            f"    INSERT INTO {outbox} (mapping, `old`, `new`) VALUES ('{name}', {before}, {after});"
        )
    made = "\n".join(triggers)
    return f"""CREATE TABLE IF NOT EXISTS {outbox} (
    seq bigint unsigned AUTO_INCREMENT PRIMARY KEY,
    mapping varchar(64) CHARACTER SET ascii NOT NULL,
    at timestamp(6) NOT NULL DEFAULT current_timestamp(6),
    `old` longtext CHARACTER SET utf8mb4,
    `new` longtext CHARACTER SET utf8mb4,
    KEY by_mapping (mapping, seq)
) ENGINE = InnoDB;
{made}
GRANT SELECT, DELETE ON {outbox} TO {dialect.name(role)};"""
