"""What every store must do, on each database: read, list, write, keep history, purge."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dashkeeper import times
from dashkeeper.errors import AlreadyExistsError, NotFoundError
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteRequest, UndeleteRequest, UpdateRequest
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, ListRequest
from dashkeeper.gen.dashboards.v1.history_pb import GetRevisionRequest, ListRevisionsRequest, RestoreRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.services.dashboard_states import MAX_DASHBOARD_BYTES
from dashkeeper.store.base import WALK_BEGINS
from dashkeeper.store.sql.names import composed, folded
from tests.stores import CTX, create, made, put, service, tile

if TYPE_CHECKING:
    from dashkeeper.services.dashboards import Dashboards
    from dashkeeper.store.base import Cursor
    from dashkeeper.store.sql.store import SQLStore

ODD = [
    "\x7f",
    " leading and trailing ",
    "'; DROP TABLE dashboards; --",
    "%_\\",
    '"quoted"',
    "tab\tand\nline",
    "Zz",
    "zZ",
    "ß",
    "É",
    "E\u0301",
    "\u0130\u0131",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u202eright to left",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0001f600",
    "\U0010ffff",
]
ORDERS = [f"{column}{way}" for column in ("created_at", "updated_at", "name") for way in ("", " desc")]


async def get(api: Dashboards, dashboard_id: str = "d") -> Dashboard:
    return made((await api.get(GetRequest(id=dashboard_id), CTX)).dashboard)


async def get_revision(api: Dashboards, revision: int) -> Dashboard:
    return made((await api.get_revision(GetRevisionRequest(id="d", revision=revision), CTX)).dashboard)


async def upsert(api: Dashboards, *contents: str) -> Dashboard:
    tiles = [tile(f"t{index}", content) for index, content in enumerate(contents)]
    return made((await api.upsert(UpsertRequest(dashboard_id="d", tiles=tiles), CTX)).dashboard)


async def listed(api: Dashboards, **request: object) -> list[Dashboard]:
    """Return the whole list, page by page."""
    found: list[Dashboard] = []
    token = ""
    while True:
        page = await api.list(ListRequest(**request, page_token=token), CTX)  # type: ignore[arg-type]
        found += page.dashboards
        if not (token := page.next_page_token):
            return found


async def test_get_tells_ids_apart_by_case(dashboards: Dashboards) -> None:
    for dashboard_id in ("abc", "Abc", "ABC"):
        await create(dashboards, dashboard_id, name=dashboard_id)
    for dashboard_id in ("abc", "Abc", "ABC"):
        assert (await get(dashboards, dashboard_id)).name == dashboard_id
    with pytest.raises(NotFoundError):
        await get(dashboards, "aBC")
    with pytest.raises(AlreadyExistsError):
        await create(dashboards, "Abc")


async def test_project_holds_its_own_dashboards(
    store: SQLStore, dashboards: Dashboards, project_id: str
) -> None:
    other = service(store, project_id.upper())
    await create(dashboards, name="one")
    await create(other, name="two")
    assert [(await get(api)).name for api in (dashboards, other)] == ["one", "two"]
    assert [it.name for it in await listed(other)] == ["two"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("page_size", [1, 3, 7])
async def test_list_pages_with_equal_sort_keys_hold_each_once(
    store: SQLStore, dashboards: Dashboards, project_id: str, order: str, page_size: int
) -> None:
    for index in range(9):
        time = times.to_timestamp(1_700_000_000_000_001 + index // 4)
        state = Dashboard(id=f"d{index}", name=f"n{index // 4}", created_at=time, updated_at=time, revision=1)
        state.deleted_at = time if index % 3 == 1 else None
        await put(store, project_id, state)
    expected = sorted((f"d{index}" for index in range(9)), reverse=order.endswith("desc"))
    found = await listed(dashboards, order_by=order, page_size=page_size, show_deleted=True)
    assert [it.id for it in found] == expected
    live = await listed(dashboards, order_by=order, page_size=page_size)
    assert [it.id for it in live] == [it for it in expected if it not in {"d1", "d4", "d7"}]


@pytest.mark.parametrize("order", ["name", "name desc"])
async def test_list_sorts_names_by_their_bytes(dashboards: Dashboards, order: str) -> None:
    for index, name in enumerate(ODD):
        await create(dashboards, f"d{index}", name=name)
    expected = sorted(ODD, key=str.encode, reverse=order.endswith("desc"))
    assert [it.name for it in await listed(dashboards, order_by=order, page_size=3)] == expected


@pytest.mark.parametrize("order", ORDERS)
async def test_list_finds_odd_names_by_prefix_and_part(dashboards: Dashboards, order: str) -> None:
    for index, name in enumerate(ODD):
        await create(dashboards, f"d{index}", name=name, labels={"name": name})
    for name in ODD:
        starting = {it.name for it in await listed(dashboards, name_prefix=name, order_by=order)}
        assert starting == {other for other in ODD if composed(other).startswith(composed(name))}
        holding = {it.name for it in await listed(dashboards, name_contains=name, order_by=order)}
        assert holding == {other for other in ODD if folded(name) in folded(other)}
        assert [it.name for it in await listed(dashboards, labels={"name": name}, order_by=order)] == [name]


@pytest.mark.parametrize("text", ODD)
async def test_write_keeps_odd_characters_everywhere(dashboards: Dashboards, text: str) -> None:
    created = await create(
        dashboards,
        name=text,
        description=text,
        labels={"k": text},
        tiles=[tile("t", text)],
        change_message=text,
    )
    found = await get(dashboards)
    assert (found.name, found.description, found.labels) == (text, text, {"k": text})
    assert made_markdown(found) == text
    assert found.to_binary() == created.to_binary()
    (revision,) = (await dashboards.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions
    assert (revision.name, revision.change_message) == (text, text)


def made_markdown(dashboard: Dashboard) -> str:
    markdown = dashboard.tiles[0].markdown
    assert markdown is not None
    return markdown.content


@pytest.mark.parametrize("microseconds", [1, 1_700_000_000_123_457, 253_402_300_799_999_999])
async def test_times_are_kept_to_the_microsecond(
    store: SQLStore, dashboards: Dashboards, project_id: str, microseconds: int
) -> None:
    time, later = times.to_timestamp(microseconds), times.to_timestamp(microseconds + 1)
    for dashboard_id, updated_at in (("later", later), ("d", time)):
        state = Dashboard(id=dashboard_id, name="A", created_at=time, updated_at=updated_at, revision=1)
        await put(store, project_id, state)
    found = await get(dashboards)
    assert (found.created_at, found.updated_at) == (time, time)
    order = [it.id for it in await listed(dashboards, order_by="updated_at", page_size=1)]
    assert order == ["d", "later"]
    (revision,) = (await dashboards.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions
    assert revision.created_at == time


async def test_dashboard_of_3_5_mib_is_kept_whole(dashboards: Dashboards) -> None:
    full = [tile(f"t{number}", "\u20ac" * 33_333) for number in range(36)]
    rest = MAX_DASHBOARD_BYTES - len(Dashboard(tiles=full).to_binary()) - 500
    created = await create(dashboards, tiles=[*full, tile("rest", "x" * rest)])
    assert MAX_DASHBOARD_BYTES - 500 < len(created.to_binary()) <= MAX_DASHBOARD_BYTES
    assert (await get(dashboards)).to_binary() == created.to_binary()
    await upsert(dashboards)
    assert (await get_revision(dashboards, 1)).to_binary() == created.to_binary()


async def test_unknown_fields_of_tiles_are_kept(dashboards: Dashboards) -> None:
    unknown = b"\xc2\x3e\x03abc"  # field 1000
    newer = type(tile("t")).from_binary(tile("t").to_binary() + unknown)
    created = await create(dashboards, tiles=[newer])
    assert unknown in (await get(dashboards)).to_binary()
    await upsert(dashboards, "other")
    await dashboards.restore(RestoreRequest(id="d", revision=1), CTX)
    assert (await get(dashboards)).tiles[0].to_binary() == created.tiles[0].to_binary()


async def test_history_holds_each_state(dashboards: Dashboards) -> None:
    states = [await create(dashboards, tiles=[tile("t0")])]
    states.append(await upsert(dashboards, "a", "b"))
    request = UpdateRequest(id="d", name="B", labels={"k": "v"})
    states.append(made((await dashboards.update(request, CTX)).dashboard))
    await dashboards.delete(DeleteRequest(id="d"), CTX)
    undeleted = made((await dashboards.undelete(UndeleteRequest(id="d"), CTX)).dashboard)
    restored = made((await dashboards.restore(RestoreRequest(id="d", revision=1), CTX)).dashboard)
    for state in (*states, undeleted, restored):
        assert (await get_revision(dashboards, state.revision)).to_binary() == state.to_binary()
    page = await dashboards.list_revisions(ListRevisionsRequest(id="d", page_size=4), CTX)
    assert [it.revision for it in page.revisions] == [6, 5, 4, 3]
    request = ListRevisionsRequest(id="d", page_size=4, page_token=page.next_page_token)
    page = await dashboards.list_revisions(request, CTX)
    assert ([it.revision for it in page.revisions], page.next_page_token) == ([2, 1], "")


async def kept(api: Dashboards) -> list[int]:
    return [it.revision for it in (await api.list_revisions(ListRevisionsRequest(id="d"), CTX)).revisions]


async def test_history_is_trimmed_to_the_revisions_kept(brief_store: SQLStore, project_id: str) -> None:
    api = service(brief_store, project_id)
    await create(api, tiles=[tile("t0", "first")])
    for number in range(2, 7):
        await upsert(api, str(number))
        assert await kept(api) == list(range(number, max(0, number - 3), -1))
    with pytest.raises(NotFoundError):
        await get_revision(api, 3)
    assert made_markdown(await get_revision(api, 4)) == "4"


async def test_trim_some_walks_through_all_dashboards(brief_store: SQLStore, dashboards: Dashboards) -> None:
    await create(dashboards)
    for number in range(120):
        await upsert(dashboards, str(number))
    assert len(await kept(dashboards)) == 100
    after: Cursor | None = WALK_BEGINS
    while after is not None:
        after = await brief_store.trim_some(after)
    assert await kept(dashboards) == [121, 120, 119]
    assert made_markdown(await get_revision(dashboards, 119)) == "117"


async def test_purge_leaves_the_last_revision_for_the_next_of_that_id(
    store: SQLStore, dashboards: Dashboards
) -> None:
    for first in (1, 3):
        assert (await create(dashboards, tiles=[tile("t0")])).revision == first
        await dashboards.delete(DeleteRequest(id="d"), CTX)
        while await store.purge_due(times.now()) is not None:
            pass
        with pytest.raises(NotFoundError):
            await kept(dashboards)
        with pytest.raises(NotFoundError):
            await get_revision(dashboards, first)
    assert (await create(dashboards)).revision == 5
    assert await kept(dashboards) == [5]


async def test_purge_leaves_what_is_not_due(store: SQLStore, project_id: str) -> None:
    api = service(store, project_id, purge_after=timedelta(days=1))
    await create(api)
    await api.delete(DeleteRequest(id="d"), CTX)
    while await store.purge_due(times.now()) is not None:
        pass
    assert await kept(api) == [2, 1]
    await api.undelete(UndeleteRequest(id="d"), CTX)


async def test_erase_leaves_nothing_but_last_revisions(
    store: SQLStore, dashboards: Dashboards, project_id: str
) -> None:
    other = service(store, f"{project_id}x")
    await create(other)
    for index in range(25):
        await create(dashboards, f"d{index}", tiles=[tile("t")], labels={"k": "v"})
    while await store.erase_some(project_id):
        pass
    assert await listed(dashboards, show_deleted=True) == []
    assert len(await listed(other)) == 1
    assert (await create(dashboards, "d0")).revision == 2
