"""How many resources of a kind a project may hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from dashkeeper.errors import ResourceExhaustedError, counted

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_SHARE = 16
_PROJECTS_REMEMBERED = 10_000
_FULL_SECONDS = 5.0
"""How long a project is believed to be full after a count, unless this process purges something.

Another process may have purged meanwhile. A count of a million takes a tenth of a second.
"""


class Quota:
    """Keeps projects within their limit without counting at every create, nor at every refused one.

    After a count, a sixteenth of what is left is granted without another count, and near the limit every
    create counts. Other processes on the same database may have been granted as much before it was
    full, and creates that run at once on PostgreSQL don't count each other: the limit keeps a project
    from growing without end, and isn't exact to the last dashboard.
    """

    def __init__(self, table: Table, most: int) -> None:
        """Keep each project's rows of this table, which names the kind, below a number."""
        self._table = table
        self._most = most
        self._granted: dict[str, int] = {}
        self._full: dict[str, tuple[int, float]] = {}
        """Of projects that are full: how many they hold, and until when that is believed."""

    def take(self, conn: Connection, project_id: str) -> None:
        """Take one from the quota.

        Raises:
            ResourceExhaustedError: If the project is full; deleted ones count until purged.
        """
        granted = self._granted.get(project_id, 0)
        if granted == 0:
            left = self._most - self._held(conn, project_id)
            granted = max(1, left // _SHARE)
        if len(self._granted) >= _PROJECTS_REMEMBERED:
            self._granted.clear()
        self._granted[project_id] = granted - 1

    def count_anew(self) -> None:
        """Believe no project to be full any more: something was purged."""
        self._full.clear()

    def _held(self, conn: Connection, project_id: str) -> int:
        """Return how many the project holds, if that is less than it may.

        Raises:
            ResourceExhaustedError: Otherwise.
        """
        held, believed_until = self._full.get(project_id, (0, 0.0))
        if time.monotonic() >= believed_until:
            of_project = select(func.count()).where(self._table.c.project_id == project_id)
            held = conn.execute(of_project).scalar_one()
            if held < self._most:
                return held
            if len(self._full) >= _PROJECTS_REMEMBERED:
                self._full.clear()
            self._full[project_id] = held, time.monotonic() + _FULL_SECONDS
        kinds = self._table.name
        raise ResourceExhaustedError(
            f"the project holds {counted(held, kinds.removesuffix('s'))}, deleted ones among them until they"
            f" are purged, and may hold {self._most}: have some purged, or MAX_DASHBOARDS raised",
            reason=f"TOO_MANY_{kinds.upper()}",
            metadata={f"max_{kinds}": str(self._most)},
        )
