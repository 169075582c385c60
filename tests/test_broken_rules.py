"""Broken rules of a request: INVALID_ARGUMENT that names every broken field, on every listener."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from tests.api import TRANSPORTS, Api
from tests.broken_rules import BROKEN_RULES, CODE_RULES, QUERY, RANGE, VALID_REQUESTS, changed
from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Reply
    from tests.cases import Case
    from tests.server import RunningServer

LISTENERS = ("grpc", "connect-json")
A_HANDFUL = (BROKEN_RULES + CODE_RULES)[::40]
TOGETHER = [rule for rule in BROKEN_RULES if len(rule.fields) > 1]
PROJECT = "broken-rules"


@pytest.fixture(scope="module")
def apis(sqlite_server: RunningServer) -> Iterator[dict[str, Api]]:
    """A client for each transport. Nothing is written here, so one project serves all the tests."""
    clients = {name: Api(sqlite_server, name, make_token(PROJECT), PROJECT) for name in TRANSPORTS}
    yield clients
    for client in clients.values():
        client.close()


def send(api: Api, method: str, request: dict[str, Any]) -> Reply:
    """Send a request in ProtoJSON as it stands, where the transport can."""
    if api.transport == "connect-json":
        return api.send(method, json.dumps(request).encode())
    return api.call(method, request)


def assert_refused(reply: Reply, fields: set[str] | frozenset[str]) -> None:
    assert reply.code == "invalid_argument"
    assert reply.reason == "INVALID_REQUEST"
    assert set(reply.violations) == fields
    assert all(reply.violations.values()), "each violation says what is wrong"
    assert reply.request_id


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize("rule", BROKEN_RULES + CODE_RULES, ids=lambda rule: rule.id)
def test_request_with_broken_rule_is_refused_with_its_paths(
    apis: dict[str, Api], transport: str, rule: Case
) -> None:
    assert_refused(send(apis[transport], rule.method, rule.request), rule.fields)


@pytest.mark.parametrize("transport", ["connect-proto", "grpc-web"])
@pytest.mark.parametrize("rule", A_HANDFUL + TOGETHER, ids=lambda rule: rule.id)
def test_request_with_broken_rule_on_other_protocols_is_refused_alike(
    apis: dict[str, Api], transport: str, rule: Case
) -> None:
    assert_refused(send(apis[transport], rule.method, rule.request), rule.fields)


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize("valid", VALID_REQUESTS, ids=lambda valid: valid.id)
def test_request_at_the_edge_of_the_rules_is_not_refused_by_them(
    apis: dict[str, Api], transport: str, valid: Case
) -> None:
    reply = send(apis[transport], valid.method, {**valid.request, **_dry_run(valid.method)})
    assert reply.reason != "INVALID_REQUEST", reply.violations
    assert reply.code in {"ok", "not_found", "aborted", "already_exists"} or (
        reply.reason == "INVALID_PAGE_TOKEN" and valid.method == "List"
    )


def _dry_run(method: str) -> dict[str, Any]:
    return {} if method in {"List", "Get"} else {"validateOnly": True}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_rules_of_the_schema_and_of_the_code_are_reported_together(
    apis: dict[str, Api], transport: str
) -> None:
    request = changed(
        "Upsert",
        {
            "dashboard_id": "-",
            "tiles[1].id": "tile_001",
            "tiles[1].title": "x" * 201,
            f"{QUERY}.conversion_window": "1.5s",
            "max_deletions": -1,
        },
    )
    assert_refused(
        send(apis[transport], "Upsert", request),
        {"dashboard_id", "tiles[1].id", "tiles[1].title", f"{QUERY}.conversion_window", "max_deletions"},
    )


MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
BAD_MOMENTS = {
    "year-0": (MIN_SECONDS - 1, 0),
    "year-10000": (MAX_SECONDS + 1, 0),
    "seconds-least": (-(2**63), 0),
    "seconds-most": (2**63 - 1, 0),
    "nanos-below": (1, -1),
    "nanos-above": (1, 1_000_000_000),
    "nanos-least": (1, -(2**31)),
    "nanos-most": (1, 2**31 - 1),
}


@pytest.mark.parametrize("transport", ["grpc", "grpc-web", "connect-proto"])
@pytest.mark.parametrize(("seconds", "nanos"), BAD_MOMENTS.values(), ids=BAD_MOMENTS)
@pytest.mark.parametrize("end", ["start", "end"])
def test_time_range_that_json_cannot_write_is_refused(
    apis: dict[str, Api], transport: str, end: str, seconds: int, nanos: int
) -> None:
    request = UpsertRequest.from_json(json.dumps(changed("Upsert", {"tiles[1].title": "x" * 201})))
    insight = request.tiles[0].insight
    assert insight is not None
    assert insight.query is not None
    time_range = insight.query.time_range
    assert time_range is not None
    moment = time_range.start if end == "start" else time_range.end
    assert moment is not None
    moment.seconds, moment.nanos = seconds, nanos
    # The order of the two may be reported as well: it can't always be told.
    reply = apis[transport].send("Upsert", request.to_binary())
    reply.violations.pop(f"{QUERY}.time_range", None)
    assert_refused(reply, {f"{QUERY}.time_range.{end}", "tiles[1].title"})


BAD_WINDOWS = {
    "nanos": (65, 1),
    "nanos-below": (65, -1),
    "nanos-most": (65, 2**31 - 1),
    "seconds-most": (2**63 - 1, 0),
    "seconds-least": (-(2**63), 0),
}


@pytest.mark.parametrize("transport", ["grpc", "connect-proto"])
@pytest.mark.parametrize(("seconds", "nanos"), BAD_WINDOWS.values(), ids=BAD_WINDOWS)
@pytest.mark.parametrize("field", ["conversion_window", "time_range.last"])
def test_duration_of_no_whole_seconds_is_refused(
    apis: dict[str, Api], transport: str, field: str, seconds: int, nanos: int
) -> None:
    request = UpsertRequest.from_json(json.dumps(changed("Upsert", {RANGE: {"last": "60s"}})))
    insight = request.tiles[0].insight
    assert insight is not None
    assert insight.query is not None
    time_range = insight.query.time_range
    assert time_range is not None
    duration = time_range.last if field == "time_range.last" else insight.query.conversion_window
    assert duration is not None
    duration.seconds, duration.nanos = seconds, nanos
    assert_refused(apis[transport].send("Upsert", request.to_binary()), {f"{QUERY}.{field}"})


@pytest.mark.parametrize("transport", LISTENERS)
def test_update_mask_of_many_paths_is_refused(apis: dict[str, Api], transport: str) -> None:
    request = {"id": "a", "name": "a", "updateMask": ",".join(["name"] * 10_000)}
    assert_refused(send(apis[transport], "Update", request), {"update_mask"})


# JSON that the schema doesn't know: the request, and what is reported.
UNKNOWN_PARTS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "key": ("Get", {"id": "a", "ident": "b"}, {"ident"}),
    "key-in-other-case": ("Get", {"ID": "a"}, {"ID"}),
    "key-empty": ("Get", {"id": "a", "": 1}, {'[""]'}),
    "keys": ("Create", {"name": "a", "tile": [], "label": {"a": "b"}}, {"tile", "label"}),
    "word": ("Upsert", {"dashboardId": "a", "tiles": [{"type": "INSIGHT"}]}, {"tiles[0].type"}),
    "word-of-another-enum": (
        "Upsert",
        {"dashboardId": "a", "tiles": [{"type": "GRANULARITY_DAY"}]},
        {"tiles[0].type"},
    ),
    "everything": (
        "Upsert",
        {
            "dashboard_id": "a",
            "dashboards": {},
            "tiles": [
                {"type": "tile_type_markdown", "pos": {"x": 1}},
                {
                    "position": {"x": 1, "X": 2},
                    "insight": {
                        "visualization": "LINE",
                        "query": {
                            "events": [{"name": "a"}, {"names": "b", "filters": [{"operator": "="}]}],
                            "granularity": "",
                            "timeRange": {"from": "2026-05-01T00:00:00Z"},
                        },
                    },
                },
            ],
        },
        {
            "dashboards",
            "tiles[0].type",
            "tiles[0].pos",
            "tiles[1].position.X",
            "tiles[1].insight.visualization",
            "tiles[1].insight.query.events[1].names",
            "tiles[1].insight.query.events[1].filters[0].operator",
            "tiles[1].insight.query.granularity",
            "tiles[1].insight.query.time_range.from",
        },
    ),
}


@pytest.mark.parametrize(("method", "request_", "fields"), UNKNOWN_PARTS.values(), ids=UNKNOWN_PARTS)
def test_json_with_unknown_parts_is_refused_with_all_their_paths(
    apis: dict[str, Api], method: str, request_: dict[str, Any], fields: set[str]
) -> None:
    assert_refused(apis["connect-json"].send(method, json.dumps(request_).encode()), fields)


def test_json_with_a_thousand_unknown_keys_is_refused_with_some_paths(apis: dict[str, Api]) -> None:
    request = {f"key{number}": 1 for number in range(1_000)}
    reply = apis["connect-json"].send("Get", json.dumps(request).encode())
    assert reply.code == "invalid_argument"
    assert 100 <= len(reply.violations) <= 1_000
    assert set(reply.violations) <= set(request)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("number", [5, 99, -1, 2**31 - 1, -(2**31)])
def test_enum_of_unknown_number_is_refused(apis: dict[str, Api], transport: str, number: int) -> None:
    request = changed("Upsert", {f"{QUERY}.granularity": number, f"{QUERY}.aggregation": number})
    assert_refused(send(apis[transport], "Upsert", request), {f"{QUERY}.granularity", f"{QUERY}.aggregation"})
