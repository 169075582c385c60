"""The store on a SQL database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dashkeeper.errors import AbortedError
from dashkeeper.store.sql import dashboards
from dashkeeper.store.sql.requests import LostRaceError
from dashkeeper.store.sql.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.store.base import DashboardPage, DashboardQuery, Outcome, Reply, Write
    from dashkeeper.store.databases import SQLiteDatabase

_MAX_ATTEMPTS = 10


class SQLStore:
    """Keeps dashboards in a SQL database: implements the Store contract."""

    def __init__(self, database: SQLiteDatabase, *, max_dashboards: int) -> None:
        self._database = database
        self._room = Room(max_dashboards)

    async def get_dashboard(self, project_id: str, dashboard_id: str) -> Dashboard | None:
        """See Store."""
        return await self._database.lookup(
            partial(dashboards.get_dashboard, project_id=project_id, dashboard_id=dashboard_id)
        )

    async def list_dashboards(self, project_id: str, query: DashboardQuery) -> DashboardPage:
        """See Store."""
        return await self._database.scan(
            partial(dashboards.list_dashboards, project_id=project_id, query=query)
        )

    async def write_dashboard(
        self, write: Write, change: Callable[[Dashboard | None], Outcome[Reply]], reply_type: type[Reply]
    ) -> Reply:
        """See Store."""
        work = partial(
            dashboards.write_dashboard, write=write, change=change, reply_type=reply_type, room=self._room
        )
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._database.write(work)
            except LostRaceError as error:
                if attempt == _MAX_ATTEMPTS:
                    raise AbortedError(
                        f'dashboard "{write.dashboard_id}" is being changed by too many at once:'
                        " try again in a moment",
                        reason="TOO_MANY_CONFLICTS",
                    ) from error

    async def check(self) -> None:
        """See Store."""
        await self._database.check()

    async def close(self) -> None:
        """See Store."""
        await self._database.close()
