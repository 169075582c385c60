"""Writes on PostgreSQL between two statements of another one: each at the very moment it could harm.

(SQLite lets no write come between.)
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import pytest
from sqlalchemy import Engine, event, text

from dashkeeper import retention, times
from dashkeeper.errors import NotFoundError
from dashkeeper.gen.dashboards.v1.changes_pb import (
    CreateRequest,
    DeleteRequest,
    UndeleteRequest,
    UpdateRequest,
)
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from dashkeeper.gen.dashboards.v1.history_pb import RestoreRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.store.sql.requests import LIFETIME
from tests.database import make_database, migrate
from tests.postgresql import name_of, run_sql
from tests.stores import CTX, create, made, make_store, service, tile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from dashkeeper.services.dashboards import Dashboards
    from dashkeeper.store.sql.store import SQLStore

T = TypeVar("T")

_WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[SQLStore]:
    """One that keeps a single revision."""
    store = make_store(postgresql_url, revisions_kept=1)
    yield store
    await store.close()


@contextlib.contextmanager
def after_statement(beginning: str, *texts: str, work: Callable[[], object]) -> Generator[None]:
    """Do something as soon as a statement that begins so, and holds these texts, has been executed."""
    waiting = [work]

    def look(*arguments: Any) -> None:
        statement: str = arguments[2]
        if waiting and statement.startswith(beginning) and all(text in statement for text in texts):
            waiting.pop()()

    event.listen(Engine, "after_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", look)
    assert not waiting


def elsewhere(url: str, work: Callable[[SQLStore], Awaitable[T]]) -> Future[T]:
    """Work on a store of another server."""

    async def run() -> T:
        store = make_store(url, revisions_kept=1)
        try:
            return await work(store)
        finally:
            await store.close()

    return in_thread(run)


def in_thread(run: Callable[[], Any]) -> Future[Any]:
    threads = ThreadPoolExecutor(1)
    done = threads.submit(lambda: asyncio.run(run()))
    threads.shutdown(wait=False)
    return done


def wait_until_done_or_locked(url: str, other: Future[Any]) -> None:
    """Return when it is done, or waits for somebody's lock."""

    async def wait() -> None:
        conn = await asyncpg.connect(url)
        while not other.done() and await conn.fetchrow(_WAITING) is None:  # noqa: ASYNC110 # no event tells
            await asyncio.sleep(0.01)  # between two looks
        await conn.close()

    in_thread(wait).result()


@pytest.mark.parametrize("method", ["create", "update", "upsert", "delete", "undelete", "restore"])
@pytest.mark.parametrize("moment", ["after its answer was looked for", "after the state was read"])
async def test_twin_that_is_committed_meanwhile_gives_both_its_answer(
    postgresql_url: str, store: SQLStore, project_id: str, method: str, moment: str
) -> None:
    api = service(store, project_id)
    etag = ""
    if method != "create":
        etag = (await create(api, tiles=[tile("a")])).etag
    if method == "undelete":
        await api.delete(DeleteRequest(id="d"), CTX)
        etag = ""
    request_id = str(uuid.uuid4())
    requests: dict[str, Any] = {
        "create": CreateRequest(dashboard_id="d", name="A", tiles=[tile("")], request_id=request_id),
        "update": UpdateRequest(id="d", name="B", etag=etag, request_id=request_id),
        "upsert": UpsertRequest(dashboard_id="d", tiles=[tile("", "B")], etag=etag, request_id=request_id),
        "delete": DeleteRequest(id="d", etag=etag, request_id=request_id),
        "undelete": UndeleteRequest(id="d", request_id=request_id),
        "restore": RestoreRequest(id="d", revision=1, etag=etag, request_id=request_id),
    }
    twins: list[Any] = []

    async def call(store: SQLStore) -> Any:
        return await getattr(service(store, project_id), method)(requests[method], CTX)

    table = "FROM requests" if moment == "after its answer was looked for" else "FROM dashboards"
    with after_statement(
        "SELECT", table, work=lambda: twins.append(elsewhere(postgresql_url, call).result())
    ):
        answer = await call(store)
    assert answer.to_binary() == twins[0].to_binary()


