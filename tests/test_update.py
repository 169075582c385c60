"""Update: which fields it changes, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, markdown, time

if TYPE_CHECKING:
    from tests.server import RunningServer

OLD: Json = {"name": "old", "description": "what was", "labels": {"team": "web", "env": "prod"}}
NEW: Json = {"name": "new", "description": "what is new", "labels": {"env": "dev", "new": ""}}
EMPTY: Json = {"name": "", "description": "", "labels": {}}


def make(api: Api) -> Json:
    """Create dashboard `a`, with all that Update can change and one tile."""
    return api.call("Create", {"dashboardId": "a", **OLD, "tiles": [markdown("one")]}).dashboard


def said(dashboard: Json) -> Json:
    """Return what a dashboard says about itself."""
    return {name: dashboard.get(name, empty) for name, empty in EMPTY.items()}


def test_update_keeps_what_it_does_not_change(server: RunningServer, project_id: str, api: Api) -> None:
    before = make(api)
    other = Api(server, api.transport, make_token(project_id, subject="other"), project_id)
    reply = other.call("Update", {"id": "a", "name": "new"})
    other.close()
    assert reply.code == "ok"
    after = reply.dashboard
    assert after == before | {
        "name": "new",
        "updatedAt": after["updatedAt"],
        "updatedBy": "other",
        "etag": after["etag"],
        "revision": "2",
    }
    assert time(after["updatedAt"]) > time(before["updatedAt"])
    assert after["etag"] != before["etag"]
    assert api.call("Get", {"id": "a"}).dashboard == after


@pytest.mark.parametrize("mask", [{}, {"updateMask": ""}])
@pytest.mark.parametrize("fields", [["name"], ["description"], ["labels"], ["name", "labels"], list(NEW)])
def test_update_without_paths_changes_the_populated_fields(
    one_api: Api, fields: list[str], mask: Json
) -> None:
    make(one_api)
    wanted = {name: NEW[name] for name in fields}
    after = one_api.call("Update", {"id": "a", **EMPTY, **wanted, **mask}).dashboard
    assert said(after) == OLD | wanted
    assert said(one_api.call("Get", {"id": "a"}).dashboard) == OLD | wanted


@pytest.mark.parametrize(
    ("mask", "fields"),
    [
        ("name", ["name"]),
        ("description", ["description"]),
        ("labels", ["labels"]),
        ("labels,name", ["name", "labels"]),
        ("name,name", ["name"]),
        ("*", list(NEW)),
        ("name,*", list(NEW)),
    ],
)
def test_update_with_paths_changes_these_and_no_others(one_api: Api, mask: str, fields: list[str]) -> None:
    make(one_api)
    after = one_api.call("Update", {"id": "a", **NEW, "updateMask": mask}).dashboard
    assert said(after) == OLD | {name: NEW[name] for name in fields}


def test_update_with_paths_empties_what_is_empty(api: Api) -> None:
    make(api)
    after = api.call("Update", {"id": "a", "updateMask": "description,labels"}).dashboard
    assert said(after) == {"name": "old", "description": "", "labels": {}}
    make_again = api.call("Update", {"id": "a", **OLD}).dashboard
    assert said(make_again) == OLD
    after = api.call("Update", {"id": "a", "name": "new", "updateMask": "*"}).dashboard
    assert said(after) == {"name": "new", "description": "", "labels": {}}
    assert [tile["id"] for tile in after["tiles"]] == ["one"]


@pytest.mark.parametrize("mask", ["name", "*", "labels,name"])
def test_update_that_would_empty_the_name_is_refused(one_api: Api, mask: str) -> None:
    before = make(one_api)
    assert one_api.call("Update", {"id": "a", "updateMask": mask}).code == "invalid_argument"
    assert one_api.call("Get", {"id": "a"}).dashboard == before


@pytest.mark.parametrize("mask", ["tiles", "etag", "name,id", "createdAt", "labels.env"])
def test_update_of_another_path_is_refused(api: Api, mask: str) -> None:
    before = make(api)
    reply = api.call("Update", {"id": "a", "name": "new", "updateMask": mask})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["update_mask"])
    assert api.call("Get", {"id": "a"}).dashboard == before


def test_update_replaces_labels_whole(api: Api) -> None:
    make(api)
    assert api.call("Update", {"id": "a", "labels": {"new": "1"}}).dashboard["labels"] == {"new": "1"}
    assert api.call("Get", {"id": "a"}).dashboard["labels"] == {"new": "1"}


@pytest.mark.parametrize(
    "request_",
    [
        {},
        OLD,
        OLD | {"updateMask": "*"},
        {"name": "old", "updateMask": "name"},
        {"labels": {"env": "prod", "team": "web"}},
    ],
)
def test_update_that_changes_nothing_writes_nothing(
    server: RunningServer, project_id: str, one_api: Api, request_: Json
) -> None:
    before = make(one_api)
    rows = stored_rows(server, project_id)
    reply = one_api.call("Update", {"id": "a", **request_, "changeMessage": "nothing"})
    assert (reply.code, reply.dashboard) == ("ok", before)
    assert stored_rows(server, project_id) == rows


def test_update_of_a_missing_dashboard_is_not_found(api: Api) -> None:
    for request in ({"id": "a", "name": "new"}, {"id": "a", "name": "new", "etag": "x"}):
        reply = api.call("Update", request)
        assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
