"""The two kinds of resources: what the deletion of their rows needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, select, tuple_

from dashkeeper.store.sql.bodies import drop_unreferenced
from dashkeeper.store.tables import contents, dashboards, registrations, revisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Row, Table

_RESOURCES_AT_ONCE = 10
_WALKED_AT_ONCE = 500
_TRIMMED_AT_ONCE = 100
_DELETED_AT_ONCE = 100
"""The longest history that is deleted with its resource: a longer one goes before, a batch at a time."""


@dataclass(frozen=True, slots=True)
class SweptRow:
    """A row found for sweeping."""

    project_id: str
    id: str
    revision: int
    last_number: int
    """The number of the last entry of its history."""


class Resource:
    """A kind of resource: its rows, and those of its history."""

    def __init__(
        self,
        table: Table,
        last_number: Column[int],
        history: Table,
        resource_id: Column[str],
        number: Column[int],
    ) -> None:
        """Build the statements.

        Args:
            table: The resources.
            last_number: Their column with the number of the last entry of their history.
            history: The entries, each with a body_hash.
            resource_id: Their column with the resource's id.
            number: Their column with the entry's number: 1, 2, 3 and so on.
        """
        find = select(table.c.project_id, table.c.id, table.c.revision, last_number)
        is_resource = and_(
            history.c.project_id == bindparam("project_id"), resource_id == bindparam("resource_id")
        )
        is_old = and_(is_resource, number <= bindparam("last_trimmed"))
        key = tuple_(table.c.project_id, table.c.id)
        some = find.limit(_RESOURCES_AT_ONCE).with_for_update()  # nobody brings them back meanwhile
        self._find_due = some.where(table.c.purge_at <= bindparam("now"))
        self._find_of_project = some.where(table.c.project_id == bindparam("project_id"))
        self._walk = (
            find.where(key > tuple_(bindparam("after_project_id"), bindparam("after_id")))
            .order_by(table.c.project_id, table.c.id)
            .limit(_WALKED_AT_ONCE)
        )
        self._delete = delete(table).where(
            table.c.project_id == bindparam("project_id"), table.c.id == bindparam("resource_id")
        )
        self._find_hashes = select(history.c.body_hash).where(is_resource)
        self._delete_history = delete(history).where(is_resource)
        self._find_old = (
            select(number, history.c.body_hash).where(is_old).order_by(number).limit(_TRIMMED_AT_ONCE)
        )
        self._delete_old = delete(history).where(is_old)

    def find_due(self, conn: Connection, now: int) -> Sequence[SweptRow]:
        """Lock and return some of the deleted resources whose time is up."""
        return _swept(conn.execute(self._find_due, {"now": now}).all())

    def find_of_project(self, conn: Connection, project_id: str) -> Sequence[SweptRow]:
        """Lock and return some resources of a project."""
        return _swept(conn.execute(self._find_of_project, {"project_id": project_id}).all())

    def walk(self, conn: Connection, project_id: str, resource_id: str) -> Sequence[SweptRow]:
        """Return some of the resources that follow a key, in the order of their keys."""
        after = {"after_project_id": project_id, "after_id": resource_id}
        return _swept(conn.execute(self._walk, after).all())

    def delete(self, conn: Connection, row: SweptRow) -> bool:
        """Delete a locked resource and its history, or only a part of a long history: then return False."""
        if self.trim(conn, row.project_id, row.id, row.last_number - _DELETED_AT_ONCE):
            return False  # again by a later batch: there may be more of it
        key = {"project_id": row.project_id, "resource_id": row.id}
        conn.execute(self._delete, key)
        hashes = set(conn.execute(self._find_hashes, key).scalars())
        conn.execute(self._delete_history, key)
        drop_unreferenced(conn, row.project_id, row.id, hashes)
        return True

    def trim(self, conn: Connection, project_id: str, resource_id: str, last_trimmed: int) -> bool:
        """Delete a resource's history up to this number, the oldest first, a hundred entries at most.

        Bodies that nothing refers to any more go with them. Return whether there was something to delete.
        """
        key = {"project_id": project_id, "resource_id": resource_id}
        rows = conn.execute(self._find_old, {**key, "last_trimmed": last_trimmed}).all()
        if not rows:
            return False
        conn.execute(self._delete_old, {**key, "last_trimmed": rows[-1][0]})
        drop_unreferenced(conn, project_id, resource_id, {row.body_hash for row in rows})
        return True


def _swept(rows: Sequence[Row[str, str, int, int]]) -> Sequence[SweptRow]:
    return [SweptRow(*row) for row in rows]


DASHBOARDS = Resource(
    dashboards, dashboards.c.revision, revisions, revisions.c.dashboard_id, revisions.c.revision
)
REGISTRATIONS = Resource(
    registrations,
    registrations.c.content_number,
    contents,
    contents.c.registration_id,
    contents.c.number,
)