async def answered_then_replaced(api: Dashboards) -> UpsertRequest:
    """Have tiles that nothing holds any more but the answer to a request; return that."""
    await create(api)
    request = UpsertRequest(dashboard_id="d", tiles=[tile("a")], request_id=str(uuid.uuid4()))
    await api.upsert(request, CTX)
    await api.upsert(UpsertRequest(dashboard_id="d", tiles=[tile("b")]), CTX)
    return request


async def test_tiles_that_a_write_is_about_to_refer_to_are_not_dropped(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    await answered_then_replaced(api)
    dropping: list[Future[int]] = []

    def drop() -> None:
        dropping.append(
            elsewhere(postgresql_url, lambda store: store.forget_expired(times.now() + 2 * LIFETIME))
        )
        wait_until_done_or_locked(postgresql_url, dropping[0])

    with after_statement("SELECT bodies.hash", work=drop):
        state = made((await api.upsert(UpsertRequest(dashboard_id="d", tiles=[tile("a")]), CTX)).dashboard)
    assert await asyncio.wrap_future(dropping[0]) > 0
    found = made((await api.get(GetRequest(id="d"), CTX)).dashboard)
    assert found.to_binary() == state.to_binary()


async def test_tiles_are_not_dropped_where_the_database_isolates_by_default_more_strictly(
    empty_postgresql_url: str, project_id: str
) -> None:
    """On one snapshot, who drops them wouldn't see that they are referred to anew while it waited."""
    url = empty_postgresql_url
    await migrate(url)
    await run_sql(f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = 'repeatable read'")
    store = make_store(url, revisions_kept=1)
    await test_tiles_that_a_write_is_about_to_refer_to_are_not_dropped(url, store, project_id)
    await store.close()


async def test_dashboard_that_is_being_purged_is_not_brought_back(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    await retention.purge(store)  # what other tests have left
    api = service(store, project_id)
    await create(api)
    await api.delete(DeleteRequest(id="d"), CTX)
    undeleting: list[Future[Any]] = []

    async def undelete(store: SQLStore) -> Any:
        return await service(store, project_id).undelete(UndeleteRequest(id="d"), CTX)

    def begin() -> None:
        undeleting.append(elsewhere(postgresql_url, undelete))
        wait_until_done_or_locked(postgresql_url, undeleting[0])

    with after_statement("SELECT", "purge_at", work=begin):
        assert await store.purge_due(times.now()) == 1
    with pytest.raises(NotFoundError):
        await asyncio.wrap_future(undeleting[0])


async def test_answer_given_anew_under_an_expired_request_id_is_not_forgotten(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    request = CreateRequest(dashboard_id="d", name="A", request_id=str(uuid.uuid4()))
    await api.create(request, CTX)
    expire = text("UPDATE requests SET created_at = 0 WHERE project_id = :id")
    database = make_database(postgresql_url)
    await database.write(lambda conn: conn.execute(expire, {"id": project_id}))
    await database.close()
    await api.delete(DeleteRequest(id="d"), CTX)

    async def call(store: SQLStore) -> Any:
        return await service(store, project_id).create(request, CTX)

    anew: list[Any] = []
    with after_statement(
        "SELECT", "FROM requests", work=lambda: anew.append(elsewhere(postgresql_url, call).result())
    ):
        await store.forget_expired(times.now())
    assert (await api.create(request, CTX)).to_binary() == anew[0].to_binary()


async def test_create_goes_on_after_the_revisions_of_one_made_and_erased_meanwhile(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    async def make_and_erase(store: SQLStore) -> None:
        await create(service(store, project_id))
        await store.erase_some(project_id)

    with after_statement(
        "SELECT", "FROM purged_dashboards", work=lambda: elsewhere(postgresql_url, make_and_erase).result()
    ):
        created = await create(service(store, project_id))
    assert created.revision == 2


async def test_answer_of_a_write_that_changed_nothing_keeps_its_tiles_when_they_are_replaced(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    await create(api, tiles=[tile("a")])

    async def replace(store: SQLStore) -> None:
        request = UpsertRequest(dashboard_id="d", tiles=[tile("b")])
        await service(store, project_id).upsert(request, CTX)

    request = UpsertRequest(dashboard_id="d", tiles=[tile("a")], request_id=str(uuid.uuid4()))
    with after_statement(
        "SELECT", "FROM dashboards", work=lambda: elsewhere(postgresql_url, replace).result()
    ):
        first = await api.upsert(request, CTX)
    again = await api.upsert(request, CTX)
    assert again.to_binary() == first.to_binary()
