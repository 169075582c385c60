"""Etags: compared before anything else, on a write that changes nothing too; and what a new one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, markdown

if TYPE_CHECKING:
    from tests.server import RunningServer

TILE = markdown("one")

CHANGES: dict[str, Json] = {
    "Update": {"id": "a", "name": "new"},
    "Upsert": {"dashboardId": "a", "tiles": [TILE, markdown("two")]},
    "Delete": {"id": "a"},
}
NO_CHANGES: dict[str, Json] = {
    "Update": {"id": "a", "name": "Growth"},
    "Upsert": {"dashboardId": "a", "tiles": [TILE]},
}


def make(api: Api, dashboard_id: str = "a") -> Json:
    return api.call("Create", {"name": "Growth", "dashboardId": dashboard_id, "tiles": [TILE]}).dashboard


def current_etag(api: Api) -> str:
    (found,) = api.call("List", {"showDeleted": True}).body["dashboards"]
    return found["etag"]


@pytest.mark.parametrize("etag", ["stale", "the one before", "another dashboard's"])
@pytest.mark.parametrize(
    ("method", "request_"),
    [*CHANGES.items(), *NO_CHANGES.items()],
    ids=[*CHANGES, *(f"no-{it}" for it in NO_CHANGES)],
)
def test_write_with_another_etag_is_aborted_and_writes_nothing(
    server: RunningServer, project_id: str, one_api: Api, method: str, request_: Json, etag: str
) -> None:
    before = make(one_api)["etag"]
    current = one_api.call("Update", {"id": "a", "description": "changed"}).dashboard["etag"]
    sent = {"stale": "stale", "the one before": before, "another dashboard's": make(one_api, "b")["etag"]}[
        etag
    ]
    rows = stored_rows(server, project_id)
    reply = one_api.call(method, {**request_, "etag": sent})
    assert (reply.code, reply.reason) == ("aborted", "ETAG_MISMATCH")
    assert reply.metadata == {"id": "a", "current_etag": current}
    assert stored_rows(server, project_id) == rows


@pytest.mark.parametrize("method", CHANGES)
def test_write_with_another_etag_tells_the_current_one(api: Api, method: str) -> None:
    before = make(api)
    reply = api.call(method, {**CHANGES[method], "etag": "stale"})
    assert (reply.code, reply.metadata["current_etag"]) == ("aborted", before["etag"])
    again = api.call(method, {**CHANGES[method], "etag": reply.metadata["current_etag"]})
    assert again.code == "ok"


def test_etags_compare_whole_and_mind_case(one_api: Api) -> None:
    etag = make(one_api)["etag"]
    for other in (etag[:-1], f"{etag}=", f'"{etag}"', f" {etag}", etag.swapcase(), "*"):
        assert one_api.call("Update", {"id": "a", "name": "new", "etag": other}).code == "aborted"


def test_undelete_compares_the_etag_of_the_deleted_state(api: Api) -> None:
    before = make(api)["etag"]
    api.call("Delete", {"id": "a", "etag": before})
    reply = api.call("Undelete", {"id": "a", "etag": before})
    assert (reply.code, reply.metadata["current_etag"]) == ("aborted", current_etag(api))
    assert api.call("Undelete", {"id": "a", "etag": reply.metadata["current_etag"]}).code == "ok"


def test_undelete_of_a_live_dashboard_with_another_etag_is_aborted(one_api: Api) -> None:
    etag = make(one_api)["etag"]
    assert one_api.call("Undelete", {"id": "a", "etag": "stale"}).code == "aborted"
    assert one_api.call("Undelete", {"id": "a", "etag": etag}).code == "already_exists"


def test_etag_is_compared_before_max_deletions(one_api: Api) -> None:
    etag = make(one_api)["etag"]
    request = {"dashboardId": "a", "maxDeletions": 0}
    assert one_api.call("Upsert", {**request, "etag": "stale"}).code == "aborted"
    assert one_api.call("Upsert", {**request, "etag": etag}).code == "failed_precondition"


def test_write_that_changes_nothing_keeps_the_etag(api: Api) -> None:
    etag = make(api)["etag"]
    for method, request in NO_CHANGES.items():
        assert api.call(method, {**request, "etag": etag}).dashboard["etag"] == etag
    assert current_etag(api) == etag


def test_every_change_answers_a_new_etag_also_back_to_the_same_content(one_api: Api) -> None:
    etags = [make(one_api)["etag"]]
    for name in ("new", "Growth", "new"):
        etags.append(one_api.call("Update", {"id": "a", "name": name}).dashboard["etag"])
        assert current_etag(one_api) == etags[-1]
    for tiles in ([], [TILE], []):
        etags.append(one_api.call("Upsert", {"dashboardId": "a", "tiles": tiles}).dashboard["etag"])
        assert current_etag(one_api) == etags[-1]
    one_api.call("Delete", {"id": "a"})
    etags.append(current_etag(one_api))
    etags.append(one_api.call("Undelete", {"id": "a"}).dashboard["etag"])
    one_api.call("Delete", {"id": "a"})
    etags.append(make(one_api)["etag"])
    assert len(set(etags)) == len(etags)


def test_equal_states_of_dashboards_and_projects_have_their_own_etags(
    server: RunningServer, project_id: str
) -> None:
    etags: list[str] = []
    for project in (project_id, f"{project_id}-2"):
        api = Api(server, "grpc", make_token("*"), project)
        etags += [make(api, dashboard_id)["etag"] for dashboard_id in ("a", "b")]
        api.close()
    assert len(set(etags)) == 4
