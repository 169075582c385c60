"""List's pages: complete, bound to their list, bounded in items and in bytes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.dashboards_pb import ListResponse
from tests.api import Api
from tests.server import make_token
from tests.tiles import Json, ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

ORDERS = [f"{column}{way}" for column in ("created_at", "updated_at", "name") for way in ("", " desc")]
MAX_PAGE_BYTES = 3_670_016  # 3.5 MiB


def create(api: Api, dashboard_id: str, name: str = "A", **fields: object) -> Json:
    reply = api.call("Create", {"dashboardId": dashboard_id, "name": name, **fields})
    assert reply.code == "ok", reply
    return reply.dashboard


def pages(api: Api, **request: object) -> Iterator[list[Json]]:
    """Give page after page, until one has no token."""
    token, tokens = "", {""}
    while True:
        reply = api.call("List", request | {"pageToken": token})
        assert reply.code == "ok", reply
        yield reply.body.get("dashboards", [])
        if not (token := reply.body.get("nextPageToken", "")):
            return
        assert token not in tokens, "the pages go round in a circle"
        tokens.add(token)


@pytest.fixture
def ten(one_api: Api) -> Api:
    """A project with ten dashboards: names in pairs, three deleted, three with a label."""
    for index in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7):
        labels = {"third": "yes"} if index % 3 == 0 else {}
        create(one_api, f"d{index}", f"name {index // 2}", labels=labels)
    for index in (8, 2, 5):
        one_api.call("Delete", {"id": f"d{index}"})
    return one_api


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("page_size", [1, 2, 3, 9, 10, 11])
def test_pages_of_any_size_hold_each_dashboard_once(ten: Api, order: str, page_size: int) -> None:
    whole = ten.call("List", {"orderBy": order, "showDeleted": True}).body["dashboards"]
    assert len(whole) == 10
    found = list(pages(ten, orderBy=order, showDeleted=True, pageSize=page_size))
    assert [dashboard for page in found for dashboard in page] == whole
    assert all(len(page) == page_size for page in found[:-1])
    assert found[-1], "the last page is empty"


def test_pages_go_on_over_every_protocol(api: Api) -> None:
    for index in range(5):
        create(api, f"d{index}")
    assert [ids(page) for page in pages(api, pageSize=2)] == [["d0", "d1"], ["d2", "d3"], ["d4"]]


def test_pages_keep_the_filters(ten: Api) -> None:
    assert [ids(page) for page in pages(ten, pageSize=2, labels={"third": "yes"}, orderBy="name")] == [
        ["d0", "d3"],
        ["d6", "d9"],
    ]
    assert [ids(page) for page in pages(ten, pageSize=1, nameContains="NAME 2", showDeleted=True)] == [
        ["d4"],
        ["d5"],
    ]


def test_page_size_may_change_from_page_to_page(ten: Api) -> None:
    whole = ids(ten.call("List").body["dashboards"])
    first = ten.call("List", {"pageSize": 2}).body
    second = ten.call("List", {"pageSize": 4, "pageToken": first["nextPageToken"]}).body
    third = ten.call("List", {"pageToken": second["nextPageToken"]}).body
    assert ids(first["dashboards"]) + ids(second["dashboards"]) + ids(third["dashboards"]) == whole
    assert "nextPageToken" not in third


@pytest.mark.parametrize("page_size", [-1, -2147483648])
def test_page_size_below_zero_is_refused(api: Api, page_size: int) -> None:
    reply = api.call("List", {"pageSize": page_size})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["page_size"])


@pytest.mark.parametrize("order", ORDERS)
def test_pages_skip_and_repeat_nothing_when_others_write_between(one_api: Api, order: str) -> None:
    """The one last seen goes, some come: those that stay are seen exactly once."""
    for index in range(6):
        create(one_api, f"d{index}", f"name {index}")
    seen: list[str] = []
    for page in pages(one_api, orderBy=order, pageSize=1):
        seen += ids(page)
        if len(seen) in (2, 3):
            one_api.call("Delete", {"id": seen[-1]})
            create(one_api, f"new{len(seen)}", "name 0")
    assert [dashboard_id for dashboard_id in seen if dashboard_id.startswith("d")] == (
        ["d5", "d4", "d3", "d2", "d1", "d0"]
        if order.endswith("desc")
        else ["d0", "d1", "d2", "d3", "d4", "d5"]
    )


def test_pages_by_update_repeat_a_dashboard_as_often_as_it_changed(one_api: Api) -> None:
    for index in range(4):
        create(one_api, f"d{index}")
    seen: list[str] = []
    for page in pages(one_api, orderBy="updated_at", pageSize=1):
        seen += ids(page)
        if seen == ["d0"]:
            one_api.call("Update", {"id": "d0", "description": "changed"})
    assert seen == ["d0", "d1", "d2", "d3", "d0"]


@pytest.mark.parametrize(
    "other",
    [
        {"labels": {"third": "no"}},
        {"labels": {}},
        {"showDeleted": False},
    ],
)
def test_page_token_of_a_wider_or_another_list_is_refused(ten: Api, other: Json) -> None:
    request = {"labels": {"third": "yes"}, "showDeleted": True, "pageSize": 1}
    token = ten.call("List", request).body["nextPageToken"]
    reply = ten.call("List", request | other | {"pageToken": token})
    assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_PAGE_TOKEN")
    assert list(reply.violations) == ["page_token"]


@pytest.mark.parametrize("name", ["\U0001f600" * 200, '"' * 200, "\\" * 200, "é" * 200])
def test_page_token_after_the_longest_name_is_taken(one_api: Api, name: str) -> None:
    for dashboard_id in ("a" * 64, "b" * 64):
        create(one_api, dashboard_id, name)
    assert [ids(page) for page in pages(one_api, orderBy="name", pageSize=1)] == [["a" * 64], ["b" * 64]]


def test_page_without_size_or_above_1000_holds_1000(server: RunningServer, project_id: str) -> None:
    api = Api(server, "grpc", make_token(project_id), project_id)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(partial(create, api), [f"d{index}" for index in range(1_001)]))
    for page_size in (0, 1_000, 1_001, 2_147_483_647):
        found = list(pages(api, pageSize=page_size))
        assert [len(page) for page in found] == [1_000, 1]
        assert len({dashboard["id"] for page in found for dashboard in page}) == 1_001
    api.close()


LARGEST: Json = {
    "description": "\U0001f600" * 2_000,
    "labels": {f"k{number:02}" + "x" * 60: "\U0001f600" * 128 for number in range(32)},
}


def test_page_ends_early_to_stay_below_3_5_mib(server: RunningServer, project_id: str) -> None:
    api = Api(server, "grpc", make_token(project_id), project_id)
    expected = [f"d{index:03}" for index in range(150)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(partial(create, api, **LARGEST), expected))
    for show_deleted in (False, True):
        found = list(pages(api, showDeleted=show_deleted, orderBy="name"))
        assert len(found) == 2
        assert [dashboard_id for page in found for dashboard_id in ids(page)] == expected
        assert max(size(page) for page in found) < MAX_PAGE_BYTES
        assert size(found[0]) > MAX_PAGE_BYTES - 30_000, "ended earlier than needed"
        for dashboard_id in expected[::3]:
            api.call("Delete", {"id": dashboard_id})
    api.close()


def test_page_counts_what_joins_the_dashboards_too(server: RunningServer, project_id: str) -> None:
    """Dashboards that by themselves would just fit, and with their tags and lengths don't."""
    api = Api(server, "grpc", make_token(project_id), project_id)
    names = [f"d{index:03}" for index in range(130)]
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(partial(create, api, **LARGEST), names))
    left = MAX_PAGE_BYTES - 250 - sum(len(binary(dashboard)) for dashboard in created)
    while left > 0:
        description = "\U0001f600" * max(0, min(2_000, (left - 130) // 4))
        created.append(create(api, f"d{len(created)}", description=description))
        left -= len(binary(created[-1]))
    assert MAX_PAGE_BYTES - 500 < sum(len(binary(dashboard)) for dashboard in created) < MAX_PAGE_BYTES
    assert size(created) > MAX_PAGE_BYTES, "the test's own dashboards are not what it says"
    assert max(size(page) for page in pages(api)) < MAX_PAGE_BYTES
    api.close()


def binary(dashboard: Json) -> bytes:
    return Dashboard.from_json(json.dumps(dashboard)).to_binary()


def size(page: list[Json]) -> int:
    """Return how many bytes the page takes in binary form."""
    return len(ListResponse(dashboards=[Dashboard.from_binary(binary(it)) for it in page]).to_binary())
