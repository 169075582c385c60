"""A path is what was sent, byte for byte: whatever decodes or normalises to another one is not that one."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

import pytest

from tests.rest import Rest, registration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

SERVICE = "/dashboards.v1.DashboardsService"


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


class Answer(NamedTuple):
    status: int
    request_id: str | None
    content: bytes


def send(server: RunningServer, rest: Rest, method: str, path: str, body: bytes | None = None) -> Answer:
    """Send a request with its path as it stands: httpx would normalise it."""
    address = server.http.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        headers = {"authorization": rest.authorization, "x-project-id": rest.project_id}
        if body is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        assert answer.getheader("location") is None
        return Answer(answer.status, answer.getheader("x-request-id"), answer.read())


RPC_PATHS = {
    "slash": "/dashboards.v1.DashboardsService%2FList",
    "slash-in-lower-case": "/dashboards.v1.DashboardsService%2fList",
    "first-slash": "/%2Fdashboards.v1.DashboardsService/List",
    "letter-of-the-method": f"{SERVICE}/%4Cist",
    "letter-of-the-service": "/%64ashboards.v1.DashboardsService/List",
    "dot-of-the-package": "/dashboards%2Ev1.DashboardsService/List",
    "twice-encoded": f"{SERVICE}%252FList",
    "two-slashes": f"{SERVICE}//List",
    "two-slashes-first": f"/{SERVICE}/List",
    "dot-segment": f"{SERVICE}/./List",
    "two-dots": f"/x/..{SERVICE}/List",
    "encoded-dots": f"/x/%2E%2E{SERVICE}/List",
    "trailing-slash": f"{SERVICE}/List/",
    "trailing-encoded-slash": f"{SERVICE}/List%2F",
    "zero": f"{SERVICE}/List%00",
    "line-break": f"{SERVICE}/List%0A",
    "space": f"{SERVICE}/List%20",
    "parameter": f"{SERVICE}/List;a=b",
    "other-case": f"{SERVICE}/list",
    "prefix": f"/api{SERVICE}/List",
    "backslash": "/dashboards.v1.DashboardsService%5CList",
    "not-utf-8": f"{SERVICE}/List%FF",
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", RPC_PATHS.values(), ids=RPC_PATHS)
def test_path_that_is_not_an_rpc_s_byte_for_byte_is_not_found(
    sqlite_server: RunningServer, rest: Rest, path: str, method: str
) -> None:
    query = "?encoding=json&message=%7B%7D" if method == "GET" else ""
    answer = send(sqlite_server, rest, method, path + query, b"{}" if method == "POST" else None)
    assert (answer.status, json.loads(answer.content)["code"]) == (404, "unimplemented")


REST_PATHS = {
    "slash-before-content": "/v1/dashboards/ID%2Fcontent",
    "slash-before-id": "/v1/dashboards%2FID",
    "first-slash": "/v1%2Fdashboards/ID",
    "letter-of-dashboards": "/v1/%64ashboards/ID",
    "letter-of-content": "/v1/dashboards/ID/%63ontent",
    "letter-of-the-prefix": "/%761/dashboards/ID",
    "slash-in-id": "/v1/dashboards/a%2FID",
    "dot-in-id": "/v1/dashboards/ID%2E",
    "space-in-id": "/v1/dashboards/ID%20",
    "zero-in-id": "/v1/dashboards/ID%00",
    "line-break-in-id": "/v1/dashboards/ID%0A",
    "umlaut-in-id": "/v1/dashboards/%C3%BC",
    "not-utf-8-in-id": "/v1/dashboards/%FF",
    "twice-encoded-id": "/v1/dashboards/%2549D",
    "half-encoded-id": "/v1/dashboards/ID%4",
    "question-mark-in-id": "/v1/dashboards/ID%3Forganisation_id=1",
    "parameter": "/v1/dashboards/ID;a=b",
    "two-slashes": "/v1//dashboards/ID",
    "two-slashes-first": "//v1/dashboards/ID",
    "two-slashes-before-content": "/v1/dashboards/ID//content",
    "dot-segment": "/v1/./dashboards/ID",
    "dot-segment-as-id": "/v1/dashboards/./content",
    "two-dots": "/v1/dashboards/x/../ID",
    "two-dots-as-id": "/v1/dashboards/../content",
    "encoded-dots": "/v1/dashboards/%2E%2E/content",
    "trailing-slash": "/v1/dashboards/ID/",
    "trailing-slash-after-content": "/v1/dashboards/ID/content/",
    "trailing-encoded-slash": "/v1/dashboards/ID%2F",
    "trailing-slash-of-the-list": "/v1/dashboards/",
    "trailing-slash-of-the-description": "/v1/openapi.json/",
    "letter-of-the-description": "/v1/openapi%2Ejson",
    "other-case": "/V1/dashboards/ID",
}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "HEAD"])
@pytest.mark.parametrize("path", REST_PATHS.values(), ids=REST_PATHS)
def test_path_that_is_not_a_rest_route_s_is_not_found(
    sqlite_server: RunningServer, rest: Rest, path: str, method: str
) -> None:
    made = rest.create()["id"]
    body = b"{}" if method in {"PUT", "POST"} else None
    answer = send(sqlite_server, rest, method, path.replace("ID", made), body)
    assert answer.status == 404
    if method != "HEAD":
        error = json.loads(answer.content)
        if path.startswith("/v1/"):
            assert (error["status"], error["reason"]) == ("error", "PATH_NOT_FOUND")
            assert error["error_id"] == answer.request_id
        else:
            assert error["code"] == "unimplemented"
    assert rest.call("GET", f"/dashboards/{made}").status_code == 200


def test_id_that_is_percent_encoded_once_is_the_id(sqlite_server: RunningServer, rest: Rest) -> None:
    """RFC 3986 §2.3: an encoded letter, digit, `-` or `_` is the same as it is plain."""
    made = rest.create()["id"]
    encoded = "".join(f"%{ord(letter):02x}" for letter in made)
    for path in (f"/v1/dashboards/{encoded}", f"/v1/dashboards/%{ord(made[0]):02X}{made[1:]}"):
        answer = send(sqlite_server, rest, "GET", path)
        assert (answer.status, json.loads(answer.content)["data"]["id"]) == (200, made)


OPEN_PATHS = ["/healthz", "/readyz", "/descriptors.binpb", "/v1/openapi.json"]


@pytest.mark.parametrize("path", [*OPEN_PATHS, "/v1", "/v1/dashboards", f"{SERVICE}/Get", SERVICE])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_trailing_slash_is_not_found_rather_than_redirected(
    sqlite_server: RunningServer, rest: Rest, path: str, method: str
) -> None:
    assert send(sqlite_server, rest, method, f"{path}/").status == 404


@pytest.mark.parametrize(
    "path", ["/healthz%0A", "/%68ealthz", "//healthz", "/healthz/.", "/Healthz", "/", "/%2F"]
)
def test_path_that_is_nearly_that_of_health_is_not_found(
    sqlite_server: RunningServer, rest: Rest, path: str
) -> None:
    assert send(sqlite_server, rest, "GET", path).status == 404


def test_location_is_relative_so_that_a_prefix_of_a_proxy_lives(rest: Rest) -> None:
    answer = rest.call("POST", "/dashboards", registration())
    made = answer.json()["data"]["id"]
    location = answer.headers["location"]
    assert urljoin("https://proxy.test/boards/v1/dashboards", location) == (
        f"https://proxy.test/boards/v1/dashboards/{made}"
    )
    assert rest.call("GET", urljoin("/dashboards", location)).json()["data"]["id"] == made
