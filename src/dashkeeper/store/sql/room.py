"""How many resources of a kind a project may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from dashkeeper.errors import ResourceExhaustedError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_SHARE = 16
_PROJECTS_REMEMBERED = 10_000


class Room:
    """Keeps projects within their limit without counting at every create.

    After a count, a sixteenth of the room that is left is taken for granted, and near the limit every
    create counts. Other processes on the same database may have been granted as much before it was
    full, and creates that run at once on PostgreSQL don't count each other: the limit keeps a project
    from growing without end, and isn't exact to the last dashboard.
    """

    def __init__(self, table: Table, most: int) -> None:
        """Keep each project's rows of this table, which names the kind, below a number."""
        self._table = table
        self._most = most
        self._granted: dict[str, int] = {}

    def take(self, conn: Connection, project_id: str) -> None:
        """Take the room for one more.

        Raises:
            ResourceExhaustedError: If the project is full; deleted ones count until purged.
        """
        granted = self._granted.get(project_id, 0)
        if granted == 0:
            counted = select(func.count()).where(self._table.c.project_id == project_id)
            left = self._most - conn.execute(counted).scalar_one()
            if left <= 0:
                raise ResourceExhaustedError(
                    f"the project holds {self._most} {self._table.name}, as many as it may"
                    " (deleted ones count until they are purged)",
                    reason=f"TOO_MANY_{self._table.name.upper()}",
                    metadata={f"max_{self._table.name}": str(self._most)},
                )
            granted = max(1, left // _SHARE)
        if len(self._granted) >= _PROJECTS_REMEMBERED:
            self._granted.clear()
        self._granted[project_id] = granted - 1
