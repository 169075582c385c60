"""List: what it gives, in which order, and its filters. Its pages are test_list_paging's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.server import make_token
from tests.tiles import Json, ids, markdown, time

if TYPE_CHECKING:
    from tests.server import RunningServer

ORDERS = ("created_at", "updated_at", "name")


def create(api: Api, dashboard_id: str, name: str = "A", **fields: object) -> Json:
    reply = api.call("Create", {"dashboardId": dashboard_id, "name": name, **fields})
    assert reply.code == "ok", reply
    return reply.dashboard


def listed(api: Api, **request: object) -> list[str]:
    """Return the ids that List answers, on one page."""
    reply = api.call("List", request)
    assert reply.code == "ok", reply
    assert "nextPageToken" not in reply.body
    return ids(reply.body.get("dashboards", []))


def test_list_of_an_empty_project_is_empty(api: Api) -> None:
    reply = api.call("List")
    assert (reply.code, reply.body) == ("ok", {})


def test_list_gives_all_of_a_dashboard_but_its_tiles(api: Api) -> None:
    tiles = [markdown("one"), markdown("two")]
    created = create(api, "a", "Growth", description="d", labels={"team": "web"}, tiles=tiles)
    (found,) = api.call("List").body["dashboards"]
    assert found == {key: value for key, value in created.items() if key != "tiles"}
    assert found["tileCount"] == 2


def test_list_of_another_project_is_apart(server: RunningServer, one_api: Api, project_id: str) -> None:
    create(one_api, "a")
    other = Api(server, "grpc", make_token(project_id, f"{project_id}-2"), f"{project_id}-2")
    create(other, "a", labels={"team": "web"})
    create(other, "b")
    assert listed(other) == ["a", "b"]
    assert listed(one_api) == ["a"]
    assert listed(one_api, labels={"team": "web"}) == []
    other.close()


def test_list_without_order_is_by_creation(api: Api) -> None:
    for dashboard_id in ("c", "a", "b"):
        create(api, dashboard_id)
    api.call("Update", {"id": "c", "name": "changed"})
    assert listed(api) == listed(api, orderBy="created_at") == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("created_at", ["c", "a", "d", "b"]),
        ("updated_at", ["a", "b", "d", "c"]),
        ("name", ["d", "c", "b", "a"]),
    ],
)
def test_list_is_ordered_by_the_column_each_way(one_api: Api, order: str, expected: list[str]) -> None:
    for dashboard_id, name in (("c", "2"), ("a", "4"), ("d", "1"), ("b", "3")):
        create(one_api, dashboard_id, name)
    for dashboard_id in ("d", "c"):
        one_api.call("Update", {"id": dashboard_id, "description": "changed"})
    assert listed(one_api, orderBy=order) == expected
    assert listed(one_api, orderBy=f"{order} desc") == expected[::-1]


def test_list_of_equal_names_is_ordered_by_id_and_ids_by_bytes(one_api: Api) -> None:
    for dashboard_id in ("b", "B", "a_", "a-", "a0", "A"):
        create(one_api, dashboard_id, "same")
    expected = sorted(["b", "B", "a_", "a-", "a0", "A"])
    assert listed(one_api, orderBy="name") == expected
    assert listed(one_api, orderBy="name desc") == expected[::-1]


@pytest.mark.parametrize("show_deleted", [False, True])
def test_list_by_name_compares_utf8_bytes(one_api: Api, *, show_deleted: bool) -> None:
    """UTF-16, and any language's collation, would order these otherwise."""
    names = ["Z", "_", "a", "zz", "É", "é", "\u6f22", "\uffee", "\U0001f600"]
    assert names == sorted(names, key=str.encode)
    for index, name in enumerate(reversed(names)):
        create(one_api, f"d{index}", name)
    if show_deleted:
        for index in range(0, len(names), 2):
            one_api.call("Delete", {"id": f"d{index}"})
    dashboards = one_api.call("List", {"orderBy": "name", "showDeleted": show_deleted}).body["dashboards"]
    assert [dashboard["name"] for dashboard in dashboards] == names


def test_list_by_labels_gives_those_that_match_all(api: Api) -> None:
    create(api, "a", labels={"team": "web", "env": "prod"})
    create(api, "b", labels={"team": "web", "env": "dev", "old": ""})
    create(api, "c", labels={"team": "Web"})
    create(api, "d")
    assert listed(api, labels={"team": "web"}) == ["a", "b"]
    assert listed(api, labels={"team": "web", "env": "prod"}) == ["a"]
    assert listed(api, labels={"team": "web", "env": ""}) == []
    assert listed(api, labels={"old": ""}) == ["b"]
    assert listed(api, labels={"web": "team"}) == []
    assert listed(api, labels={}) == ["a", "b", "c", "d"]


def test_list_by_keys_of_labels_gives_those_that_have_each_whatever_its_value(api: Api) -> None:
    create(api, "a", labels={"team": "web", "env": "prod"})
    create(api, "b", labels={"team": "app", "old": ""})
    create(api, "c", labels={"teams": "web"})
    create(api, "d")
    assert listed(api, labelKeys=["team"]) == ["a", "b"]
    assert listed(api, labelKeys=["old"]) == ["b"]
    assert listed(api, labelKeys=["team", "env", "team"]) == ["a"]
    assert listed(api, labelKeys=["old", "env"]) == []
    assert listed(api, labelKeys=["web"]) == []
    assert listed(api, labelKeys=["team"], labels={"env": "prod"}) == ["a"]
    assert listed(api, labelKeys=["team"], labels={"team": "app"}) == ["b"]
    assert listed(api, labelKeys=[f"key{number}" for number in range(32)]) == []
    assert listed(api, labelKeys=[], namePrefix="A") == ["a", "b", "c", "d"]
    api.call("Update", {"id": "d", "labels": {"team": ""}})
    api.call("Update", {"id": "b", "labels": {"old": ""}})
    api.call("Delete", {"id": "a"})
    assert listed(api, labelKeys=["team"]) == ["d"]
    assert listed(api, labelKeys=["team"], showDeleted=True) == ["a", "d"]


