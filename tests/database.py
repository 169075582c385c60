"""A test's SQLite file: made, and read beside the running server."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from dashkeeper.store.databases.sqlite import SQLiteDatabase

if TYPE_CHECKING:
    from tests.server import RunningServer

TABLES = ("dashboards", "dashboard_labels", "bodies", "revisions", "requests", "purged_dashboards")


def stored_rows(server: RunningServer, project_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of a project, by table."""
    with contextlib.closing(_open(server)) as conn:
        return {
            table: sorted(conn.execute(f"SELECT * FROM {table} WHERE project_id = ?", (project_id,)))  # noqa: S608
            for table in TABLES
        }


def stored_revisions(server: RunningServer, project_id: str, dashboard_id: str) -> list[dict[str, Any]]:
    """Return the rows of a dashboard's history, oldest first."""
    with contextlib.closing(_open(server)) as conn:
        conn.row_factory = sqlite3.Row
        found = conn.execute(
            "SELECT * FROM revisions WHERE project_id = ? AND dashboard_id = ? ORDER BY revision",
            (project_id, dashboard_id),
        )
        return [dict(row) for row in found]


def _open(server: RunningServer) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{server.database_path}?mode=ro", uri=True)


def migrate_sqlite(path: str, to: str = "head") -> None:
    """Bring a file to a version of the schema, as `dashkeeper migrate` does."""

    async def migrate() -> None:
        database = SQLiteDatabase(path)
        try:
            await database.migrate(to)
        finally:
            await database.close()

    asyncio.run(migrate())


def sqlite_schema_version(path: str) -> str | None:
    """Return the version of the schema that a file has."""

    async def read() -> str | None:
        database = SQLiteDatabase(path)
        try:
            return await database.schema_version()
        finally:
            await database.close()

    return asyncio.run(read())
