"""What a dashboard and a project may hold at most, and the settings that change the rules."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token, running_server
from tests.tiles import Json, markdown, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Reply
    from tests.server import RunningServer

MAX_DASHBOARD_BYTES = 3_670_016  # 3.5 MiB
SLACK = 16
"""Times take a few bytes more or less, so that a size can't be hit by the byte."""


def tiles_with(last_length: int) -> list[Json]:
    """Return 36 tiles with as much text as they may have, and one with so many characters."""
    full = [markdown(f"t{number:02}", "x" * 100_000) for number in range(36)]
    return [*full, markdown("last", "x" * last_length)]


def tiles_for(api: Api, size: int) -> list[Json]:
    """Return tiles that make dashboard `a`, which this creates, take this many bytes."""
    reply = api.call("Create", {"name": "A", "dashboardId": "a", "tiles": tiles_with(50_000)})
    measured = len(Dashboard.from_json(json.dumps(reply.dashboard)).to_binary())
    return tiles_with(50_000 + size - measured)


@pytest.fixture
def large(server: RunningServer, project_id: str) -> Iterator[Api]:
    """The API by the quickest transport."""
    api = Api(server, "grpc", make_token(project_id), project_id)
    yield api
    api.close()


def test_dashboard_of_3_5_mib_is_kept_and_a_larger_one_is_not(
    server: RunningServer, project_id: str, large: Api
) -> None:
    at_limit = tiles_for(large, MAX_DASHBOARD_BYTES - SLACK)
    assert large.call("Upsert", {"dashboardId": "a", "tiles": at_limit}).code == "ok"
    assert large.call("Create", {"name": "A", "dashboardId": "b", "tiles": at_limit}).code == "ok"
    over = tiles_with(len(at_limit[-1]["markdown"]["content"]) + 2 * SLACK)
    rows = stored_rows(server, project_id)
    for method, request in [
        ("Upsert", {"dashboardId": "a", "tiles": over}),
        ("Upsert", {"dashboardId": "c", "tiles": over, "allowMissing": True, "name": "A"}),
        ("Create", {"name": "A", "dashboardId": "c", "tiles": over}),
        ("Update", {"id": "a", "description": "x" * 2 * SLACK}),
        ("Update", {"id": "a", "labels": {"team": "x" * 2 * SLACK}}),
    ]:
        reply = large.call(method, request)
        assert (reply.code, reply.reason) == ("resource_exhausted", "DASHBOARD_TOO_LARGE")
        assert reply.metadata == {"max_bytes": str(MAX_DASHBOARD_BYTES)}
    assert stored_rows(server, project_id) == rows


def test_largest_dashboard_can_be_read_by_a_client_with_default_limits(
    server: RunningServer, large: Api
) -> None:
    at_limit = tiles_for(large, MAX_DASHBOARD_BYTES - SLACK)
    large.call("Upsert", {"dashboardId": "a", "tiles": at_limit})
    with grpc.insecure_channel(server.grpc) as channel:
        get: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/dashboards.v1.DashboardsService/Get"
        )
        answer = get(GetRequest(id="a").to_binary(), metadata=tuple(large.headers.items()), timeout=30)
    assert MAX_DASHBOARD_BYTES - 2 * SLACK < len(answer) < 4 * 1024 * 1024


