"""Delete and Undelete: gone at once, back as it was."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, ids, markdown, time

if TYPE_CHECKING:
    from tests.server import RunningServer


def make(api: Api, dashboard_id: str = "a") -> Json:
    request = {"dashboardId": dashboard_id, "description": "d", "labels": {"team": "web"}}
    return api.call("Create", {"name": "Growth", **request, "tiles": [markdown("one")]}).dashboard


def deleted(api: Api) -> Json:
    """Return the only dashboard of the project, which is a deleted one."""
    (found,) = api.call("List", {"showDeleted": True}).body["dashboards"]
    return found


def test_delete_takes_a_dashboard_out_of_get_and_list_at_once(api: Api) -> None:
    make(api, "a")
    make(api, "b")
    reply = api.call("Delete", {"id": "a"})
    assert (reply.code, reply.body) == ("ok", {})
    reply = api.call("Get", {"id": "a"})
    assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    assert ids(api.call("List").body["dashboards"]) == ["b"]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Get", {"id": "a"}),
        ("Update", {"id": "a", "name": "B"}),
        ("Update", {"id": "a", "name": "B", "etag": "x"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Upsert", {"dashboardId": "a", "etag": "x"}),
        ("Delete", {"id": "a"}),
        ("Delete", {"id": "a", "etag": "x"}),
    ],
)
def test_deleted_dashboard_is_not_found(
    server: RunningServer, project_id: str, one_api: Api, method: str, request_: Json
) -> None:
    make(one_api)
    one_api.call("Delete", {"id": "a"})
    rows = stored_rows(server, project_id)
    reply = one_api.call(method, request_)
    assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    assert stored_rows(server, project_id) == rows


def test_delete_of_a_missing_dashboard_is_not_found(api: Api) -> None:
    for request in ({"id": "a"}, {"id": "a", "etag": "x"}):
        for method in ("Delete", "Undelete"):
            reply = api.call(method, request)
            assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")


def test_delete_makes_a_state_of_its_own(server: RunningServer, api: Api) -> None:
    before = make(api)
    project_id = api.headers["x-project-id"]
    other = Api(server, api.transport, make_token(project_id, subject="other"), project_id)
    other.call("Delete", {"id": "a"})
    other.close()
    after = deleted(api)
    assert after["etag"] != before["etag"]
    assert after == {key: value for key, value in before.items() if key != "tiles"} | {
        "updatedAt": after["updatedAt"],
        "updatedBy": "other",
        "etag": after["etag"],
        "revision": "2",
        "deletedAt": after["updatedAt"],
        "purgeAt": after["purgeAt"],
    }
    assert time(after["updatedAt"]) > time(before["updatedAt"])
    assert time(after["purgeAt"]) - time(after["deletedAt"]) == timedelta(days=30)


def test_undelete_brings_a_dashboard_back_as_it_was(api: Api) -> None:
    before = make(api)
    api.call("Delete", {"id": "a"})
    deleted_etag = deleted(api)["etag"]
    reply = api.call("Undelete", {"id": "a"})
    assert reply.code == "ok"
    after = reply.dashboard
    assert after == before | {"updatedAt": after["updatedAt"], "etag": after["etag"], "revision": "3"}
    assert len({before["etag"], deleted_etag, after["etag"]}) == 3
    assert time(after["updatedAt"]) > time(before["updatedAt"])
    assert api.call("Get", {"id": "a"}).dashboard == after
    assert ids(api.call("List").body["dashboards"]) == ["a"]


def test_undelete_of_a_live_dashboard_is_refused(api: Api) -> None:
    before = make(api)
    reply = api.call("Undelete", {"id": "a"})
    assert (reply.code, reply.reason, reply.metadata) == ("already_exists", "DASHBOARD_EXISTS", {"id": "a"})
    api.call("Delete", {"id": "a"})
    api.call("Undelete", {"id": "a"})
    assert api.call("Undelete", {"id": "a"}).code == "already_exists"
    assert api.call("Get", {"id": "a"}).dashboard["tiles"] == before["tiles"]


def test_undelete_after_the_id_was_created_anew_is_refused(one_api: Api) -> None:
    make(one_api)
    one_api.call("Delete", {"id": "a"})
    one_api.call("Create", {"name": "new", "dashboardId": "a"})
    assert one_api.call("Undelete", {"id": "a"}).code == "already_exists"
    one_api.call("Delete", {"id": "a"})
    assert one_api.call("Undelete", {"id": "a"}).dashboard["name"] == "new"
