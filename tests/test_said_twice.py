"""JSON that says one thing twice: refused with its path, on every protocol that takes JSON."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.api import Reply, connect_error
from tests.server import make_token
from tests.tiles import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api import Api
    from tests.server import RunningServer

TWICE = "stands more than once in its object"
TILE = '"type":"TILE_TYPE_MARKDOWN","position":{"w":1,"h":1},"markdown":{"content":"a"}'
QUERY = '"events":[{"name":"a"}],"granularity":"GRANULARITY_DAY","aggregation":"AGGREGATION_COUNT"'

# The method, the body, and what is said of which path.
DASHBOARDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "key": ("Upsert", '{"dashboardId":"d","tiles":[{}],"tiles":[]}', {"tiles": TWICE}),
    "key-escaped": ("Delete", r'{"id":"d","et\u0061g":"old","etag":""}', {"etag": TWICE}),
    "key-three-times": ("Get", '{"id":"d","id":"d","id":"d"}', {"id": TWICE}),
    "equal-values": ("Get", '{"id":"d","id":"d"}', {"id": TWICE}),
    "null-first": ("Delete", '{"id":"d","etag":null,"etag":"x"}', {"etag": TWICE}),
    "null-last": ("Delete", '{"id":"d","etag":"x","etag":null}', {"etag": TWICE}),
    "spellings": (
        "Upsert",
        '{"dashboardId":"d","dashboard_id":"e"}',
        {"dashboard_id": f"{TWICE}: as dashboardId and as dashboard_id"},
    ),
    "spellings-one-escaped": (
        "Upsert",
        r'{"dashboard\u005fid":"d","dashboardId":"d"}',
        {"dashboard_id": f"{TWICE}: as dashboard_id and as dashboardId"},
    ),
    "spellings-null": (
        "Upsert",
        '{"dashboardId":"d","maxDeletions":0,"max_deletions":null}',
        {"max_deletions": f"{TWICE}: as maxDeletions and as max_deletions"},
    ),
    "tile": (
        "Upsert",
        f'{{"dashboardId":"d","tiles":[{{{TILE}}},{{{TILE},"type":"TILE_TYPE_MARKDOWN"}}]}}',
        {"tiles[1].type": TWICE},
    ),
    "position": (
        "Upsert",
        '{"dashboardId":"d","tiles":[{"position":{"x":1,"w":1,"h":1,"x":2}}]}',
        {"tiles[0].position.x": TWICE},
    ),
    "spellings-deep": (
        "Upsert",
        f'{{"dashboardId":"d","tiles":[{{"insight":{{"query":{{{QUERY},"timeRange":{{}},"time_range":{{}}}}}}}}]}}',
        {"tiles[0].insight.query.time_range": f"{TWICE}: as timeRange and as time_range"},
    ),
    "label": ("Create", '{"name":"d","labels":{"team":"a","env":"x","team":"b"}}', {'labels["team"]': TWICE}),
    "label-escaped": (
        "Create",
        r'{"name":"d","labels":{"\u0074eam":"a","team":"b"}}',
        {'labels["team"]': TWICE},
    ),
    "labels": ("List", '{"labels":{"a":"1"},"labels":{}}', {"labels": TWICE}),
    "several": (
        "Upsert",
        '{"dashboardId":"d","etag":"a","nam":1,"etag":"b","tiles":[{"id":"a","id":"b"}]}',
        {
            "etag": TWICE,
            "nam": "is not a field of dashboards.v1.UpsertRequest",
            "tiles[0].id": TWICE,
        },
    ),
}


def chart(dataset: str, more: str = "") -> str:
    return (
        f'{{"id":"r","content":{{"sections":[{{"cards":[{{"charts":[{{"dataset":{dataset}{more}}}]}}]}}]}}}}'
    )


CHART = "content.sections[0].cards[0].charts[0]"
REGISTRATIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "oneof": (
        "UpdateContent",
        chart('{"otql":{"queryId":"1","queryText":"SELECT"}}'),
        {f"{CHART}.dataset.otql.query_text": "must not stand beside query_id: leave one of them out"},
    ),
    "oneof-of-messages": (
        "UpdateContent",
        chart('{"otql":{"queryId":"1"},"other":{"type":"a"}}'),
        {f"{CHART}.dataset.other": "must not stand beside otql: leave one of them out"},
    ),
    "oneof-of-empty-messages": (
        "UpdateContent",
        chart('{"otql":{"queryId":"1"}}', ',"pieOptions":{},"bars_options":{}'),
        {f"{CHART}.bars_options": "must not stand beside pie_options: leave one of them out"},
    ),
    "oneof-of-a-default": (
        "UpdateContent",
        chart('{"otql":{"queryId":"","query_text":""}}'),
        {f"{CHART}.dataset.otql.query_text": "must not stand beside query_id: leave one of them out"},
    ),
    "oneof-below-sources": (
        "UpdateContent",
        chart('{"join":{"sources":[{"otql":{"queryId":"1"}},{"otql":{"queryText":"a","queryId":"1"}}]}}'),
        {
            f"{CHART}.dataset.join.sources[1].otql.query_id": (
                "must not stand beside query_text: leave one of them out"
            )
        },
    ),
    "spellings-in-a-oneof": (
        "UpdateContent",
        chart('{"otql":{"queryId":"1","query_id":"1"}}'),
        {f"{CHART}.dataset.otql.query_id": f"{TWICE}: as queryId and as query_id"},
    ),
}


def post(server: RunningServer, headers: dict[str, str], path: str, body: bytes) -> Reply:
    answer = httpx.post(
        f"{server.http}/{path}", content=body, headers={"content-type": "application/json", **headers}
    )
    return Reply("ok") if answer.status_code == 200 else connect_error(answer.content, {})


def grpc_web_json(server: RunningServer, headers: dict[str, str], path: str, body: bytes) -> Reply:
    answer = httpx.post(
        f"{server.http}/{path}",
        content=b"\0" + struct.pack(">I", len(body)) + body,
        headers={"content-type": "application/grpc-web+json", **headers},
    )
    trailers = dict(answer.headers)
    if "grpc-status" not in trailers:
        lines = answer.content[answer.content.index(b"grpc-status:") :].decode().splitlines()
        trailers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    codes = {"0": "ok", "3": "invalid_argument", "5": "not_found"}
    return Reply(codes[trailers["grpc-status"]], message=trailers.get("grpc-message", ""))


def get(server: RunningServer, headers: dict[str, str], path: str, body: bytes) -> Reply:
    message = base64.urlsafe_b64encode(body).decode()
    query = {"connect": "v1", "encoding": "json", "base64": "1", "message": message}
    answer = httpx.get(f"{server.http}/{path}", params=query, headers=headers)
    return Reply("ok") if answer.status_code == 200 else connect_error(answer.content, {})


CALLS: dict[str, Callable[[RunningServer, dict[str, str], str, bytes], Reply]] = {
    "connect": post,
    "grpc-web": grpc_web_json,
    "get": get,
}
READS = ("Get", "List")


@pytest.mark.parametrize("form", DASHBOARDS)
def test_what_is_said_twice_is_refused_with_its_path(
    sqlite_server: RunningServer, caller: dict[str, str], form: str
) -> None:
    method, body, said = DASHBOARDS[form]
    path = f"dashboards.v1.DashboardsService/{method}"
    for name, call in CALLS.items():
        if name == "get" and method not in READS:
            continue
        reply = call(sqlite_server, caller, path, body.encode())
        assert reply.code == "invalid_argument", name
        if name == "grpc-web":
            assert httpx.QueryParams(f"m={reply.message}")["m"].startswith(next(iter(said)))
        else:
            assert reply.violations == said, name
            assert reply.reason == "INVALID_REQUEST"


@pytest.mark.parametrize("form", REGISTRATIONS)
def test_two_of_a_oneof_are_refused_with_their_path(
    sqlite_server: RunningServer, caller: dict[str, str], form: str
) -> None:
    method, body, said = REGISTRATIONS[form]
    path = f"registrations.v1.RegistrationsService/{method}"
    reply = post(sqlite_server, caller, path, body.encode())
    assert (reply.code, reply.violations) == ("invalid_argument", said)


@pytest.mark.parametrize(
    "dataset",
    [
        '{"otql":{"queryId":"1","queryText":null}}',
        '{"otql":{"queryText":null,"query_id":"1"}}',
        '{"other":null,"otql":{"queryId":"1"},"join":null}',
    ],
)
def test_null_beside_a_member_of_a_oneof_says_nothing(
    sqlite_server: RunningServer, caller: dict[str, str], dataset: str
) -> None:
    body = chart(dataset, ',"type":"CHART_TYPE_METRIC","barsOptions":null').replace(
        '"charts"', '"w":1,"h":1,"charts"'
    )
    path = "registrations.v1.RegistrationsService/UpdateContent"
    assert post(sqlite_server, caller, path, body.encode()).code == "not_found", "nothing is wrong with it"


def test_one_key_in_several_objects_is_no_repetition(one_api: Api) -> None:
    tiles = [markdown(each) for each in ("one", "two")]
    body = {"name": "d", "dashboardId": "d", "tiles": tiles, "labels": {"name": "d", "id": "e"}}
    assert one_api.send("Create", json.dumps(body).encode()).code == "ok"
    in_names_of_fields = json.dumps({"dashboard_id": "d", "max_deletions": 0, "tiles": tiles})
    assert one_api.send("Upsert", in_names_of_fields.encode()).code == "ok"


def test_a_write_that_says_twice_writes_nothing(one_api: Api) -> None:
    created = one_api.call("Create", {"name": "d", "dashboardId": "d", "tiles": [markdown("one")]})
    tiles = json.dumps([markdown("one")])
    for method, body in [
        ("Upsert", f'{{"dashboardId":"d","tiles":{tiles},"tiles":[]}}'),
        ("Upsert", f'{{"dashboardId":"d","maxDeletions":0,"tiles":{tiles},"max_deletions":9,"tiles":[]}}'),
        ("Update", '{"id":"d","name":"e","etag":"old","etag":""}'),
        ("Delete", '{"id":"d","etag":"old","etag":""}'),
    ]:
        assert one_api.send(method, body.encode()).code == "invalid_argument"
    assert one_api.call("Get", {"id": "d"}).dashboard == created.dashboard


@pytest.fixture
def caller(project_id: str) -> dict[str, str]:
    """The headers of a caller who may do everything in the test's project."""
    return {"authorization": f"Bearer {make_token(project_id)}", "x-project-id": project_id}
