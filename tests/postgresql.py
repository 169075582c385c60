"""PostgreSQL databases for tests, on the server that TEST_POSTGRESQL_URL names."""

from __future__ import annotations

import os
import uuid
from urllib.parse import urlsplit

import asyncpg

VARIABLE = "TEST_POSTGRESQL_URL"
SERVER_URL = os.environ.get(VARIABLE) or "postgresql://postgres@127.0.0.1:5432/postgres"
MISSING = f"no PostgreSQL server: start one, and name it by {VARIABLE}"


async def run_sql(statement: str, *, url: str = SERVER_URL) -> None:
    """Run a statement on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def is_reachable() -> bool:
    """Whether there is a server."""
    try:
        await run_sql("SELECT 1")
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def create_database() -> str:
    """Make a database without any table, and return its URL."""
    name = f"dashkeeper_test_{uuid.uuid4().hex}"
    await run_sql(f"CREATE DATABASE {name}")
    return urlsplit(SERVER_URL)._replace(path=f"/{name}").geturl()


async def drop_database(url: str) -> None:
    """Drop a database, whoever is connected to it."""
    await run_sql(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


async def cut_connections(url: str) -> None:
    """End every connection to a database."""
    await run_sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"  # noqa: S608
    )


def name_of(url: str) -> str:
    """Return the name of the database that a URL names."""
    return urlsplit(url).path.removeprefix("/")
