"""What every store must do when many use it at once, on each database."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper import times
from dashkeeper.errors import AbortedError, AlreadyExistsError
from dashkeeper.gen.dashboards.v1.changes_pb import (
    CreateRequest,
    DeleteRequest,
    UndeleteRequest,
    UpdateRequest,
)
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, ListRequest
from dashkeeper.gen.dashboards.v1.history_pb import GetRevisionRequest, ListRevisionsRequest, RestoreRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.store.sql.requests import LIFETIME
from tests.stores import CTX, create, made, make_store, service, tile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from dashkeeper.services.dashboards import Dashboards
    from dashkeeper.store.sql.store import SQLStore


async def outcomes(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run calls at once; return their answers and errors in order."""
    return await asyncio.gather(*calls, return_exceptions=True)


def won(results: list[Any], lost: type[Exception]) -> int:
    """Return which one won; every other must have lost in this way."""
    (winner,) = (index for index, result in enumerate(results) if not isinstance(result, Exception))
    assert {type(result) for index, result in enumerate(results) if index != winner} == {lost}
    return winner


async def test_create_one_id_at_once_succeeds_once(dashboards: Dashboards) -> None:
    results = await outcomes(create(dashboards, name=f"by {index}") for index in range(30))
    winner = won(results, AlreadyExistsError)
    found = made((await dashboards.get(GetRequest(id="d"), CTX)).dashboard)
    assert (found.name, found.revision) == (f"by {winner}", 1)


async def test_writes_at_once_each_count_once(dashboards: Dashboards) -> None:
    await create(dashboards)
    results = await outcomes(
        dashboards.upsert(UpsertRequest(dashboard_id="d", tiles=[tile(f"t{index}")]), CTX)
        if index % 2
        else dashboards.update(UpdateRequest(id="d", name=f"by {index}"), CTX)
        for index in range(60)
    )
    states = sorted((made(result.dashboard) for result in results), key=lambda state: state.revision)
    assert [state.revision for state in states] == list(range(2, 62))
    for state in states:
        request = GetRevisionRequest(id="d", revision=state.revision)
        kept = made((await dashboards.get_revision(request, CTX)).dashboard)
        assert kept.to_binary() == state.to_binary()


async def test_upsert_of_a_missing_one_at_once_creates_it_once(dashboards: Dashboards) -> None:
    results = await outcomes(
        dashboards.upsert(
            UpsertRequest(dashboard_id="d", allow_missing=True, name="A", tiles=[tile(f"t{index}")]), CTX
        )
        for index in range(30)
    )
    assert sorted(made(result.dashboard).revision for result in results) == list(range(1, 31))


async def test_writes_with_an_etag_at_once_succeed_once(dashboards: Dashboards) -> None:
    etag = (await create(dashboards)).etag
    for round_number in range(5):
        results = await outcomes(
            dashboards.update(UpdateRequest(id="d", name=f"{round_number} {index}", etag=etag), CTX)
            for index in range(20)
        )
        state = made(results[won(results, AbortedError)].dashboard)
        assert state.revision == round_number + 2
        etag = state.etag


@pytest.mark.parametrize("method", ["create", "update", "upsert", "delete", "restore"])
async def test_same_request_id_at_once_is_one_write_with_equal_answers(
    dashboards: Dashboards, method: str
) -> None:
    etag = ""
    if method != "create":
        await create(dashboards, tiles=[tile("a"), tile("b")])
        etag = made((await dashboards.update(UpdateRequest(id="d", name="B"), CTX)).dashboard).etag
    request_id = str(uuid.uuid4())
    requests: dict[str, Any] = {
        "create": CreateRequest(dashboard_id="d", name="A", tiles=[tile("")], request_id=request_id),
        "update": UpdateRequest(id="d", name="C", etag=etag, request_id=request_id),
        "upsert": UpsertRequest(dashboard_id="d", tiles=[tile("")], etag=etag, request_id=request_id),
        "delete": DeleteRequest(id="d", etag=etag, request_id=request_id),
        "restore": RestoreRequest(id="d", revision=1, etag=etag, request_id=request_id),
    }
    results = await outcomes(getattr(dashboards, method)(requests[method], CTX) for _ in range(20))
    assert [result for result in results if isinstance(result, Exception)] == []
    assert len({result.to_binary() for result in results}) == 1
    (found,) = (await dashboards.list(ListRequest(show_deleted=True), CTX)).dashboards
    assert found.revision == (1 if method == "create" else 3)


