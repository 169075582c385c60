"""Purging a dashboard with a long history, on each database: in small batches, none of which takes long."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, insert, select

from dashkeeper import retention, times
from dashkeeper.errors import NotFoundError
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteRequest
from dashkeeper.gen.dashboards.v1.history_pb import ListRevisionsRequest
from dashkeeper.store.tables import requests, revisions
from tests.database import make_database
from tests.scale import captured_statements
from tests.stores import CTX, create, tile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from dashkeeper.services.dashboards import Dashboards
    from dashkeeper.store.databases import Database
    from dashkeeper.store.sql.store import SQLStore

BATCH = 200
"""At most so many revisions go in one transaction."""


@pytest.fixture
async def beside(url: str) -> AsyncIterator[Database]:
    made = make_database(url)
    yield made
    await made.close()


async def delete_with_history(beside: Database, dashboards: Dashboards, project_id: str, length: int) -> None:
    """Have a deleted dashboard with so many revisions, each with tiles of its own."""
    await create(dashboards, tiles=[tile("t")])
    await dashboards.delete(DeleteRequest(id="d"), CTX)

    def write(conn: Connection) -> None:
        last = dict(
            conn.execute(select(revisions).where(revisions.c.project_id == project_id)).mappings().all()[-1]
        )
        older = (
            {**last, "revision": 0 - number, "body_hash": number.to_bytes(32)} for number in range(length - 2)
        )
        conn.execute(insert(revisions), list(older))

    await beside.write(write)


async def count(beside: Database, project_id: str) -> int:
    query = select(func.count()).where(revisions.c.project_id == project_id)
    return await beside.scan(lambda conn: conn.execute(query).scalar_one())


async def test_purge_of_a_long_history_takes_small_batches(
    beside: Database, store: SQLStore, dashboards: Dashboards, project_id: str
) -> None:
    await retention.purge(store)  # what other tests have left
    await delete_with_history(beside, dashboards, project_id, 1_000)
    left, purged = await count(beside, project_id), 0
    while (some := await store.purge_due(times.now())) is not None:
        before, left = left, await count(beside, project_id)
        assert before - left <= BATCH
        purged += some
    assert (left, purged) == (0, 1)
    with pytest.raises(NotFoundError):
        await dashboards.list_revisions(ListRevisionsRequest(id="d"), CTX)
    assert (await create(dashboards)).revision == 3


async def test_erase_of_a_long_history_takes_small_batches(
    beside: Database, store: SQLStore, dashboards: Dashboards, project_id: str
) -> None:
    await delete_with_history(beside, dashboards, project_id, 1_000)
    assert await store.erase_some(project_id) > 0
    assert await count(beside, project_id) >= 1_000 - BATCH
    await retention.erase_project(store, project_id)
    assert await count(beside, project_id) == 0


async def test_answers_to_forget_are_not_read(
    beside: Database, store: SQLStore, dashboards: Dashboards, project_id: str
) -> None:
    await create(dashboards, tiles=[tile("t")], request_id=str(uuid.uuid4()))
    with captured_statements() as statements:
        assert await store.erase_some(project_id) == 2  # with the dashboard
    (found,) = [it.sql for it in statements if it.sql.startswith("SELECT") and "FROM requests" in it.sql]
    assert "requests.request_id" in found
    assert "reply" not in found
    query = select(func.count()).where(requests.c.project_id == project_id)
    assert await beside.scan(lambda conn: conn.execute(query).scalar_one()) == 0
