"""What names are searched by is in NFC: they are found whichever way their accents are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0004"
down_revision = "0003"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
ROWS_AT_ONCE = 1_000


def upgrade() -> None:
    """Add what the names that aren't in NFC are found by, and fold all names anew."""
    op.add_column("dashboards", sa.Column("composed_name", TEXT))
    is_set = sa.text("composed_name IS NOT NULL")
    op.create_index(
        "dashboards_by_composed_name",
        "dashboards",
        ["project_id", "deleted", "composed_name"],
        sqlite_where=is_set,
        postgresql_where=is_set,
    )
    fold("dashboards", "name", "folded_name = :folded, composed_name = :composed")
    fold("registrations", "title", "folded_title = :folded")


def fold(table: str, column: str, changes: str) -> None:
    """Write the forms of each name beside it. Those of plain ASCII are as they were."""
    where = "project_id = :project_id AND id = :id"
    update = sa.text(f"UPDATE {table} SET {changes} WHERE {where}")  # noqa: S608 # our own names
    for names in batches(table, column):
        rows = [
            {"project_id": project_id, "id": row_id, **forms(name)}
            for project_id, row_id, name in names
            if not name.isascii()
        ]
        if rows:
            op.get_bind().execute(update, rows)


def forms(name: str) -> dict[str, str | None]:
    """Return the forms of a name, as `store/sql/names.py` had them in this version."""
    composed = normalize("NFC", name)
    folded = normalize("NFC", normalize("NFD", name).casefold())
    return {"folded": folded, "composed": composed if composed != name else None}


def batches(table: str, column: str) -> Iterator[list[Any]]:
    """Give the project, id and name of every row, so many at once that any table fits."""
    query = sa.text(
        f"SELECT project_id, id, {column} FROM {table}"  # noqa: S608 # our own names
        " WHERE (project_id, id) > (:project_id, :id) ORDER BY project_id, id LIMIT :limit"
    )
    last = {"project_id": "", "id": ""}
    while rows := op.get_bind().execute(query, {**last, "limit": ROWS_AT_ONCE}).all():
        yield [*rows]
        last = {"project_id": rows[-1][0], "id": rows[-1][1]}
