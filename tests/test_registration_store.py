"""Registrations when many write at once, on each database: what two calls can't both have."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper import times
from dashkeeper.errors import (
    AbortedError,
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    not_on_community,
)
from dashkeeper.gen.registrations.v1.changes_pb import (
    CreateRequest,
    DeleteRequest,
    UndeleteRequest,
    UpdateRequest,
)
from dashkeeper.gen.registrations.v1.contents_pb import (
    GetContentRequest,
    ListContentsRequest,
    RestoreContentRequest,
    UpdateContentRequest,
)
from dashkeeper.gen.registrations.v1.registrations_pb import GetRequest, ListRequest
from dashkeeper.store.sql.requests import LIFETIME
from tests.registrations import content_message, create, put_content, service
from tests.stores import CTX, make_store
from tests.test_store_concurrency import outcomes, won

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dashkeeper.services.registrations import Registrations
    from dashkeeper.store.sql.store import SQLStore


@pytest.fixture
def api(store: SQLStore, project_id: str) -> Registrations:
    return service(store, project_id)


@pytest.fixture
async def other_api(url: str, project_id: str) -> AsyncIterator[Registrations]:
    """The same project, served by another server."""
    other = make_store(url)
    yield service(other, project_id)
    await other.close()


async def current(api: Registrations, registration_id: str) -> Any:
    return (await api.get(GetRequest(id=registration_id), CTX)).registration


async def kept(api: Registrations, registration_id: str) -> list[str]:
    page = await api.list_contents(ListContentsRequest(id=registration_id), CTX)
    return [wrapper.id for wrapper in page.content_wrappers]


# An organisation is on one community


@pytest.mark.parametrize("round_number", range(3))
async def test_creates_that_put_one_organisation_on_two_communities_at_once(
    api: Registrations, other_api: Registrations, round_number: int
) -> None:
    organisation = f"org{round_number}"
    results = await outcomes(
        create(each, organisation_id=organisation, community_id=community)
        for each, community in [(api, "one"), (other_api, "two")] * 5
    )
    made = [result for result in results if not isinstance(result, Exception)]
    assert len(made) == 5
    assert len({it.community_id for it in made}) == 1
    refused = {(type(it), str(it)) for it in results if isinstance(it, Exception)}
    assert refused == {(InvalidRequestError, str(not_on_community(organisation)))}
    listed = await api.list(ListRequest(organisation_id=organisation), CTX)
    assert {it.id for it in listed.registrations} == {it.id for it in made}


async def test_organisation_stays_on_its_community_until_the_last_registration_is_purged(
    api: Registrations, store: SQLStore
) -> None:
    first, second = await create(api), await create(api)

    async def is_refused() -> bool:
        """Whether it may not be put on another one, which is said to a dry run too."""
        results = [
            *await outcomes([create(api, community_id="new", validate_only=True)]),
            *await outcomes([create(api, community_id="new")]),
        ]
        return [str(it) for it in results] == [str(not_on_community("org"))] * 2

    assert await is_refused()
    for made in (first, second):
        await api.delete(DeleteRequest(id=made.id), CTX)
        assert await is_refused(), "a deleted one may come back"
    await api.undelete(UndeleteRequest(id=second.id), CTX)
    while await store.purge_due(times.now()):
        pass
    assert await is_refused(), "one is left"
    await api.delete(DeleteRequest(id=second.id), CTX)
    while await store.purge_due(times.now()):
        pass
    assert (await create(api, community_id="new")).community_id == "new"


async def test_creates_while_the_last_registration_is_purged_keep_one_community(
    api: Registrations, other_api: Registrations, store: SQLStore, project_id: str
) -> None:
    for _ in range(5):
        last = await create(api)
        await api.delete(DeleteRequest(id=last.id), CTX)
        results = await outcomes([create(other_api), store.purge_due(times.now()), create(other_api)])
        made = [it for it in (results[0], results[2]) if not isinstance(it, Exception)]
        assert len(made) == 2
        assert await store.communities_of(project_id, ["org"]) == {"org": "community"}
        for it in made:
            await api.delete(DeleteRequest(id=it.id), CTX)
        while await store.purge_due(times.now()):
            pass
        assert await store.communities_of(project_id, ["org"]) == {}


async def test_communities_are_apart_by_project(store: SQLStore, project_id: str) -> None:
    one, two = service(store, project_id), service(store, f"{project_id}-2")
    assert (await create(one, community_id="one")).community_id == "one"
    assert (await create(two, community_id="two")).community_id == "two"


async def test_ids_of_organisations_differ_by_case(api: Registrations) -> None:
    await create(api, organisation_id="Org", community_id="one")
    await create(api, organisation_id="org", community_id="two")
    listed = await api.list(ListRequest(organisation_id="org"), CTX)
    assert [it.community_id for it in listed.registrations] == ["two"]


# Contents


async def test_contents_at_once_are_two_wrappers_of_which_one_is_current(
    api: Registrations, other_api: Registrations
) -> None:
    made = await create(api)
    results = await outcomes([put_content(api, made.id, "1"), put_content(other_api, made.id, "2")])
    ids = {wrapper.id for wrapper in results}
    assert len(ids) == 2
    listed = await kept(api, made.id)
    assert set(listed) == ids
    assert (await current(api, made.id)).dashboard_content_id == listed[0]


async def test_contents_at_once_with_an_etag_are_one(api: Registrations, other_api: Registrations) -> None:
    made = await create(api)
    etag = (await put_content(api, made.id)).id
    for round_number in range(3):
        results = await outcomes(
            put_content(each, made.id, f"{round_number} {index}", etag=etag)
            for index, each in enumerate([api, other_api] * 4)
        )
        etag = results[won(results, AbortedError)].id
        assert (await kept(api, made.id))[0] == etag
    assert len(await kept(api, made.id)) == 4


async def test_first_contents_at_once_that_must_be_first_are_one(
    api: Registrations, other_api: Registrations
) -> None:
    made = await create(api)
    results = await outcomes(
        put_content(each, made.id, str(index), must_be_first=True)
        for index, each in enumerate([api, other_api] * 4)
    )
    assert await kept(api, made.id) == [results[won(results, AlreadyExistsError)].id]


async def test_writes_of_all_kinds_at_once_lose_none(api: Registrations, other_api: Registrations) -> None:
    made = await create(api)
    old = await put_content(api, made.id, "old")
    titles = [f"by {index}" for index in range(6)]
    results = await outcomes(
        call
        for index, each in enumerate([api, other_api] * 3)
        for call in (
            each.update(UpdateRequest(id=made.id, title=titles[index]), CTX),
            put_content(each, made.id, str(index % 2)),
            each.restore_content(RestoreContentRequest(id=made.id, content_id=old.id), CTX),
        )
    )
    assert [it for it in results if isinstance(it, Exception)] == []
    state = await current(api, made.id)
    listed = await kept(api, made.id)
    assert len(set(listed)) == 13
    assert state.dashboard_content_id == listed[0]
    assert state.title in titles
    for content_id in listed:
        found = await api.get_content(GetContentRequest(id=made.id, content_id=content_id), CTX)
        assert found.content_wrapper is not None
        assert found.content_wrapper.content in [content_message(title) for title in ("old", "0", "1")]


async def test_deletes_at_once_succeed_once(api: Registrations, other_api: Registrations) -> None:
    made = await create(api)
    results = await outcomes(each.delete(DeleteRequest(id=made.id), CTX) for each in [api, other_api] * 3)
    won(results, NotFoundError)


METHODS = ["create", "update", "update-restoring", "delete", "update_content", "restore_content"]


@pytest.mark.parametrize("method", METHODS)
async def test_same_request_id_at_once_is_one_write_with_equal_answers(
    api: Registrations, other_api: Registrations, method: str
) -> None:
    made = await create(api)
    old = await put_content(api, made.id, "old")
    now_etag = (await put_content(api, made.id, "now")).id
    etag = (await current(api, made.id)).etag
    request_id = str(uuid.uuid4())
    new: dict[str, Any] = {"title": "A", "organisation_id": "other", "community_id": "c"}
    requests: dict[str, Any] = {
        "create": CreateRequest(**new, request_id=request_id),
        "update": UpdateRequest(id=made.id, title="B", etag=etag, request_id=request_id),
        "update-restoring": UpdateRequest(
            id=made.id, dashboard_content_id=old.id, etag=etag, request_id=request_id
        ),
        "delete": DeleteRequest(id=made.id, etag=etag, request_id=request_id),
        "update_content": UpdateContentRequest(
            id=made.id, content=content_message("new"), etag=now_etag, request_id=request_id
        ),
        "restore_content": RestoreContentRequest(
            id=made.id, content_id=old.id, etag=now_etag, request_id=request_id
        ),
    }
    function = method.removesuffix("-restoring")
    results = await outcomes(getattr(each, function)(requests[method], CTX) for each in [api, other_api] * 3)
    assert len({result.to_binary() for result in results}) == 1
    if method == "create":
        listed = await api.list(ListRequest(organisation_id="other"), CTX)
        assert [it.id for it in listed.registrations] == [results[0].registration.id]
    if method in ("update_content", "restore_content", "update-restoring"):
        assert len(await kept(api, made.id)) == 3


# What is kept


@pytest.mark.parametrize("answered", [True, False])
async def test_contents_beyond_what_is_kept_go_and_the_current_one_never(
    brief_store: SQLStore, project_id: str, answered: bool
) -> None:
    """It keeps three. What an answer refers to stays until that is forgotten."""
    api = service(brief_store, project_id)
    made = await create(api)
    request = UpdateContentRequest(id=made.id, content=content_message("0"))
    request.request_id = str(uuid.uuid4()) if answered else ""
    first = await api.update_content(request, CTX)
    ids = [first.content_wrapper.id if first.content_wrapper else ""]
    for number in range(1, 7):
        ids.append((await put_content(api, made.id, str(number))).id)
        assert await kept(api, made.id) == ids[::-1][:3]
        assert (await current(api, made.id)).dashboard_content_id == ids[-1]
    with pytest.raises(NotFoundError, match="no longer kept"):
        await api.get_content(GetContentRequest(id=made.id, content_id=ids[3]), CTX)
    with pytest.raises(NotFoundError):
        await api.restore_content(RestoreContentRequest(id=made.id, content_id=ids[3]), CTX)
    restored = await api.restore_content(RestoreContentRequest(id=made.id, content_id=ids[4]), CTX)
    assert restored.content_wrapper is not None
    assert restored.content_wrapper.content == content_message("4")
    if answered:
        assert (await api.update_content(request, CTX)).to_binary() == first.to_binary()
        while await brief_store.forget_expired(times.now() + 2 * LIFETIME):
            pass
        again = await api.update_content(request, CTX)
        assert again.content_wrapper is not None
        assert again.content_wrapper.id != ids[0]


async def test_trimming_leaves_the_current_content_however_old_it_is(
    store: SQLStore, brief_store: SQLStore, project_id: str
) -> None:
    api = service(store, project_id)
    made = await create(api)
    ids = [(await put_content(api, made.id, str(number % 2))).id for number in range(9)]
    for number in range(5):
        await api.update(UpdateRequest(id=made.id, title=f"{number}"), CTX)
    after = (1, project_id, "")
    while (after := await brief_store.trim_some(after)) is not None and after[1] == project_id:
        pass
    assert await kept(api, made.id) == ids[::-1][:3]
    found = await api.get_content(GetContentRequest(id=made.id), CTX)
    assert found.content_wrapper is not None
    assert found.content_wrapper.id == ids[-1]


async def test_page_read_while_others_write_holds_the_content_that_each_points_at(api: Registrations) -> None:
    made = [await create(api, title=f"{number}") for number in range(4)]
    for it in made:
        await put_content(api, it.id, "0")

    async def write() -> None:
        for number in range(1, 6):
            for it in made:
                await put_content(api, it.id, f"{number}")

    writing = asyncio.create_task(write())
    pages = 0
    while not writing.done() or pages == 0:
        page = await api.list(ListRequest(organisation_id="org", include_content=True), CTX)
        assert [it.dashboard_content_id for it in page.registrations] == [
            it.id for it in page.content_wrappers
        ]
        pages += 1
    await writing
