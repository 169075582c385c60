"""What is refused before there is a call: with a request id, in the protocol's form, and in the log."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from dashkeeper.gen.google.rpc.error_details_pb import ErrorInfo, RequestInfo
from dashkeeper.gen.google.rpc.status_pb import Status
from dashkeeper.gen.grpc.health.v1.health_pb import HealthCheckRequest
from tests.api import connect_error
from tests.attack import SERVICE, bearer, grpc_web
from tests.http2 import call_grpc
from tests.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

JSON = {"content-type": "application/json"}
WEB = {"content-type": "application/grpc-web+proto"}
ORIGIN = "https://app.example"
FRAME = b"\0\0\0\0\0"


@pytest.fixture
def request_id() -> str:
    return f"mine.{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def cors_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("refusals"), CORS_ORIGINS=ORIGIN) as running:
        yield running


REASONS = {
    400: ("invalid_argument", "INVALID_REQUEST"),
    404: ("unimplemented", "PATH_NOT_FOUND"),
    405: ("unimplemented", "METHOD_NOT_ALLOWED"),
    415: ("invalid_argument", "UNSUPPORTED_MEDIA_TYPE"),
    501: ("unimplemented", "UNIMPLEMENTED"),
}
GET = f"{SERVICE}/Get"
BY_GET = f"{GET}?encoding=json&message=%7B%7D"
OVER_HTTP: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "unknown-path": ("GET", "/nope", {}, 404, "http"),
    "unknown-path-post": ("POST", "/nope", JSON, 404, "http"),
    "unknown-method": ("POST", f"{SERVICE}/Nope", JSON, 404, "http"),
    "unknown-service": ("POST", "/a.B/Get", WEB, 404, "http"),
    "put": ("PUT", GET, JSON, 405, "connect"),
    "options": ("OPTIONS", GET, {}, 405, "connect"),
    "get-of-a-write": ("GET", f"{SERVICE}/Create?encoding=json&message=%7B%7D", {}, 405, "connect"),
    "get-of-grpc-web": ("GET", BY_GET, WEB, 405, "connect"),
    "post-of-health": ("POST", "/healthz", {}, 405, "http"),
    "post-of-readiness": ("POST", "/readyz", {}, 405, "http"),
    "delete-of-descriptors": ("DELETE", "/descriptors.binpb", {}, 405, "http"),
    "no-content-type": ("POST", GET, {}, 415, "connect"),
    "text": ("POST", GET, {"content-type": "text/plain"}, 415, "connect"),
    "latin-1": ("POST", GET, {"content-type": "application/json; charset=latin-1"}, 415, "connect"),
    "grpc": ("POST", GET, {"content-type": "application/grpc"}, 415, "connect"),
    "grpc-web-text": ("POST", GET, {"content-type": "application/grpc-web-text"}, 415, "connect"),
    "encoding": ("GET", f"{GET}?encoding=xml&message=x", {}, 415, "connect"),
    "timeout": ("POST", GET, {**JSON, "connect-timeout-ms": "soon"}, 400, "connect"),
    "timeout-too-long": ("POST", GET, {**JSON, "connect-timeout-ms": "12345678901"}, 400, "connect"),
    "timeout-of-a-get": ("GET", BY_GET, {"connect-timeout-ms": "-1"}, 400, "connect"),
    "protocol-version": ("POST", GET, {**JSON, "connect-protocol-version": "2"}, 400, "connect"),
    "compression": ("POST", GET, {**JSON, "content-encoding": "br"}, 501, "connect"),
}
"""Method, path, headers; status, and protocol in the log."""


@pytest.mark.parametrize("call", OVER_HTTP.values(), ids=OVER_HTTP)
def test_refusal_over_http_has_the_caller_s_request_id_details_and_a_log_line(
    sqlite_server: RunningServer, request_id: str, call: tuple[str, str, dict[str, str], int, str]
) -> None:
    method, path, headers, status, protocol = call
    sent = {**bearer(), **headers, "x-request-id": request_id}
    answer = httpx.request(method, f"{sqlite_server.http}{path}", headers=sent, content=b"{}")
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, request_id)
    assert answer.headers["content-type"] == "application/json"
    reply = connect_error(answer.content, dict(answer.headers))
    assert (reply.code, reply.reason, reply.request_id) == (*REASONS[status], request_id)
    line = sqlite_server.logged_call(request_id)
    assert (line["code"], line["protocol"], line["method"]) == (reply.code, protocol, path.partition("?")[0])


OVER_REST: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "unknown-path": ("GET", "/v1/nope", {}, 404, "PATH_NOT_FOUND"),
    "unknown-path-post": ("POST", "/v1/nope", JSON, 404, "PATH_NOT_FOUND"),
    "unknown-path-options": ("OPTIONS", "/v1", {}, 404, "PATH_NOT_FOUND"),
    "not-an-id": ("GET", "/v1/dashboards/a.b", {}, 404, "PATH_NOT_FOUND"),
    "patch": ("PATCH", "/v1/dashboards/a", JSON, 405, "METHOD_NOT_ALLOWED"),
    "post-of-the-description": ("POST", "/v1/openapi.json", JSON, 405, "METHOD_NOT_ALLOWED"),
    "no-content-type": ("POST", "/v1/dashboards", {}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "compression": (
        "POST",
        "/v1/dashboards",
        {**JSON, "content-encoding": "br"},
        415,
        "UNSUPPORTED_CONTENT_ENCODING",
    ),
}
"""Method, path, headers; status and reason."""


@pytest.mark.parametrize("call", OVER_REST.values(), ids=OVER_REST)
def test_refusal_over_rest_has_the_caller_s_request_id_and_a_log_line(
    sqlite_server: RunningServer, request_id: str, call: tuple[str, str, dict[str, str], int, str]
) -> None:
    method, path, headers, status, reason = call
    sent = {**bearer(), **headers, "x-request-id": request_id}
    answer = httpx.request(method, f"{sqlite_server.http}{path}", headers=sent)
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, request_id)
    error = answer.json()
    assert (error["status"], error["error_id"], error["reason"]) == ("error", request_id, reason)
    line = sqlite_server.logged_call(request_id)
    assert (line["protocol"], line["code"].upper()) == ("rest", error["error_code"])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/descriptors.binpb", "/v1/openapi.json"])
def test_what_anybody_may_read_has_a_request_id_and_no_log_line(
    sqlite_server: RunningServer, request_id: str, path: str
) -> None:
    headers = {"x-request-id": request_id}
    answer = httpx.get(f"{sqlite_server.http}{path}", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, request_id)
    after = f"{request_id}.after"
    httpx.get(f"{sqlite_server.http}/nope", headers={"x-request-id": after})
    sqlite_server.logged_call(after)
    assert [line for line in sqlite_server.log_records() if line.get("request_id") == request_id] == []


@pytest.mark.parametrize("given", ["not one", "x" * 129, "a\tb"])
def test_refusal_with_a_malformed_request_id_gets_another(sqlite_server: RunningServer, given: str) -> None:
    answer = httpx.get(f"{sqlite_server.http}/nope", headers={"x-request-id": given})
    made = answer.headers["x-request-id"]
    assert made not in {given, ""}
    assert sqlite_server.logged_call(made)["code"] == "unimplemented"


def test_path_of_a_refusal_is_cut_in_the_log(sqlite_server: RunningServer, request_id: str) -> None:
    httpx.get(f"{sqlite_server.http}/{'a' * 10_000}", headers={"x-request-id": request_id})
    assert len(sqlite_server.logged_call(request_id)["method"]) == 200


def test_problem_of_the_head_is_told_after_the_caller_is_known(sqlite_server: RunningServer) -> None:
    sent = {**JSON, "connect-timeout-ms": "soon"}
    answer = httpx.post(f"{sqlite_server.http}{SERVICE}/Get", headers=sent, content=b"{}")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("header", "values"),
    [("connect-timeout-ms", ("1000", "2000")), ("connect-protocol-version", ("1", "1"))],
)
def test_header_of_the_protocol_that_is_sent_twice_is_refused(
    sqlite_server: RunningServer, header: str, values: tuple[str, str]
) -> None:
    sent = [*({**bearer(), **JSON}).items(), *((header, value) for value in values)]
    answer = httpx.post(f"{sqlite_server.http}{SERVICE}/Get", headers=sent, content=b"{}")
    reply = connect_error(answer.content, dict(answer.headers))
    assert (reply.code, [*reply.violations]) == ("invalid_argument", [header])


def assert_status(trailers: dict[str, str], request_id: str, code: str, reason: str) -> None:
    """Find the status, its details and the request id in what a gRPC or gRPC-Web call answered."""
    assert (trailers["grpc-status"], trailers["x-request-id"]) == (code, request_id)
    details = trailers["grpc-status-details-bin"]
    status = Status.from_binary(base64.b64decode(details + "=" * (-len(details) % 4)))
    found = {detail.type_url.rpartition("/")[2]: detail.value for detail in status.details}
    assert ErrorInfo.from_binary(found["google.rpc.ErrorInfo"]).reason == reason
    assert RequestInfo.from_binary(found["google.rpc.RequestInfo"]).request_id == request_id


@pytest.mark.parametrize(
    ("headers", "code", "reason"),
    [
        ({"grpc-timeout": "soon"}, "3", "INVALID_REQUEST"),
        ({"grpc-timeout": "123456789S"}, "3", "INVALID_REQUEST"),
        ({"grpc-encoding": "snappy"}, "12", "UNIMPLEMENTED"),
        ({"grpc-encoding": "br"}, "12", "UNIMPLEMENTED"),
    ],
)
def test_refusal_of_grpc_web_has_a_status_request_id_and_a_log_line(
    sqlite_server: RunningServer, request_id: str, headers: dict[str, str], code: str, reason: str
) -> None:
    trailers = grpc_web(sqlite_server, FRAME, {**headers, "x-request-id": request_id})
    assert_status(trailers, request_id, code, reason)
    assert trailers["grpc-accept-encoding"] == "identity, gzip"
    assert sqlite_server.logged_call(request_id)["protocol"] == "grpc-web"


UNKNOWN = {
    "path": "/x",
    "method": f"{SERVICE}/Nope",
    "service": "/a.b.C/Get",
    "encoded-slash": "/dashboards.v1.DashboardsService%2FList",
    "encoded-letter": f"{SERVICE}/%4Cist",
    "trailing-slash": f"{SERVICE}/List/",
    "query": f"{SERVICE}/List?a=b",
    "two-slashes": f"/{SERVICE}/List",
    "method-of-health": "/grpc.health.v1.Health/Nope",
    "method-of-reflection": "/grpc.reflection.v1.ServerReflection/Nope",
}


@pytest.mark.parametrize("path", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("body", [FRAME, b"", FRAME * 3, b"\0\0\0"], ids=["one", "none", "three", "broken"])
def test_grpc_call_of_what_is_not_there_is_unimplemented_with_a_request_id_and_a_log_line(
    sqlite_server: RunningServer, request_id: str, path: str, body: bytes
) -> None:
    trailers = call_grpc(sqlite_server, path, {**bearer(), "x-request-id": request_id}, body)
    assert_status(trailers, request_id, "12", "PATH_NOT_FOUND")
    line = sqlite_server.logged_call(request_id)
    assert (line["code"], line["protocol"], line["method"]) == ("unimplemented", "grpc", path)


@pytest.mark.parametrize(
    ("method", "body", "code", "reason"),
    [
        ("Check", HealthCheckRequest(service="nope").to_binary(), "not_found", "UNKNOWN_SERVICE"),
        ("Check", b"\xff", "invalid_argument", "MALFORMED_REQUEST"),
        ("Watch", b"\xff", "invalid_argument", "MALFORMED_REQUEST"),
        ("List", b"\xff", "invalid_argument", "MALFORMED_REQUEST"),
    ],
)
def test_refusal_of_health_has_a_request_id_and_a_log_line(
    sqlite_server: RunningServer, request_id: str, method: str, body: bytes, code: str, reason: str
) -> None:
    path = f"/grpc.health.v1.Health/{method}"
    framed = b"\0" + len(body).to_bytes(4, "big") + body
    trailers = call_grpc(sqlite_server, path, {"x-request-id": request_id}, framed)
    number = {"not_found": grpc.StatusCode.NOT_FOUND, "invalid_argument": grpc.StatusCode.INVALID_ARGUMENT}
    assert_status(trailers, request_id, str(number[code].value[0]), reason)
    line = sqlite_server.logged_call(request_id)
    assert (line["code"], line["protocol"], line["method"]) == (code, "grpc", path)


def test_refused_preflight_has_a_request_id_and_a_log_line(
    cors_server: RunningServer, request_id: str
) -> None:
    headers = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "x-request-id": request_id,
    }
    answer = httpx.options(f"{cors_server.http}{SERVICE}/Get", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (400, request_id)
    assert cors_server.logged_call(request_id)["code"] == "invalid_argument"


def test_preflight_allows_the_headers_of_traces(cors_server: RunningServer) -> None:
    names = ["traceparent", "tracestate", "baggage", "sentry-trace"]
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": ", ".join(names),
    }
    for path in (f"{SERVICE}/Get", "/v1/dashboards"):
        answer = httpx.options(f"{cors_server.http}{path}", headers=headers)
        assert answer.status_code == 200
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert [name for name in names if name not in allowed] == []


def test_refusal_can_be_read_by_a_page_of_an_allowed_origin(cors_server: RunningServer) -> None:
    answer = httpx.post(f"{cors_server.http}/nope", headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, ORIGIN)
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