def test_list_by_labels_follows_each_write(one_api: Api) -> None:
    create(one_api, "a", labels={"team": "web"})
    one_api.call("Update", {"id": "a", "labels": {"team": "app"}})
    assert listed(one_api, labels={"team": "web"}) == []
    assert listed(one_api, labels={"team": "app"}) == ["a"]
    one_api.call("Delete", {"id": "a"})
    assert listed(one_api, labels={"team": "app"}) == []
    assert listed(one_api, labels={"team": "app"}, showDeleted=True) == ["a"]
    one_api.call("Undelete", {"id": "a"})
    assert listed(one_api, labels={"team": "app"}) == ["a"]
    one_api.call("Delete", {"id": "a"})
    create(one_api, "a")
    assert listed(one_api, labels={"team": "app"}, showDeleted=True) == []


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]),
        ("G", ["d0", "d1"]),
        ("Growth K", ["d0"]),
        ("growth", ["d2"]),
        ("rowth", []),
        ("É", ["d3"]),
        ("E", []),
        ("a\ud7ff", ["d4"]),
        ("\U0010ffff", ["d5"]),
        (" ", ["d6"]),
    ],
)
def test_list_by_name_prefix_minds_case(one_api: Api, prefix: str, expected: list[str]) -> None:
    names = ["Growth KPIs", "Gains", "growth", "École", "a\ud7ffb", "\U0010ffff\U0010ffff", " padded"]
    for index, name in enumerate(names):
        create(one_api, f"d{index}", name)
    assert listed(one_api, namePrefix=prefix) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", ["d0", "d1", "d2", "d3", "d4", "d5"]),
        ("KPI", ["d0", "d1"]),
        ("wth kp", ["d0"]),
        ("kpi ", []),
        ("ÉCOLE", ["d2"]),
        ("école", ["d2"]),
        ("ecole", []),
        ("STRASSE", ["d3"]),
        ("straße", ["d3"]),
        ("οδος", ["d4"]),
        ("ОТЧЁТ", ["d5"]),
    ],
)
def test_list_by_name_contains_ignores_case(one_api: Api, part: str, expected: list[str]) -> None:
    names = ["Growth KPIs", "kpi", "L'École", "Hauptstraße", "ΟΔΟΣ", "Отчёт за год"]
    for index, name in enumerate(names):
        create(one_api, f"d{index}", name)
    assert listed(one_api, nameContains=part) == expected


@pytest.mark.parametrize("character", list("%_*?[]\\/^$.'\"-|"))
def test_list_by_name_takes_no_character_for_a_wildcard(one_api: Api, character: str) -> None:
    create(one_api, "plain", "axb")
    create(one_api, "longer", "axxb")
    create(one_api, "literal", f"a{character}b")
    assert listed(one_api, nameContains=f"a{character}b") == ["literal"]
    assert listed(one_api, nameContains=character) == ["literal"]
    assert listed(one_api, namePrefix=f"a{character}") == ["literal"]
    assert listed(one_api, namePrefix=character) == []


def test_list_by_several_filters_gives_what_meets_all(api: Api) -> None:
    create(api, "a", "Growth web", labels={"team": "web"})
    create(api, "b", "Growth app", labels={"team": "web"})
    create(api, "c", "Growth web", labels={"team": "app"})
    create(api, "d", "growth web", labels={"team": "web"})
    assert listed(api, labels={"team": "web"}, namePrefix="Gr", nameContains="WEB") == ["a"]


def test_list_shows_deleted_only_when_asked(api: Api) -> None:
    create(api, "a")
    create(api, "b", tiles=[markdown("one")])
    create(api, "c")
    api.call("Delete", {"id": "b"})
    assert listed(api) == ["a", "c"]
    assert listed(api, showDeleted=True) == ["a", "b", "c"]
    found = api.call("List", {"showDeleted": True}).body["dashboards"]
    assert ["deletedAt" in dashboard for dashboard in found] == [False, True, False]
    assert ["purgeAt" in dashboard for dashboard in found] == [False, True, False]
    assert found[1]["deletedAt"] == found[1]["updatedAt"]
    assert time(found[1]["purgeAt"]) > time(found[1]["deletedAt"])
    assert found[1]["tileCount"] == 1


@pytest.mark.parametrize("order", [f"{column}{way}" for column in ORDERS for way in ("", " desc")])
def test_list_with_deleted_keeps_the_order_among_both(one_api: Api, order: str) -> None:
    for index in range(6):
        create(one_api, f"d{index}", f"name {5 - index}")
    for index in (4, 1, 2):
        one_api.call("Delete", {"id": f"d{index}"})
    expected = {
        "created_at": ["d0", "d1", "d2", "d3", "d4", "d5"],
        "updated_at": ["d0", "d3", "d5", "d4", "d1", "d2"],
        "name": ["d5", "d4", "d3", "d2", "d1", "d0"],
    }[order.removesuffix(" desc")]
    expected = expected[::-1] if order.endswith("desc") else expected
    assert listed(one_api, orderBy=order, showDeleted=True) == expected
