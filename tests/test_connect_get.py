"""Reads by HTTP GET, as Connect serves methods without side effects; and what caches are told."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import httpx
import pytest

from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, GetResponse, ListRequest, ListResponse
from tests.api import connect_error
from tests.tiles import Json, markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Api
    from tests.server import RunningServer

REQUESTS = {"Get": GetRequest, "List": ListRequest}
ANSWERS = {"Get": GetResponse, "List": ListResponse}


def make(api: Api) -> None:
    api.call("Create", {"name": "Größe & Co. + 100%", "dashboardId": "a", "tiles": [markdown("one")]})


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as client:
        yield client


def get(
    http: httpx.Client, api: Api, method: str, request: Json, encoding: str = "json", **headers: str | None
) -> httpx.Response:
    """Read by GET; a header given as None is left out."""
    text = json.dumps(request)
    params = {"connect": "v1", "encoding": encoding, "message": text}
    if encoding == "proto":
        binary = REQUESTS[method].from_json(text).to_binary()
        params |= {"base64": "1", "message": urlsafe_b64encode(binary).decode().rstrip("=")}
    merged = {name: value for name, value in (api.headers | headers).items() if value is not None}
    return http.get(f"/dashboards.v1.DashboardsService/{method}", params=params, headers=merged)


def assert_private(response: httpx.Response) -> None:
    assert response.headers["cache-control"] == "private, no-cache"
    vary = {name.strip().lower() for name in response.headers["vary"].split(",")}
    assert vary >= {"authorization", "x-project-id", "origin", "accept-encoding"}


@pytest.mark.parametrize("encoding", ["json", "proto"])
@pytest.mark.parametrize(
    ("method", "request_"),
    [("Get", {"id": "a"}), ("List", {"nameContains": "größe & co. + 100%"}), ("List", {})],
)
def test_get_answers_what_post_answers(
    http: httpx.Client, one_api: Api, method: str, request_: Json, encoding: str
) -> None:
    make(one_api)
    response = get(http, one_api, method, request_, encoding)
    assert (response.status_code, response.headers["content-type"]) == (200, f"application/{encoding}")
    body = response.content
    if encoding == "proto":
        body = ANSWERS[method].from_binary(body).to_json()
    expected = one_api.call(method, request_).body
    assert json.loads(body) == expected
    assert expected, "found nothing"
    assert_private(response)


def test_get_of_an_answer_that_is_compressed_tells_caches_the_same(http: httpx.Client, one_api: Api) -> None:
    make(one_api)
    tiles = [markdown(f"t{number}", "text " * 1_000) for number in range(10)]
    one_api.call("Upsert", {"dashboardId": "a", "tiles": tiles})
    response = get(http, one_api, "Get", {"id": "a"}, **{"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["dashboard"]["tileCount"] == 10
    assert_private(response)


@pytest.mark.parametrize(
    ("method", "request_", "headers", "status", "code"),
    [
        ("Get", {"id": "nope"}, {}, 404, "not_found"),
        ("Get", {"id": "-"}, {}, 400, "invalid_argument"),
        ("Get", {"unknown": 1}, {}, 400, "invalid_argument"),
        ("List", {"pageSize": -1}, {}, 400, "invalid_argument"),
        ("Get", {"id": "a"}, {"authorization": None}, 401, "unauthenticated"),
        ("Get", {"id": "a"}, {"x-project-id": "another"}, 403, "permission_denied"),
        ("Get", {"id": "a"}, {"x-project-id": None}, 400, "invalid_argument"),
    ],
)
def test_get_that_fails_tells_caches_the_same(
    http: httpx.Client, one_api: Api, method: str, request_: Json, headers: Json, status: int, code: str
) -> None:
    make(one_api)
    response = get(http, one_api, method, request_, **headers)
    assert response.status_code == status
    reply = connect_error(response.content, dict(response.headers))
    assert (reply.code, bool(reply.reason), reply.request_id) == (
        code,
        True,
        response.headers["x-request-id"],
    )
    assert_private(response)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Create", {"name": "B", "dashboardId": "b"}),
        ("Update", {"id": "a", "name": "B"}),
        ("Upsert", {"dashboardId": "a"}),
        ("Delete", {"id": "a"}),
        ("Undelete", {"id": "a"}),
    ],
)
def test_writes_are_not_served_by_get(http: httpx.Client, one_api: Api, method: str, request_: Json) -> None:
    make(one_api)
    before = one_api.call("List").body
    response = get(http, one_api, method, request_)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert one_api.call("List").body == before
