"""A project that is full, on each database: what a refusal says and costs, and when there is room again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dashkeeper import retention
from dashkeeper.errors import ResourceExhaustedError
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteRequest
from dashkeeper.gen.registrations.v1.changes_pb import DeleteRequest as DeleteRegistrationRequest
from dashkeeper.store.sql.store import SQLStore
from tests import registrations
from tests.database import make_database
from tests.scale import captured_statements
from tests.stores import CTX, create, service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MOST = 3


@pytest.fixture
async def make(url: str) -> AsyncIterator[Callable[[int], SQLStore]]:
    """Make stores on the same database, each with the limit given."""
    made: list[SQLStore] = []

    def store(most: int = MOST) -> SQLStore:
        made.append(SQLStore(make_database(url), max_dashboards=most, revisions_kept=100))
        return made[-1]

    yield store
    for each in made:
        await each.close()


async def fill(store: SQLStore, project_id: str) -> None:
    """Let the project hold as many of both kinds as it may."""
    for number in range(MOST):
        await create(service(store, project_id), f"d{number}")
        await registrations.create(registrations.service(store, project_id))


async def refusals(store: SQLStore, project_id: str) -> list[ResourceExhaustedError]:
    """Return how the creates of one more of each kind are refused."""
    with pytest.raises(ResourceExhaustedError) as dashboard:
        await create(service(store, project_id), "")
    with pytest.raises(ResourceExhaustedError) as registration:
        await registrations.create(registrations.service(store, project_id))
    return [dashboard.value, registration.value]


async def test_refused_creates_do_not_count_each(make: Callable[..., SQLStore], project_id: str) -> None:
    store = make()
    await fill(store, project_id)
    with captured_statements() as statements:
        for _ in range(20):
            await refusals(store, project_id)
    counts = [it.sql for it in statements if "count(" in it.sql]
    assert 2 <= len(counts) < 10, "once for each kind, and again after a while"


async def test_purge_makes_room_at_once(make: Callable[..., SQLStore], project_id: str) -> None:
    store = make()
    dashboards, registered = service(store, project_id), registrations.service(store, project_id)
    last = await registrations.create(registered)
    await create(dashboards, "d0")
    for number in range(1, MOST):
        await create(dashboards, f"d{number}")
        await registrations.create(registered)
    await refusals(store, project_id)
    await dashboards.delete(DeleteRequest(id="d0"), CTX)
    await registered.delete(DeleteRegistrationRequest(id=last.id), CTX)
    await refusals(store, project_id)
    assert await retention.purge(store) >= 2
    await create(dashboards, "")
    await registrations.create(registered)
    await refusals(store, project_id)
    await retention.erase_project(store, project_id)
    await fill(store, project_id)
    await refusals(store, project_id)


async def test_purge_by_another_process_makes_room_without_long_delay(
    make: Callable[..., SQLStore], project_id: str
) -> None:
    store, other = make(), make()
    await fill(store, project_id)
    await service(store, project_id).delete(DeleteRequest(id="d0"), CTX)
    await refusals(store, project_id)
    await retention.purge(other)

    async def until_there_is_room() -> None:
        while True:
            try:
                await create(service(store, project_id), "")
            except ResourceExhaustedError:
                await asyncio.sleep(0.05)  # between two tries
            else:
                return

    await asyncio.wait_for(until_there_is_room(), 30)
    await refusals(store, project_id)


async def test_refusal_tells_what_is_there_and_what_may_be(
    make: Callable[..., SQLStore], project_id: str
) -> None:
    """They differ where the limit was lowered, or several servers' creates met at it."""
    await fill(make(), project_id)
    for store in (lowered := make(1), lowered):
        dashboards, registered = await refusals(store, project_id)
        assert "holds 3 dashboards" in dashboards.message
        assert "may hold 1" in dashboards.message
        assert "holds 3 registrations" in registered.message
        assert "MAX_DASHBOARDS" in registered.message
    one = make(1)
    await create(service(one, f"{project_id}-2"), "d")
    with pytest.raises(ResourceExhaustedError, match="holds 1 dashboard, "):
        await create(service(one, f"{project_id}-2"), "")
