"""A test's database, SQLite or PostgreSQL: made, and read and changed beside the running server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import select

from dashkeeper.config import Settings
from dashkeeper.server import open_database
from dashkeeper.store.databases.sqlite import SQLiteDatabase
from dashkeeper.store.tables import metadata, revisions
from tests.postgresql import MISSING, create_database, drop_database, is_reachable
from tests.server import running_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from pathlib import Path

    from sqlalchemy import Connection

    from dashkeeper.store.databases import Database
    from tests.server import RunningServer

T = TypeVar("T")

DATABASES = ("sqlite", "postgresql")


@contextlib.contextmanager
def server_on(database: str, folder: Path, **settings: str) -> Generator[RunningServer]:
    """Run a server on a new database of this kind; skip the test if there is no PostgreSQL."""
    if database == "sqlite":
        with running_server(folder, **settings) as running:
            yield running
        return
    if not asyncio.run(is_reachable()):
        pytest.skip(MISSING)
    url = asyncio.run(create_database())
    try:
        asyncio.run(migrate(url))
        with running_server(folder, DATABASE_URL=url, **settings) as running:
            yield running
    finally:
        asyncio.run(drop_database(url))


def stored_rows(server: RunningServer, project_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of a project, by table."""

    def read(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table.name: sorted(
                tuple(row) for row in conn.execute(select(table).where(table.c.project_id == project_id))
            )
            for table in metadata.sorted_tables
        }

    return _run(server, lambda database: database.scan(read))


def stored_revisions(server: RunningServer, project_id: str, dashboard_id: str) -> list[dict[str, Any]]:
    """Return the rows of a dashboard's history, oldest first."""
    query = (
        select(revisions)
        .where(revisions.c.project_id == project_id, revisions.c.dashboard_id == dashboard_id)
        .order_by(revisions.c.revision)
    )

    def read(conn: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in conn.execute(query).mappings()]

    return _run(server, lambda database: database.scan(read))


def change_rows(server: RunningServer, work: Callable[[Connection], T]) -> T:
    """Run a transaction beside the server."""
    return _run(server, lambda database: database.write(work))


def _run(server: RunningServer, use: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        database = make_database(server.database_url)
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())


def make_database(url: str) -> Database:
    return open_database(Settings(database_url=url))  # pyright: ignore[reportCallIssue] # all have defaults


async def migrate(url: str) -> None:
    database = make_database(url)
    await database.migrate("head")
    await database.close()


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
