"""Writes of registrations on PostgreSQL between two statements of another one: each when it could harm.

(SQLite lets no write come between.)
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper import times
from dashkeeper.errors import AbortedError, InvalidRequestError, NotFoundError
from dashkeeper.gen.registrations.v1.changes_pb import CreateRequest, DeleteRequest, UpdateRequest
from dashkeeper.gen.registrations.v1.contents_pb import (
    GetContentRequest,
    RestoreContentRequest,
    UpdateContentRequest,
)
from dashkeeper.gen.registrations.v1.registrations_pb import GetRequest
from tests.registrations import content_message, create, put_content, service
from tests.stores import CTX, make_store
from tests.test_store_concurrency import outcomes
from tests.test_store_races import after_statement, elsewhere, wait_until_done_or_locked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future

    from dashkeeper.store.sql.store import SQLStore


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[SQLStore]:
    """One that keeps a single content."""
    store = make_store(postgresql_url, revisions_kept=1)
    yield store
    await store.close()


@pytest.mark.parametrize("moment", ["before the row", "after the row"])
async def test_create_on_another_community_meanwhile_leaves_one(
    postgresql_url: str, store: SQLStore, project_id: str, moment: str
) -> None:
    """Two that saw no registration of the organisation: the slower one is refused."""
    others: list[Future[Any]] = []

    def create_elsewhere() -> None:
        others.append(
            elsewhere(postgresql_url, lambda it: create(service(it, project_id), community_id="two"))
        )
        wait_until_done_or_locked(postgresql_url, others[0])

    beginning, table = {
        "before the row": ("SELECT", "FROM organisations"),
        "after the row": ("INSERT", "organisations"),
    }[moment]
    with after_statement(beginning, table, work=create_elsewhere):
        (ours,) = await outcomes([create(service(store, project_id), community_id="one")])
    (theirs,) = await outcomes([asyncio.wrap_future(others[0])])
    refused = [it for it in (ours, theirs) if isinstance(it, InvalidRequestError)]
    assert len(refused) == 1
    assert "another community" in str(refused[0])
    (made,) = (it for it in (ours, theirs) if not isinstance(it, Exception))
    assert await store.communities_of(project_id, ["org"]) == {"org": made.community_id}


BEFORE, FOUND, WRITTEN = "before the pair is looked for", "after it was found", "after the row"


@pytest.mark.parametrize(
    ("moment", "community"),
    [
        (BEFORE, "community"),
        (BEFORE, "another"),
        (FOUND, "community"),
        (FOUND, "another"),
        (WRITTEN, "community"),
    ],
)
async def test_purge_of_the_last_registration_while_one_is_created(
    postgresql_url: str, store: SQLStore, project_id: str, moment: str, community: str
) -> None:
    api = service(store, project_id)
    last = await create(api)
    await api.delete(DeleteRequest(id=last.id), CTX)
    purging: list[Future[int]] = []

    def purge() -> None:
        purging.append(elsewhere(postgresql_url, lambda it: it.purge_due(times.now())))
        wait_until_done_or_locked(postgresql_url, purging[0])

    beginning, *texts = {
        BEFORE: ("SELECT", "FROM registrations"),
        FOUND: ("SELECT", "FROM organisations"),
        WRITTEN: ("INSERT INTO registrations",),
    }[moment]
    with after_statement(beginning, *texts, work=purge):
        (made,) = await outcomes([create(api, community_id=community)])
    await asyncio.wrap_future(purging[0])
    if isinstance(made, InvalidRequestError):
        assert community == "another"
        assert await store.communities_of(project_id, ["org"]) == {}
    else:
        assert await store.communities_of(project_id, ["org"]) == {"org": community}
        assert (await api.get(GetRequest(id=made.id), CTX)).registration == made


async def test_create_while_the_pair_is_being_released_makes_it_anew(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    last = await create(api)
    await api.delete(DeleteRequest(id=last.id), CTX)
    creating: list[Future[Any]] = []

    def create_elsewhere() -> None:
        creating.append(elsewhere(postgresql_url, lambda it: create(service(it, project_id))))
        wait_until_done_or_locked(postgresql_url, creating[0])

    with after_statement("DELETE FROM organisations", work=create_elsewhere):
        await store.purge_due(times.now())
    made = await asyncio.wrap_future(creating[0])
    assert await store.communities_of(project_id, ["org"]) == {"org": "community"}
    assert (await api.get(GetRequest(id=made.id), CTX)).registration == made


METHODS = ["create", "update", "update_content", "restore_content", "delete"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("moment", ["after its answer was looked for", "after the state was read"])
async def test_twin_that_is_committed_meanwhile_gives_both_its_answer(
    postgresql_url: str, store: SQLStore, project_id: str, method: str, moment: str
) -> None:
    api = service(store, project_id)
    made = await create(api)
    content_etag = (await put_content(api, made.id)).id
    found = (await api.get(GetRequest(id=made.id), CTX)).registration
    assert found is not None
    request_id = str(uuid.uuid4())
    new: dict[str, Any] = {"title": "A", "organisation_id": "new", "community_id": "c"}
    requests: dict[str, Any] = {
        "create": CreateRequest(**new, request_id=request_id),
        "update": UpdateRequest(id=made.id, title="B", etag=found.etag, request_id=request_id),
        "update_content": UpdateContentRequest(
            id=made.id, content=content_message("new"), etag=content_etag, request_id=request_id
        ),
        "restore_content": RestoreContentRequest(
            id=made.id, content_id=content_etag, etag=content_etag, request_id=request_id
        ),
        "delete": DeleteRequest(id=made.id, etag=found.etag, request_id=request_id),
    }
    twins: list[Any] = []

    async def call(store: SQLStore) -> Any:
        return await getattr(service(store, project_id), method)(requests[method], CTX)

    table = "FROM requests" if moment == "after its answer was looked for" else "FROM registrations"
    with after_statement(
        "SELECT", table, work=lambda: twins.append(elsewhere(postgresql_url, call).result())
    ):
        answer = await call(store)
    assert answer.to_binary() == twins[0].to_binary()


@pytest.mark.parametrize("with_etag", [True, False])
async def test_content_made_between_the_read_and_the_write_of_another_is_kept_below_it(
    postgresql_url: str, project_id: str, with_etag: bool
) -> None:
    store = make_store(postgresql_url)
    api = service(store, project_id)
    made = await create(api)
    etag = (await put_content(api, made.id)).id if with_etag else ""
    theirs: list[Any] = []

    def put_elsewhere() -> None:
        theirs.append(
            elsewhere(postgresql_url, lambda it: put_content(service(it, project_id), made.id, "2")).result()
        )

    ours: Any = None
    with after_statement("SELECT", "FROM registrations", work=put_elsewhere):
        try:
            ours = await put_content(api, made.id, "1", etag=etag)
        except AbortedError:
            assert with_etag
    found = (await api.get(GetRequest(id=made.id), CTX)).registration
    assert found is not None
    assert found.dashboard_content_id == (theirs[0] if with_etag else ours).id
    old = await api.get_content(GetContentRequest(id=made.id, content_id=theirs[0].id), CTX)
    assert old.content_wrapper == theirs[0]
    await store.close()


async def test_restore_of_a_content_that_is_trimmed_meanwhile_is_all_or_nothing(
    postgresql_url: str, store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    made = await create(api)
    first = await put_content(api, made.id, "first")

    def replace() -> None:
        elsewhere(postgresql_url, lambda it: put_content(service(it, project_id), made.id, "2")).result()

    with after_statement("SELECT", "FROM contents", work=replace):
        request = RestoreContentRequest(id=made.id, content_id=first.id)
        (restored,) = await outcomes([api.restore_content(request, CTX)])
    found = (await api.get_content(GetContentRequest(id=made.id), CTX)).content_wrapper
    assert found is not None
    if isinstance(restored, NotFoundError):
        assert found.content == content_message("2")
    else:
        assert found == restored.content_wrapper
        assert found.content == first.content