async def test_restore_at_once_with_what_makes_the_revision_comes_before_or_after_it(
    dashboards: Dashboards,
) -> None:
    """Before it, the dashboard is deleted; after it, the revision is there."""
    revision = (await create(dashboards)).revision
    for _ in range(30):
        await dashboards.delete(DeleteRequest(id="d"), CTX)
        revision += 2
        undeleted, *restored = await outcomes(
            [
                dashboards.undelete(UndeleteRequest(id="d"), CTX),
                *(dashboards.restore(RestoreRequest(id="d", revision=revision), CTX) for _ in range(5)),
            ]
        )
        assert made(undeleted.dashboard).revision == revision
        messages = {str(result) for result in restored if isinstance(result, Exception)}
        assert messages <= {'there is no dashboard "d" in this project'}


async def test_trimming_and_forgetting_at_once_with_writes_leave_each_state_its_tiles(
    url: str, project_id: str
) -> None:
    """Few contents, over and over: what one drops another is about to store again."""
    store = make_store(url, revisions_kept=1)
    api = service(store, project_id)
    await create(api, tiles=[tile("t")])
    writing = True

    async def write(writer: int) -> None:
        for number in range(40):
            tiles = [tile("t", str((writer + number) % 2))]
            request = UpsertRequest(dashboard_id="d", tiles=tiles, request_id=str(uuid.uuid4()))
            answer = made((await api.upsert(request, CTX)).dashboard)
            assert [it.to_binary() for it in answer.tiles] == [it.to_binary() for it in tiles]

    async def forget() -> None:
        while writing:
            await store.forget_expired(times.now() + 2 * LIFETIME)
            found = made((await api.get(GetRequest(id="d"), CTX)).dashboard)
            assert len(found.tiles) == 1

    forgetting = asyncio.gather(forget(), forget())
    await asyncio.gather(*(write(writer) for writer in range(5)))
    writing = False
    await forgetting
    (revision,) = (await api.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions
    request = GetRevisionRequest(id="d", revision=revision.revision)
    assert made((await api.get_revision(request, CTX)).dashboard).tile_count == 1
    await store.close()


async def test_purges_at_once_with_creates_let_revisions_go_on(
    store: SQLStore, dashboards: Dashboards
) -> None:
    seen: list[int] = []

    async def live() -> None:
        for _ in range(30):
            seen.append((await create(dashboards, tiles=[tile("t")])).revision)
            await dashboards.delete(DeleteRequest(id="d"), CTX)

    async def purge(life: asyncio.Task[None]) -> None:
        while not life.done():
            await store.purge_due(times.now())

    life = asyncio.create_task(live())
    await asyncio.gather(life, purge(life), purge(life))
    assert seen == list(range(1, 60, 2))


async def test_write_that_is_cancelled_leaves_nothing_half(dashboards: Dashboards) -> None:
    await create(dashboards)
    for number in range(40):
        request = UpsertRequest(dashboard_id="d", tiles=[tile("t", str(number))])
        call = asyncio.create_task(dashboards.upsert(request, CTX))
        await asyncio.sleep(number / 10_000)  # at ever another moment
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    last = made((await dashboards.upsert(UpsertRequest(dashboard_id="d", tiles=[tile("t")]), CTX)).dashboard)
    found = (await dashboards.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions
    assert [it.revision for it in found] == list(range(last.revision, 0, -1))