def test_largest_dashboard_can_be_deleted_and_brought_back_by_anybody(
    server: RunningServer, project_id: str, large: Api
) -> None:
    """Although who did it, and when it will be purged, take a few bytes more."""
    at_limit = tiles_for(large, MAX_DASHBOARD_BYTES - SLACK)
    large.call("Upsert", {"dashboardId": "a", "tiles": at_limit})
    other = Api(server, "grpc", make_token(project_id, subject="x" * 255), project_id)
    for method in ("Delete", "Undelete"):
        assert other.call(method, {"id": "a"}).code == "ok", method
    other.close()


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small limits."""
    settings = {"MAX_TILES": "3", "MAX_DASHBOARDS": "20", "PURGE_AFTER": "12h"}
    with running_server(tmp_path_factory.mktemp("small"), **settings) as running:
        yield running


@pytest.fixture
def small(small_server: RunningServer, project_id: str) -> Iterator[Api]:
    api = Api(small_server, "connect-proto", make_token("*"), project_id)
    yield api
    api.close()


def test_max_tiles_bounds_create_and_upsert(small: Api) -> None:
    tiles = [markdown(f"t{number}") for number in range(4)]
    assert small.call("Create", {"name": "A", "dashboardId": "a", "tiles": tiles[:3]}).code == "ok"
    assert small.call("Upsert", {"dashboardId": "a", "tiles": tiles[1:]}).code == "ok"
    for method, request in [
        ("Create", {"name": "A", "dashboardId": "b"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Upsert", {"dashboardId": "b", "allowMissing": True, "name": "A"}),
    ]:
        for dry_run in (True, False):
            reply = small.call(method, {**request, "tiles": tiles, "validateOnly": dry_run})
            assert (reply.code, list(reply.violations)) == ("invalid_argument", ["tiles"])
    assert small.call("Get", {"id": "a"}).dashboard["revision"] == "2"
    assert small.call("Get", {"id": "b"}).code == "not_found"


def test_purge_after_says_when_a_deleted_dashboard_is_erased(small: Api) -> None:
    small.call("Create", {"name": "A", "dashboardId": "a"})
    small.call("Delete", {"id": "a"})
    (found,) = small.call("List", {"showDeleted": True}).body["dashboards"]
    assert time(found["purgeAt"]) - time(found["deletedAt"]) == timedelta(hours=12)


def fill(api: Api) -> None:
    """Create as many dashboards as the project may hold: d0 to d19."""
    for number in range(20):
        reply = api.call("Create", {"name": "A", "dashboardId": f"d{number}"})
        assert reply.code == "ok", (number, reply)
        refused = api.call("Create", {"name": "A", "dashboardId": f"d{number}"})
        assert refused.code == "already_exists", "and takes no room"


def test_max_dashboards_bounds_what_a_project_holds(small_server: RunningServer, small: Api) -> None:
    fill(small)
    rows = stored_rows(small_server, small.headers["x-project-id"])
    for method, request in [
        ("Create", {"name": "A"}),
        ("Create", {"name": "A", "dashboardId": "more"}),
        ("Upsert", {"dashboardId": "more", "allowMissing": True, "name": "A"}),
    ]:
        for dry_run in (True, False):
            reply = small.call(method, {**request, "validateOnly": dry_run})
            assert (reply.code, reply.reason) == ("resource_exhausted", "TOO_MANY_DASHBOARDS")
            assert reply.metadata == {"max_dashboards": "20"}
    assert stored_rows(small_server, small.headers["x-project-id"]) == rows
    assert small.call("Update", {"id": "d0", "name": "B"}).code == "ok"
    assert small.call("Upsert", {"dashboardId": "d0", "allowMissing": True, "name": "A"}).code == "ok"


def test_max_dashboards_counts_deleted_ones_which_may_be_created_anew(small: Api) -> None:
    fill(small)
    for number in (3, 4):
        assert small.call("Delete", {"id": f"d{number}"}).code == "ok"
    assert small.call("Create", {"name": "A"}).code == "resource_exhausted"
    assert small.call("Create", {"name": "A", "dashboardId": "d3"}).code == "ok"
    assert small.call("Undelete", {"id": "d4"}).code == "ok"


def test_max_dashboards_is_counted_in_each_project_apart(
    small_server: RunningServer, small: Api, project_id: str
) -> None:
    fill(small)
    other = Api(small_server, "grpc", make_token("*"), f"{project_id}-2")
    assert other.call("Create", {"name": "A"}).code == "ok"
    other.close()


def test_max_dashboards_holds_for_creates_at_once(small: Api) -> None:
    def create(_: int) -> Reply:
        return small.call("Create", {"name": "A"})

    with ThreadPoolExecutor(8) as threads:
        codes = [reply.code for reply in threads.map(create, range(40))]
    assert (codes.count("ok"), codes.count("resource_exhausted")) == (20, 20)


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants an etag with every write of something that exists."""
    with running_server(tmp_path_factory.mktemp("strict"), REQUIRE_ETAG="true") as running:
        yield running


def test_require_etag_demands_one_of_every_write_of_what_exists(
    strict_server: RunningServer, project_id: str
) -> None:
    api = Api(strict_server, "grpc", make_token(project_id), project_id)
    created = api.call("Create", {"name": "A", "dashboardId": "a", "tiles": [markdown("one")]})
    assert created.code == "ok", "nothing is there that could have an etag"
    etag = created.dashboard["etag"]
    rows = stored_rows(strict_server, project_id)
    writes: list[tuple[str, Json]] = [
        ("Update", {"id": "a", "name": "B"}),
        ("Update", {"id": "a", "name": "A"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Upsert", {"dashboardId": "a", "allowMissing": True, "name": "B"}),
        ("Delete", {"id": "a"}),
    ]
    for method, request in writes:
        for dry_run in (True, False):
            reply = api.call(method, request | {"validateOnly": dry_run})
            assert (reply.code, reply.reason) == ("failed_precondition", "ETAG_REQUIRED"), request
        assert api.call(method, request | {"etag": "stale"}).code == "aborted"
    assert stored_rows(strict_server, project_id) == rows
    for method, request in writes:
        reply = api.call(method, request | {"etag": etag})
        assert reply.code == "ok", reply
        etag = reply.dashboard["etag"] if method != "Delete" else ""
    assert api.call("Undelete", {"id": "a"}).reason == "ETAG_REQUIRED"
    (found,) = api.call("List", {"showDeleted": True}).body["dashboards"]
    assert api.call("Undelete", {"id": "a", "etag": found["etag"]}).code == "ok"
    api.close()


def test_require_etag_demands_none_of_what_is_missing(strict_server: RunningServer, project_id: str) -> None:
    api = Api(strict_server, "grpc", make_token(project_id), project_id)
    for method, request in [
        ("Update", {"id": "a", "name": "B"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Delete", {"id": "a"}),
        ("Undelete", {"id": "a"}),
    ]:
        assert api.call(method, request).code == "not_found"
    assert api.call("Upsert", {"dashboardId": "a", "allowMissing": True, "name": "A"}).code == "ok"
    api.close()
