"""Transactions of others that end ours on PostgreSQL: it is run again, and the call succeeds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg

from dashkeeper.gen.dashboards.v1.changes_pb import UpdateRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from tests.postgresql import name_of, run_sql
from tests.stores import CTX, create, made, make_store, migrate, service, tile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LOCK_DASHBOARD = "SELECT FROM dashboards WHERE id = 'd' FOR UPDATE"


@contextlib.asynccontextmanager
async def other_connection(url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def wait_until_blocked(other: asyncpg.Connection) -> None:
    """Wait until a transaction of Dashkeeper's waits for a lock."""
    waiting = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'dashkeeper' AND wait_event_type = 'Lock'
    """
    async with asyncio.timeout(10):
        while not await other.fetchval(waiting):  # noqa: ASYNC110 # the database tells nobody
            await asyncio.sleep(0.02)  # between two looks


async def test_deadlock_with_another_transaction_is_tried_again(
    empty_postgresql_url: str, project_id: str
) -> None:
    """The other one holds tiles that ours refers to anew, then wants the dashboard that ours has locked."""
    url = empty_postgresql_url
    await migrate(url)
    # Whoever waits longer than this looks for a deadlock, and is ended: ours, before the other one.
    await run_sql(f"ALTER DATABASE {name_of(url)} SET deadlock_timeout = '2s'")
    store = make_store(url)
    api = service(store, project_id)
    await create(api, tiles=[tile("t", "first")])
    await api.upsert(UpsertRequest(dashboard_id="d", tiles=[tile("t", "second")]), CTX)
    async with other_connection(url) as other:
        await other.execute("SET deadlock_timeout = '60s'")
        async with other.transaction():
            await other.execute("SELECT FROM bodies FOR UPDATE")
            upsert = UpsertRequest(dashboard_id="d", tiles=[tile("t", "first")])
            writing = asyncio.create_task(api.upsert(upsert, CTX))
            await wait_until_blocked(other)
            await other.execute(LOCK_DASHBOARD)
            assert not writing.done()
        written = made((await writing).dashboard)
    assert (written.revision, written.tiles) == (3, [tile("t", "first")])
    await store.close()


async def test_serialization_failure_is_tried_again(empty_postgresql_url: str, project_id: str) -> None:
    """READ COMMITTED has none by itself: here a trigger ends the first attempt in this way."""
    url = empty_postgresql_url
    await migrate(url)
    store = make_store(url)
    api = service(store, project_id)
    await create(api)
    await run_sql("CREATE SEQUENCE attempts", url=url)  # which counts on where a transaction is rolled back
    await run_sql(
        """
        CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('attempts') = 1 THEN RAISE 'lost' USING ERRCODE = 'serialization_failure'; END IF;
            RETURN NEW;
        END $$
        """,
        url=url,
    )
    await run_sql(
        "CREATE TRIGGER fail BEFORE UPDATE ON dashboards FOR EACH ROW EXECUTE FUNCTION fail_once()", url=url
    )
    assert made((await api.update(UpdateRequest(id="d", name="B"), CTX)).dashboard).revision == 2
    assert made((await api.update(UpdateRequest(id="d", name="C"), CTX)).dashboard).revision == 3
    await store.close()
