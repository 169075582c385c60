"""What every store must do when its database is closed, away or without a schema."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import traceback
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from dashkeeper.errors import UnavailableError
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteRequest, UndeleteRequest, UpdateRequest
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, ListRequest
from dashkeeper.gen.dashboards.v1.history_pb import GetRevisionRequest, ListRevisionsRequest, RestoreRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.store.base import WALK_BEGINS
from dashkeeper.store.databases import sqlite
from dashkeeper.store.migrations import SCHEMA
from dashkeeper.store.tables import metadata
from tests.database import make_database, migrate
from tests.postgresql import cut_connections, name_of, run_sql
from tests.stores import CTX, create, made, make_store, service, tile

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sqlalchemy import Connection

    from dashkeeper.services.dashboards import Dashboards
    from dashkeeper.store.sql.store import SQLStore


def every_call(api: Dashboards, store: SQLStore, project_id: str) -> Sequence[Coroutine[Any, Any, Any]]:
    return [
        api.get(GetRequest(id="d"), CTX),
        api.list(ListRequest(), CTX),
        create(api, "new"),
        api.update(UpdateRequest(id="d", name="B"), CTX),
        api.upsert(UpsertRequest(dashboard_id="d"), CTX),
        api.delete(DeleteRequest(id="d"), CTX),
        api.undelete(UndeleteRequest(id="d"), CTX),
        api.list_revisions(ListRevisionsRequest(id="d"), CTX),
        api.get_revision(GetRevisionRequest(id="d", revision=1), CTX),
        api.restore(RestoreRequest(id="d", revision=1), CTX),
        store.purge_due(0),
        store.forget_expired(0),
        store.trim_some(WALK_BEGINS),
        store.erase_some(project_id),
        store.check(),
    ]


async def test_closed_store_is_unavailable(url: str, project_id: str) -> None:
    store = make_store(url)
    api = service(store, project_id)
    await create(api)
    await store.close()
    for call in every_call(api, store, project_id):
        with pytest.raises(UnavailableError):
            await call
    await store.close()  # again


async def test_postgresql_that_is_away_is_unavailable_and_comes_back(
    empty_postgresql_url: str, project_id: str
) -> None:
    """Every connection is cut, and no new one taken, for a while."""
    url = empty_postgresql_url
    await migrate(url)
    store = make_store(url)
    api = service(store, project_id)
    created = await create(api, tiles=[tile("t")])
    await asyncio.gather(*(api.get(GetRequest(id="d"), CTX) for _ in range(10)))  # fills the pool
    await run_sql(f"ALTER DATABASE {name_of(url)} ALLOW_CONNECTIONS false")
    await cut_connections(url)
    for _ in range(2):
        for call in every_call(api, store, project_id):
            with pytest.raises(UnavailableError):
                await call
    await run_sql(f"ALTER DATABASE {name_of(url)} ALLOW_CONNECTIONS true")
    found = made((await api.get(GetRequest(id="d"), CTX)).dashboard)
    assert found.to_binary() == created.to_binary()
    assert made((await api.update(UpdateRequest(id="d", name="B"), CTX)).dashboard).revision == 2
    await store.close()


async def test_postgresql_connections_cut_under_load_lose_nothing(
    empty_postgresql_url: str, project_id: str
) -> None:
    await migrate(empty_postgresql_url)
    store = make_store(empty_postgresql_url)
    api = service(store, project_id)
    await create(api)
    acknowledged: list[int] = []
    refused = 0

    async def write(writer: int) -> None:
        nonlocal refused
        for number in range(40):
            tiles = [tile("t", f"{writer} {number}")]
            try:
                answer = await api.upsert(UpsertRequest(dashboard_id="d", tiles=tiles), CTX)
            except UnavailableError:
                refused += 1
            else:
                acknowledged.append(made(answer.dashboard).revision)

    async def cut(writing: asyncio.Future[Any]) -> None:
        while not writing.done():
            await cut_connections(empty_postgresql_url)

    writing = asyncio.gather(*(write(writer) for writer in range(8)))
    await asyncio.gather(writing, cut(writing))
    await create(api, "after")
    assert refused > 0
    assert len(acknowledged) == len(set(acknowledged))
    last = made((await api.get(GetRequest(id="d"), CTX)).dashboard).revision
    listed = (await api.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions
    kept = {revision.revision for revision in listed}
    assert kept == set(range(max(1, last - 99), last + 1))
    assert max(acknowledged, default=1) <= last
    await store.close()


async def test_postgresql_that_was_never_there_is_unavailable(project_id: str) -> None:
    for url in ("postgresql://postgres@127.0.0.1:1/none", "postgresql://postgres@nowhere.invalid/none"):
        store = make_store(url)
        for call in every_call(service(store, project_id), store, project_id):
            with pytest.raises(UnavailableError):
                await call
        await store.close()


async def test_sqlite_that_is_locked_is_unavailable_for_writes_and_comes_back(
    sqlite_url: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of another process that takes longer than we wait."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 1)
    store = make_store(sqlite_url)
    api = service(store, project_id)
    await create(api)
    path = sqlite_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        calls = (create(api, f"new{number}") for number in range(100))
        async with asyncio.timeout(50):  # each waits from when it came: together not 100 times as long
            refused = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in refused} == {UnavailableError}
        assert made((await api.get(GetRequest(id="d"), CTX)).dashboard).revision == 1
        other.execute("ROLLBACK")
    await create(api, "new")
    await store.close()


async def test_unforeseen_error_of_the_database_tells_nothing_of_what_was_to_be_stored(
    empty_url: str, project_id: str
) -> None:
    """It goes to the log, with its traceback."""
    await migrate(empty_url)
    database = make_database(empty_url)
    await database.write(lambda conn: conn.execute(text("DROP TABLE revisions")))
    await database.close()
    store = make_store(empty_url)
    private = f"private {uuid.uuid4()}"  # which no line of this file has
    (error,) = await asyncio.gather(create(service(store, project_id), name=private), return_exceptions=True)
    await store.close()
    assert isinstance(error, Exception)
    told = "".join(traceback.format_exception(error))
    assert "INSERT INTO revisions" in told
    assert private not in told


async def test_store_without_schema_is_unavailable(empty_url: str) -> None:
    store = make_store(empty_url)
    with pytest.raises(UnavailableError, match=r"schema none, .* run `dashkeeper migrate`"):
        await store.check()
    await store.close()


async def test_migrate_many_at_once_migrates_once(empty_url: str) -> None:
    databases = [make_database(empty_url) for _ in range(4)]
    assert await databases[0].schema_version() is None
    await asyncio.gather(*(database.migrate("head") for database in databases))
    for database in databases:
        assert await database.schema_version() == SCHEMA
        await database.close()


async def test_migrate_makes_the_tables_of_the_store(empty_url: str) -> None:
    await migrate(empty_url)
    database = make_database(empty_url)

    def differences(conn: Connection) -> Sequence[object]:
        return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)

    assert await database.scan(differences) == []
    await database.close()
