"""The seed's examples, sent as they are printed, over every protocol and encoding."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.tiles import PAYLOADS, Json, as_answered, payload, time

if TYPE_CHECKING:
    from tests.api import Api, Reply

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z")


def send_as_printed(api: Api, method: str, text: str) -> Reply:
    """Send JSON byte by byte as it is printed, where the protocol takes JSON."""
    if api.transport == "connect-json":
        return api.send(method, text.encode())
    return api.call(method, json.loads(text))


@pytest.fixture
def dashboard(api: Api) -> Json:
    """The seed's dashboard."""
    return api.call("Create", {"name": "Growth KPIs", "dashboardId": "dash_abc123"}).dashboard


@pytest.mark.usefixtures("dashboard")
def test_list_of_the_seed_answers_id_name_and_times(api: Api) -> None:
    reply = send_as_printed(api, "List", "{}")
    assert reply.code == "ok"
    assert list(reply.body) == ["dashboards"]
    (found,) = reply.body["dashboards"]
    assert found["id"] == "dash_abc123"
    assert found["name"] == "Growth KPIs"
    assert TIMESTAMP.fullmatch(found["createdAt"])
    assert TIMESTAMP.fullmatch(found["updatedAt"])
    assert "tiles" not in found


@pytest.mark.usefixtures("dashboard")
def test_get_of_the_seed_answers_the_dashboard_with_its_tiles(api: Api) -> None:
    tiles = payload("dashboards-upsert-seed")["tiles"]
    api.call("Upsert", payload("dashboards-upsert-seed"))
    reply = send_as_printed(api, "Get", '{ "id": "dash_abc123" }')
    assert reply.code == "ok"
    assert list(reply.body) == ["dashboard"]
    assert reply.dashboard["id"] == "dash_abc123"
    assert reply.dashboard["name"] == "Growth KPIs"
    assert reply.dashboard["tiles"] == as_answered(tiles)


def test_upsert_of_the_seed_creates_its_tiles_under_their_ids(api: Api, dashboard: Json) -> None:
    reply = send_as_printed(api, "Upsert", (PAYLOADS / "dashboards-upsert-seed.json").read_text())
    assert reply.code == "ok"
    assert reply.body["changes"] == {"created": ["tile_001", "tile_002"]}
    insight, markdown = reply.dashboard["tiles"]
    assert insight == {
        "id": "tile_001",
        "type": "TILE_TYPE_INSIGHT",
        "position": {"w": 6, "h": 4},
        "insight": {
            "query": {
                "events": [{"name": "page_view"}],
                "granularity": "GRANULARITY_DAY",
                "aggregation": "AGGREGATION_UNIQUE_USERS",
            },
            "visualization": "VISUALIZATION_LINE",
        },
    }
    assert markdown == {
        "id": "tile_002",
        "type": "TILE_TYPE_MARKDOWN",
        "position": {"x": 6, "w": 6, "h": 2},
        "markdown": {"content": "# Weekly Goals\n\n- Hit 10k DAU\n- Launch referral program"},
    }
    assert reply.dashboard["createdAt"] == dashboard["createdAt"]
    assert time(reply.dashboard["updatedAt"]) > time(dashboard["updatedAt"])
    assert TIMESTAMP.fullmatch(reply.dashboard["updatedAt"])


@pytest.mark.usefixtures("dashboard")
def test_upsert_of_the_seed_without_a_tile_deletes_that_tile(api: Api) -> None:
    """The seed: "Omitting a tile ID from the array deletes that tile."."""
    request = payload("dashboards-upsert-seed")
    api.call("Upsert", request)
    reply = api.call("Upsert", request | {"tiles": request["tiles"][1:]})
    assert reply.body["changes"] == {"deleted": ["tile_001"], "unchanged": ["tile_002"]}
    assert [tile["id"] for tile in api.call("Get", {"id": "dash_abc123"}).dashboard["tiles"]] == ["tile_002"]


@pytest.mark.usefixtures("dashboard")
def test_upsert_of_tiles_without_ids_twice_changes_nothing(api: Api) -> None:
    text = (PAYLOADS / "dashboards-upsert-no-ids.json").read_text()
    first = send_as_printed(api, "Upsert", text)
    assert first.code == "ok"
    (tile,) = first.dashboard["tiles"]
    assert re.fullmatch(r"tile_[A-Za-z0-9_-]{1,59}", tile["id"])
    assert first.body["changes"] == {"created": [tile["id"]]}
    second = send_as_printed(api, "Upsert", text)
    assert second.body == {"dashboard": first.dashboard, "changes": {"unchanged": [tile["id"]]}}
    assert api.call("Get", {"id": "dash_abc123"}).dashboard == first.dashboard


def test_typescript_example_of_the_seed_creates_and_fills_a_dashboard(api: Api) -> None:
    created = send_as_printed(api, "Create", '{"name": "Growth KPIs"}').dashboard
    request = payload("dashboards-upsert-no-ids") | {"dashboardId": created["id"]}
    filled = send_as_printed(api, "Upsert", json.dumps(request)).dashboard
    assert filled["id"] == created["id"]
    assert filled["name"] == "Growth KPIs"
    (tile,) = filled["tiles"]
    assert tile == as_answered({"id": tile["id"], **request["tiles"][0]})


@pytest.mark.usefixtures("dashboard")
def test_rich_payload_is_given_back_as_it_was_sent(api: Api) -> None:
    text = (PAYLOADS / "dashboards-upsert-rich.json").read_text()
    reply = send_as_printed(api, "Upsert", text)
    assert reply.code == "ok"
    assert reply.dashboard["tiles"] == as_answered(json.loads(text)["tiles"])
    assert send_as_printed(api, "Upsert", text).body == {
        "dashboard": reply.dashboard,
        "changes": {"unchanged": ["tile_revenue", "tile_funnel", "tile_goals"]},
    }
    assert api.call("Get", {"id": "dash_abc123"}).dashboard == reply.dashboard


@pytest.mark.parametrize(
    "name", ["dashboards-upsert-seed", "dashboards-upsert-no-ids", "dashboards-upsert-rich"]
)
def test_upsert_of_a_payload_to_a_missing_dashboard_is_not_found(api: Api, name: str) -> None:
    reply = api.call("Upsert", payload(name))
    assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")


def test_requests_with_keys_of_the_proto_file_are_taken_too(one_api: Api) -> None:
    """ProtoJSON takes `dashboard_id` beside `dashboardId`; answers are in camelCase."""
    reply = one_api.send("Create", b'{"name": "Growth KPIs", "dashboard_id": "dash_abc123"}')
    assert reply.dashboard["id"] == "dash_abc123"
    assert "createdAt" in reply.dashboard
