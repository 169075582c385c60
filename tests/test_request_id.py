"""request_id: the same call again answers the first answer; nothing else is meant by it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dashkeeper.store.tables import requests
from tests.api import Api
from tests.database import change_rows, stored_rows
from tests.server import make_token, running_server
from tests.tiles import Json, markdown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api import Reply
    from tests.server import RunningServer

TILES = [markdown("a", "A"), markdown("", "B")]

# A write that changes something, and whether the dashboard is to be live for it.
WRITES: dict[str, tuple[str, Json, bool]] = {
    "Create": ("Create", {"name": "new", "labels": {"a": "1", "b": "2"}, "tiles": TILES}, True),
    "Create-anew": ("Create", {"name": "new", "dashboardId": "a", "tiles": TILES}, False),
    "Update": ("Update", {"id": "a", "name": "new", "updateMask": "*"}, True),
    "Update-nothing": ("Update", {"id": "a", "name": "A"}, True),
    "Upsert": ("Upsert", {"dashboardId": "a", "tiles": TILES}, True),
    "Upsert-nothing": ("Upsert", {"dashboardId": "a", "tiles": [markdown("old")]}, True),
    "Upsert-anew": ("Upsert", {"dashboardId": "a", "tiles": TILES, "allowMissing": True, "name": "n"}, False),
    "Delete": ("Delete", {"id": "a"}, True),
    "Undelete": ("Undelete", {"id": "a"}, False),
}
each_write = pytest.mark.parametrize(("method", "request_", "live"), WRITES.values(), ids=WRITES)


def make(api: Api, *, live: bool = True) -> None:
    api.call("Create", {"name": "A", "dashboardId": "a", "tiles": [markdown("old")]})
    if not live:
        api.call("Delete", {"id": "a"})


def change(api: Api) -> None:
    """Write whatever can be written to dashboard `a`."""
    api.call("Undelete", {"id": "a"})
    api.call(
        "Upsert", {"dashboardId": "a", "tiles": [markdown("later")], "allowMissing": True, "name": "later"}
    )
    assert api.call("Update", {"id": "a", "name": "later", "description": "later"}).code == "ok"


@pytest.fixture
def request_id() -> str:
    return str(uuid.uuid4())


@each_write
def test_same_call_again_answers_the_first_answer_whatever_happened_since(
    server: RunningServer, api: Api, request_id: str, method: str, request_: Json, *, live: bool
) -> None:
    make(api, live=live)
    first = api.call(method, {**request_, "requestId": request_id})
    assert first.code == "ok"
    change(api)
    rows = stored_rows(server, api.headers["x-project-id"])
    for spelling in (request_id, request_id.upper()):
        again = api.call(method, {**request_, "requestId": spelling})
        assert (again.code, again.body) == ("ok", first.body)
    assert stored_rows(server, api.headers["x-project-id"]) == rows


def test_same_calls_after_a_restart_answer_the_first_answers(tmp_path: Path, request_id: str) -> None:
    token = make_token("*")
    first: dict[str, Reply] = {}
    with running_server(tmp_path) as server:
        for name, (method, request, live) in WRITES.items():
            api = Api(server, "grpc", token, f"p-{name}")
            make(api, live=live)
            first[name] = api.call(method, {**request, "requestId": request_id})
            assert first[name].code == "ok"
            change(api)
            api.close()
        server.kill()
    with running_server(tmp_path) as server:
        for name, (method, request, _) in WRITES.items():
            api = Api(server, "connect-json", token, f"p-{name}")
            again = api.call(method, {**request, "requestId": request_id})
            assert (again.code, again.body) == ("ok", first[name].body)
            api.close()


def test_same_call_with_an_etag_that_is_stale_by_now_answers_the_first_answer(
    api: Api, request_id: str
) -> None:
    make(api)
    etag = api.call("Get", {"id": "a"}).dashboard["etag"]
    for method, request in {
        "Update": {"id": "a", "name": "new", "etag": etag, "requestId": request_id},
        "Delete": {"id": "a", "requestId": request_id},
    }.items():
        first = api.call(method, request)
        again = api.call(method, request)
        assert (again.code, again.body) == ("ok", first.body)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "newer"},
        {"description": "d"},
        {"labels": {"a": "1"}},
        {"labels": {"a": "2", "b": "1"}},
        {"dashboardId": "other"},
        {"tiles": TILES[::-1]},
        {"tiles": [TILES[0], markdown("b", "B")]},
        {"changeMessage": "why"},
        {"validateOnly": True},
    ],
)
def test_different_create_under_a_used_id_is_refused(
    server: RunningServer, project_id: str, one_api: Api, request_id: str, other: Json
) -> None:
    request = WRITES["Create"][1] | {"requestId": request_id}
    assert one_api.call("Create", request).code == "ok"
    rows = stored_rows(server, project_id)
    reply = one_api.call("Create", request | other)
    assert (reply.code, reply.reason) == ("invalid_argument", "REQUEST_ID_REUSED")
    assert list(reply.violations) == ["request_id"]
    assert stored_rows(server, project_id) == rows


@pytest.mark.parametrize(
    ("method", "request_", "other"),
    [
        ("Update", {"id": "a", "name": "new"}, {"updateMask": "name"}),
        ("Update", {"id": "a", "name": "new"}, {"id": "b"}),
        ("Update", {"id": "a", "name": "new"}, {"etag": "x"}),
        ("Upsert", {"dashboardId": "a"}, {"maxDeletions": 0}),
        ("Upsert", {"dashboardId": "a", "maxDeletions": 1}, {"maxDeletions": 2}),
        ("Upsert", {"dashboardId": "a"}, {"allowMissing": True, "name": "A"}),
        ("Delete", {"id": "a"}, {"id": "b"}),
        ("Delete", {"id": "a"}, {"etag": "x"}),
    ],
)
def test_different_write_under_a_used_id_is_refused(
    api: Api, request_id: str, method: str, request_: Json, other: Json
) -> None:
    make(api)
    request = {**request_, "requestId": request_id}
    assert api.call(method, request).code == "ok"
    reply = api.call(method, request | other)
    assert (reply.code, reply.reason) == ("invalid_argument", "REQUEST_ID_REUSED")


def test_same_call_is_known_however_it_is_written(
    server: RunningServer, project_id: str, request_id: str
) -> None:
    """The hash is over the decoded request: not the protocol, the order of keys or of map entries."""
    api = Api(server, "connect-json", make_token(project_id), project_id)
    labels = [{"a": "1", "b": "2", "c": "3"}, {"c": "3", "b": "2", "a": "1"}]
    bodies: list[Json] = [{"name": "A", "labels": each, "requestId": request_id} for each in labels]
    bodies.append(
        {"request_id": request_id, "labels": labels[1], "name": "A", "tiles": [], "validateOnly": False}
    )
    replies = [api.send("Create", json.dumps(body).encode()) for body in bodies]
    for transport in ("connect-proto", "grpc"):
        other = Api(server, transport, make_token(project_id), project_id)
        replies += [other.call("Create", body) for body in bodies]
        other.close()
    api.close()
    assert [reply.code for reply in replies] == ["ok"] * 9
    assert len({reply.dashboard["id"] for reply in replies}) == 1


def test_same_id_for_another_project_subject_or_method_is_another_call(
    server: RunningServer, project_id: str, request_id: str
) -> None:
    def call(method: str, request: Json, *, subject: str = "tester", project: str = project_id) -> Reply:
        api = Api(server, "grpc", make_token("*", subject=subject), project)
        reply = api.call(method, {**request, "requestId": request_id})
        api.close()
        return reply

    create = {"name": "A", "dashboardId": "a"}
    assert call("Create", create).dashboard["revision"] == "1"
    assert call("Create", create, project=f"{project_id}-2").dashboard["revision"] == "1"
    assert call("Create", create, subject="other").code == "already_exists"
    assert call("Update", {"id": "a", "name": "B"}).dashboard["revision"] == "2"
    assert call("Update", {"id": "a", "name": "C"}, subject="other").dashboard["revision"] == "3"
    assert call("Delete", {"id": "a"}).code == "ok"
    assert call("Undelete", {"id": "a"}).dashboard["revision"] == "5"


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Create", {"name": "A", "dashboardId": "a"}, "already_exists"),
        ("Update", {"id": "b", "name": "B"}, "not_found"),
        ("Update", {"id": "a", "name": "B", "etag": "stale"}, "aborted"),
        ("Upsert", {"dashboardId": "a", "maxDeletions": 0}, "failed_precondition"),
        ("Upsert", {"dashboardId": "a", "tiles": [markdown("x"), markdown("x")]}, "invalid_argument"),
        ("Undelete", {"id": "a"}, "already_exists"),
    ],
)
def test_failed_call_stores_nothing(
    server: RunningServer,
    project_id: str,
    one_api: Api,
    request_id: str,
    method: str,
    request_: Json,
    code: str,
) -> None:
    make(one_api)
    rows = stored_rows(server, project_id)
    assert one_api.call(method, {**request_, "requestId": request_id}).code == code
    assert stored_rows(server, project_id) == rows


def test_failed_call_is_carried_out_when_it_comes_again(api: Api, request_id: str) -> None:
    make(api)
    request = {"name": "B", "dashboardId": "a", "requestId": request_id}
    assert api.call("Create", request).code == "already_exists"
    api.call("Delete", {"id": "a"})
    assert api.call("Create", request).dashboard["revision"] == "3"


def test_dry_run_leaves_its_id_free_for_a_different_request(api: Api, request_id: str) -> None:
    make(api)
    request = {"id": "a", "name": "B", "requestId": request_id}
    assert api.call("Update", request | {"validateOnly": True}).dashboard["name"] == "B"
    assert api.call("Update", request | {"name": "C"}).dashboard["name"] == "C"


@pytest.mark.parametrize(("hours", "is_known"), [(23.9, True), (24.1, False)])
def test_id_is_known_for_a_day(
    server: RunningServer, project_id: str, one_api: Api, request_id: str, hours: float, *, is_known: bool
) -> None:
    request = {"name": "A", "requestId": request_id}
    first = one_api.call("Create", request).dashboard["id"]
    age = int(hours * 3_600_000_000)
    aging = update(requests).where(requests.c.project_id == project_id)
    aging = aging.values(created_at=requests.c.created_at - age)
    assert change_rows(server, lambda conn: conn.execute(aging).rowcount) == 1
    second = one_api.call("Create", request).dashboard["id"]
    assert (second == first) == is_known
    assert one_api.call("Create", request).dashboard["id"] == second
    assert len(stored_rows(server, project_id)["requests"]) == 1
