"""Create and Get: ids, first states, ids that were used before, projects apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.server import make_token
from tests.tiles import as_answered, ids, insight, markdown, time

if TYPE_CHECKING:
    from tests.server import RunningServer


def test_create_with_a_name_alone_answers_a_whole_dashboard(api: Api) -> None:
    reply = api.call("Create", {"name": "Growth KPIs"})
    assert reply.code == "ok"
    dashboard = reply.dashboard
    assert re.fullmatch(r"dash_[A-Za-z0-9_-]{20,59}", dashboard["id"])
    assert dashboard["createdAt"] == dashboard["updatedAt"]
    assert time(dashboard["createdAt"]).tzinfo is not None
    assert dashboard == {
        "id": dashboard["id"],
        "name": "Growth KPIs",
        "createdAt": dashboard["createdAt"],
        "updatedAt": dashboard["updatedAt"],
        "createdBy": "tester",
        "updatedBy": "tester",
        "etag": dashboard["etag"],
        "revision": "1",
    }
    assert dashboard["etag"]
    assert api.call("Get", {"id": dashboard["id"]}).body == reply.body


def test_create_with_everything_provisions_a_whole_dashboard(api: Api) -> None:
    tiles = [insight("b", x=6), markdown("a", "# Goals\n\n\t- 🎯"), markdown("c", y=4)]
    request = {
        "name": "Growth KPIs",
        "dashboardId": "growth-kpis",
        "description": "What we look at on Mondays",
        "labels": {"team": "web", "cost/centre": "", "env": "prod"},
        "tiles": tiles,
    }
    reply = api.call("Create", request)
    assert reply.code == "ok"
    assert reply.dashboard["id"] == "growth-kpis"
    assert reply.dashboard["description"] == request["description"]
    assert reply.dashboard["labels"] == request["labels"]
    assert reply.dashboard["tiles"] == as_answered(tiles)
    assert reply.dashboard["tileCount"] == 3
    assert api.call("Get", {"id": "growth-kpis"}).body == reply.body


def test_create_with_tiles_without_ids_assigns_them(api: Api) -> None:
    tiles = [markdown(), markdown("chosen"), markdown()]
    found = api.call("Create", {"name": "A", "tiles": tiles}).dashboard["tiles"]
    assert re.fullmatch(r"tile_[A-Za-z0-9_-]{1,59}", found[0]["id"])
    assert found[1]["id"] == "chosen"
    assert len({tile["id"] for tile in found}) == 3


def test_create_assigns_ids_that_sort_by_creation(one_api: Api) -> None:
    created = [one_api.call("Create", {"name": "A"}).dashboard for _ in range(20)]
    assert ids(created) == sorted(set(ids(created)))
    times = [time(dashboard["createdAt"]) for dashboard in created]
    assert times == sorted(times)
    assert any(moment.microsecond % 1_000 for moment in times), "times are in microseconds"


@pytest.mark.parametrize(
    "name", [" padded ", "Café", "Cafe\u0301", "🎯" * 200, "100%", "\u202eright to left", "a\u00a0b"]
)
def test_create_stores_the_name_as_it_was_sent(api: Api, name: str) -> None:
    dashboard_id = api.call("Create", {"name": name}).dashboard["id"]
    assert api.call("Get", {"id": dashboard_id}).dashboard["name"] == name


def test_create_with_a_name_in_use_makes_another_dashboard(one_api: Api) -> None:
    first, second = (one_api.call("Create", {"name": "Growth"}).dashboard for _ in range(2))
    assert first["id"] != second["id"]


def test_create_with_an_id_in_use_is_refused_and_changes_nothing(api: Api) -> None:
    first = api.call("Create", {"name": "first", "dashboardId": "a"})
    reply = api.call("Create", {"name": "second", "dashboardId": "a", "tiles": [markdown("one")]})
    assert (reply.code, reply.reason) == ("already_exists", "DASHBOARD_EXISTS")
    assert reply.metadata == {"id": "a"}
    again = api.call("Create", {"name": "first", "dashboardId": "a"})
    assert again.code == "already_exists", "an equal one is refused too"
    assert api.call("Get", {"id": "a"}).body == first.body


def test_ids_that_differ_in_case_are_two_dashboards(one_api: Api) -> None:
    for dashboard_id in ("growth", "Growth"):
        assert one_api.call("Create", {"name": dashboard_id, "dashboardId": dashboard_id}).code == "ok"
    assert one_api.call("Get", {"id": "Growth"}).dashboard["name"] == "Growth"
    assert one_api.call("Get", {"id": "GROWTH"}).code == "not_found"
    one_api.call("Delete", {"id": "Growth"})
    assert one_api.call("Get", {"id": "growth"}).code == "ok"


def test_create_of_a_deleted_id_begins_anew_and_revisions_go_on(server: RunningServer, api: Api) -> None:
    request = {"dashboardId": "a", "description": "old", "labels": {"old": "yes"}, "tiles": [markdown("one")]}
    first = api.call("Create", {"name": "old", **request}).dashboard
    assert api.call("Delete", {"id": "a"}).code == "ok"
    project_id = api.headers["x-project-id"]
    other = Api(server, api.transport, make_token(project_id, subject="other"), project_id)
    second = other.call("Create", {"name": "new", "dashboardId": "a"}).dashboard
    other.close()
    assert time(second["createdAt"]) > time(first["createdAt"])
    assert second["etag"] != first["etag"]
    assert second == {
        "id": "a",
        "name": "new",
        "createdAt": second["createdAt"],
        "updatedAt": second["createdAt"],
        "createdBy": "other",
        "updatedBy": "other",
        "etag": second["etag"],
        "revision": "3",
    }
    assert api.call("Get", {"id": "a"}).dashboard == second
    assert ids(api.call("List", {"showDeleted": True}).body["dashboards"]) == ["a"]


def test_revisions_never_go_back_through_deletes(one_api: Api) -> None:
    revisions: list[int] = []
    for _ in range(3):
        created = one_api.call("Create", {"name": "A", "dashboardId": "a"}).dashboard
        updated = one_api.call("Update", {"id": "a", "name": "B"}).dashboard
        revisions += [int(created["revision"]), int(updated["revision"])]
        one_api.call("Delete", {"id": "a"})
    assert revisions == [1, 2, 4, 5, 7, 8]


def test_get_of_a_missing_dashboard_is_not_found(api: Api) -> None:
    reply = api.call("Get", {"id": "nope"})
    assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    assert reply.metadata == {"id": "nope"}
    assert reply.request_id


def test_dashboards_of_another_project_are_not_there(
    server: RunningServer, project_id: str, api: Api
) -> None:
    """The same answer as for none; and the same id is free in each project."""
    api.call("Create", {"name": "mine", "dashboardId": "a", "tiles": [markdown("one")]})
    other = Api(server, api.transport, make_token("*"), f"{project_id}-2")
    for method, request in [
        ("Get", {"id": "a"}),
        ("Update", {"id": "a", "name": "theirs"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Delete", {"id": "a"}),
        ("Undelete", {"id": "a"}),
    ]:
        reply = other.call(method, request)
        assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    created = other.call("Create", {"name": "theirs", "dashboardId": "a"}).dashboard
    assert created["revision"] == "1"
    other.call("Delete", {"id": "a"})
    other.close()
    mine = api.call("Get", {"id": "a"}).dashboard
    assert (mine["name"], mine["revision"], mine["tileCount"]) == ("mine", "1", 1)
