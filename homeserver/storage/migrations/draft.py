"""Write the initial revision from the schema modules: `python -m homeserver.storage.migrations.draft`, then format it.

For development before the first release only.
"""

from __future__ import annotations

import re

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import CreateTableOp, MigrateOperation, ModifyTableOps, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from homeserver.storage.migrations import NEWEST
from homeserver.storage.migrations.upgrade import FOLDER
from homeserver.storage.schema import metadata
from homeserver.storage.schema.rooms import COUNTERS
from homeserver.storage.schema.search import CREATE

TARGET = FOLDER / "versions" / "v0001_initial.py"

_HEADER = f'''"""The initial schema, written by `homeserver.storage.migrations.draft`; the schema modules explain it."""
# long: one function for each table, written by a program

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{NEWEST}"
down_revision = None
branch_labels = None
depends_on = None


# long: one call for each table
def upgrade() -> None:  # noqa: PLR0915 - one call for each table
    """Create every table."""
'''


def _executed(dialect: str) -> str:
    pieces = [re.findall(r".{1,90}", statement) for statement in CREATE[dialect]]
    return "\n".join(f"        op.execute({' '.join(map(repr, lines))})" for lines in pieces)


_SEARCH = f"""

def _event_search() -> None:
    if op.get_bind().dialect.name == "sqlite":
{_executed("sqlite")}
    else:
{_executed("postgresql")}
"""


def draft() -> str:
    """The source of the initial revision."""
    with create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        found = produce_migrations(context, metadata).upgrade_ops
    assert found is not None  # noqa: S101 - narrows the type
    by_table: dict[str, list[MigrateOperation]] = {}
    for operation in found.ops:
        if isinstance(operation, CreateTableOp | ModifyTableOps):
            by_table.setdefault(operation.table_name, []).append(operation)
    calls = "".join(f"    _{name}()\n" for name in by_table)
    functions = "".join(_function(name, operations) for name, operations in by_table.items())
    return _HEADER + calls + "    _event_search()\n" + functions + _SEARCH


def _function(name: str, operations: list[MigrateOperation]) -> str:
    operations.sort(key=lambda operation: not isinstance(operation, CreateTableOp))
    code = render_python_code(UpgradeOps(operations), render_as_batch=False)
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("#")]
    for index in metadata.tables[name].indexes:
        if index._ddl_if is not None:  # SQLAlchemy has no other way to ask
            condition = f"    if op.get_bind().dialect.name == {index._ddl_if.dialect!r}:\n        "
            lines = [condition + line.lstrip() if f"'{index.name}'" in line else line for line in lines]
    body = re.sub(r"op\.f\(('[^']*')\)", r"\1", "\n".join(lines))
    if name == "counters":
        values = "(" + "), (".join(f"'{counter}', 0" for counter in COUNTERS) + ")"
        body += f"\n    values = {values!r}"
        body += '\n    op.execute(f"INSERT INTO counters (name, value) VALUES {values}")'
    return f"\n\ndef _{name}() -> None:\n    {body.strip()}\n"


if __name__ == "__main__":
    TARGET.write_text(draft())
