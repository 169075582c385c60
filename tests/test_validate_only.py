"""validate_only: the answer of the real call, and no trace of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, markdown, time

if TYPE_CHECKING:
    from tests.server import RunningServer

STORED = [markdown("a", "A"), markdown("b", "B", y=1), markdown("c", "C", y=2)]
WANTED = [markdown("c", "C", y=9), markdown("a", "changed"), markdown("n", "N")]

# A write that changes something, and whether the dashboard is to be live for it.
WRITES: dict[str, tuple[str, Json, bool]] = {
    "Create": ("Create", {"name": "B", "dashboardId": "b", "description": "d", "tiles": STORED}, True),
    "Create-anew": ("Create", {"name": "B", "dashboardId": "a", "tiles": STORED}, False),
    "Update": ("Update", {"id": "a", "name": "B", "labels": {"new": "1"}}, True),
    "Upsert": ("Upsert", {"dashboardId": "a", "tiles": WANTED, "maxDeletions": 1}, True),
    "Upsert-anew": ("Upsert", {"dashboardId": "b", "tiles": WANTED, "allowMissing": True, "name": "B"}, True),
    "Delete": ("Delete", {"id": "a"}, True),
    "Undelete": ("Undelete", {"id": "a"}, False),
}
DECIDED_BY_THE_WRITE = ("etag", "revision", "updatedAt", "createdAt")


def make(api: Api, *, live: bool = True) -> Json:
    """Create dashboard `a`, and return what List says of it."""
    labels = {"team": "web"}
    api.call("Create", {"name": "A", "dashboardId": "a", "labels": labels, "tiles": STORED})
    if not live:
        api.call("Delete", {"id": "a"})
    (found,) = api.call("List", {"showDeleted": True}).body["dashboards"]
    return found


def without(dashboard: Json, *names: str) -> Json:
    return {name: value for name, value in dashboard.items() if name not in names}


@pytest.mark.parametrize(("method", "request_", "live"), WRITES.values(), ids=WRITES)
def test_dry_run_leaves_no_trace_and_answers_as_the_real_call(
    server: RunningServer, api: Api, method: str, request_: Json, *, live: bool
) -> None:
    before = make(api, live=live)
    rows = stored_rows(server, api.headers["x-project-id"])
    fields = {"requestId": str(uuid.uuid4()), "changeMessage": "why"}
    tried = api.call(method, {**request_, **fields, "validateOnly": True})
    assert tried.code == "ok"
    assert stored_rows(server, api.headers["x-project-id"]) == rows
    done = api.call(method, {**request_, **fields})
    assert done.code == "ok", "the request id of a dry run is still free"
    assert stored_rows(server, api.headers["x-project-id"]) != rows
    assert tried.body.keys() == done.body.keys()
    assert tried.body.get("changes") == done.body.get("changes")
    if "dashboard" not in done.body:
        return
    assert without(tried.dashboard, *DECIDED_BY_THE_WRITE) == without(done.dashboard, *DECIDED_BY_THE_WRITE)
    is_current = request_.get("id", request_.get("dashboardId")) == "a"
    for name in ("etag", "revision", "updatedAt"):
        assert tried.dashboard.get(name) == (before[name] if is_current else None)


@pytest.mark.parametrize("method", ["Update", "Upsert"])
def test_dry_run_that_would_change_nothing_answers_the_current_state(api: Api, method: str) -> None:
    make(api)
    current = api.call("Get", {"id": "a"}).dashboard
    request = {"Update": {"id": "a", "name": "A"}, "Upsert": {"dashboardId": "a", "tiles": STORED}}[method]
    assert api.call(method, {**request, "validateOnly": True}).dashboard == current


def test_dry_run_of_create_assigns_no_ids(api: Api) -> None:
    request = {"name": "A", "tiles": [markdown(), markdown("chosen"), markdown()]}
    dashboard = api.call("Create", {**request, "validateOnly": True}).dashboard
    assert not {"id", "etag", "revision", "updatedAt"} & set(dashboard)
    assert [tile.get("id", "") for tile in dashboard["tiles"]] == ["", "chosen", ""]
    assert (dashboard["name"], dashboard["tileCount"]) == ("A", 3)
    assert api.call("List", {"showDeleted": True}).body == {}


def test_dry_run_of_upsert_shows_recognised_ids_and_assigns_none(api: Api) -> None:
    make(api)
    tiles = [markdown("", "B", y=1), markdown("", "new"), markdown("", "A", y=7), markdown("", "new too")]
    request = {"dashboardId": "a", "tiles": tiles, "validateOnly": True}
    reply = api.call("Upsert", request)
    assert [tile.get("id", "") for tile in reply.dashboard["tiles"]] == ["b", "", "a", ""]
    assert reply.body["changes"] == {"created": ["", ""], "moved": ["b", "a"], "deleted": ["c"]}


def test_dry_run_tells_what_max_deletions_would_stop(one_api: Api) -> None:
    make(one_api)
    request = {"dashboardId": "a", "tiles": [STORED[1]], "validateOnly": True}
    assert one_api.call("Upsert", request).body["changes"]["deleted"] == ["a", "c"]
    reply = one_api.call("Upsert", {**request, "maxDeletions": 1})
    assert (reply.code, reply.metadata["tile_ids"]) == ("failed_precondition", "a,c")


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Create", {"name": "B", "dashboardId": "a"}, "already_exists"),
        ("Create", {"name": " "}, "invalid_argument"),
        ("Update", {"id": "b", "name": "B"}, "not_found"),
        ("Update", {"id": "a", "name": "B", "etag": "stale"}, "aborted"),
        ("Update", {"id": "a", "name": "A", "etag": "stale"}, "aborted"),
        ("Upsert", {"dashboardId": "b"}, "not_found"),
        ("Upsert", {"dashboardId": "a", "etag": "stale"}, "aborted"),
        ("Upsert", {"dashboardId": "b", "etag": "x", "allowMissing": True, "name": "B"}, "aborted"),
        ("Upsert", {"dashboardId": "a", "tiles": [STORED[0], STORED[0]]}, "invalid_argument"),
        (
            "Upsert",
            {"dashboardId": "a", "tiles": [markdown(f"{n}", "x" * 100_000) for n in range(37)]},
            "resource_exhausted",
        ),
        ("Delete", {"id": "b"}, "not_found"),
        ("Delete", {"id": "a", "etag": "stale"}, "aborted"),
        ("Undelete", {"id": "a"}, "already_exists"),
        ("Undelete", {"id": "b"}, "not_found"),
    ],
)
def test_dry_run_fails_as_the_real_call_would(
    server: RunningServer, project_id: str, one_api: Api, method: str, request_: Json, code: str
) -> None:
    make(one_api)
    rows = stored_rows(server, project_id)
    tried = one_api.call(method, {**request_, "validateOnly": True})
    done = one_api.call(method, request_)
    assert (tried.code, tried.reason, tried.metadata) == (done.code, done.reason, done.metadata)
    assert tried.code == code
    assert stored_rows(server, project_id) == rows


@pytest.mark.parametrize(("method", "request_", "live"), WRITES.values(), ids=WRITES)
def test_dry_run_needs_the_permission_to_write(
    server: RunningServer, project_id: str, one_api: Api, method: str, request_: Json, *, live: bool
) -> None:
    make(one_api, live=live)
    reader = Api(server, "grpc", make_token(project_id, scope="dashboards:read"), project_id)
    assert reader.call(method, {**request_, "validateOnly": True}).code == "permission_denied"
    reader.close()


def test_dry_run_shows_who_would_change_the_dashboard(
    server: RunningServer, project_id: str, one_api: Api
) -> None:
    before = make(one_api)
    other = Api(server, "grpc", make_token(project_id, subject="other"), project_id)
    shown = other.call("Update", {"id": "a", "name": "B", "validateOnly": True}).dashboard
    other.close()
    assert (shown["createdBy"], shown["updatedBy"]) == ("tester", "other")
    assert time(shown["createdAt"]) == time(before["createdAt"])
