"""What is served without a token: health, readiness, reflection, the descriptor set, CORS preflights."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from protobuf.wkt import FileDescriptorSet

from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.grpc.health.v1.health_pb import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListResponse,
)
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.store.migrations import SCHEMA
from tests.clients import SERVICE, Program
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer

Status = HealthCheckResponse.ServingStatus
REGISTRATIONS = "registrations.v1.RegistrationsService"
HEALTH = "/grpc.health.v1.Health"
ORIGIN = "https://app.example"


@pytest.fixture
def channel(sqlite_server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(sqlite_server.grpc) as opened:
        yield opened


def check(channel: grpc.Channel, service: str) -> Status:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{HEALTH}/Check")
    request = HealthCheckRequest(service=service)
    return HealthCheckResponse.from_binary(call(request.to_binary(), timeout=30)).status


@pytest.mark.parametrize("service", ["", SERVICE, REGISTRATIONS])
def test_health_check_of_a_served_service_is_serving(channel: grpc.Channel, service: str) -> None:
    assert check(channel, service) is Status.SERVING


@pytest.mark.parametrize("service", ["nope", "dashboards", SERVICE.lower()])
def test_health_check_of_another_service_is_not_found(channel: grpc.Channel, service: str) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        check(channel, service)
    assert isinstance(refusal.value, grpc.Call)
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_list_names_every_service(channel: grpc.Channel) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{HEALTH}/List")
    statuses = HealthListResponse.from_binary(call(b"", timeout=30)).statuses
    assert {name: response.status for name, response in statuses.items()} == {
        "": Status.SERVING,
        SERVICE: Status.SERVING,
        REGISTRATIONS: Status.SERVING,
    }


@pytest.mark.parametrize(
    ("service", "status"),
    [("", Status.SERVING), (SERVICE, Status.SERVING), ("nope", Status.SERVICE_UNKNOWN)],
)
def test_health_watch_tells_the_status_and_stays_open(
    channel: grpc.Channel, service: str, status: Status
) -> None:
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"{HEALTH}/Watch")
    stream = call(HealthCheckRequest(service=service).to_binary(), timeout=60)
    assert HealthCheckResponse.from_binary(next(stream)).status is status
    threading.Timer(1, stream.cancel).start()
    with pytest.raises(grpc.RpcError):
        next(stream)
    assert stream.code() is grpc.StatusCode.CANCELLED, "it ended by itself"


def test_server_is_not_ready_while_the_schema_is_another(tmp_path: Path) -> None:
    def set_schema(version: str) -> None:
        with closing(sqlite3.connect(server.database_path, timeout=10)) as conn, conn:
            conn.execute("UPDATE alembic_version SET version_num = ?", (version,))

    with running_server(tmp_path) as server, grpc.insecure_channel(server.grpc) as channel:
        set_schema("9999")
        assert httpx.get(f"{server.http}/healthz").status_code == 200
        ready = httpx.get(f"{server.http}/readyz")
        assert (ready.status_code, "9999" in ready.text) == (503, True)
        assert [check(channel, ""), check(channel, SERVICE)] == [Status.NOT_SERVING] * 2
        set_schema(SCHEMA)
        assert httpx.get(f"{server.http}/readyz").status_code == 200
        assert [check(channel, ""), check(channel, SERVICE)] == [Status.SERVING] * 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_over_http_of_a_ready_server_is_ok(sqlite_server: RunningServer, path: str) -> None:
    response = httpx.get(f"{sqlite_server.http}{path}")
    assert (response.status_code, response.text) == (200, "ok\n")


SERVED = {
    SERVICE,
    REGISTRATIONS,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_reflection_lists_the_services_and_their_methods(sqlite_server: RunningServer, version: str) -> None:
    buf = Program(
        ["buf", "curl", "--protocol=grpc", "--http2-prior-knowledge", f"--reflect-protocol={version}"], {}
    )
    services = buf.run("--list-services", f"http://{sqlite_server.grpc}").stdout.split()
    assert set(services) == SERVED
    methods = buf.run("--list-methods", f"http://{sqlite_server.grpc}").stdout.split()
    for service, desc in (
        (SERVICE, DashboardsService.desc()),
        (REGISTRATIONS, RegistrationsService.desc()),
    ):
        own = {method.removeprefix(f"{service}/") for method in methods if method.startswith(f"{service}/")}
        assert own == {method.name for method in desc.methods}


def test_reflection_describes_messages_with_their_rules(sqlite_server: RunningServer) -> None:
    grpcurl = Program(["grpcurl", "-plaintext", sqlite_server.grpc], {})
    assert "optional int32 max_deletions = 5" in grpcurl.run("describe", "dashboards.v1.UpsertRequest").stdout
    assert "max_items:500" in grpcurl.run("describe", "dashboards.v1.UpsertRequest").stdout
    for name in ("insights.v1.InsightQuerySpec", "grpc.health.v1.Health", "buf.validate.FieldRules"):
        result = grpcurl.run("describe", name)
        assert (result.returncode, name in result.stdout) == (0, True), result.stderr


def test_reflection_switched_off_is_not_served(tmp_path: Path) -> None:
    with running_server(tmp_path, REFLECTION="false") as server:
        result = Program(["grpcurl", "-plaintext", server.grpc], {}).run("list")
        with grpc.insecure_channel(server.grpc) as channel:
            assert check(channel, "") is Status.SERVING
    assert result.returncode != 0
    assert "does not support the reflection API" in result.stderr


def test_descriptor_set_holds_the_service_and_all_it_imports_first(sqlite_server: RunningServer) -> None:
    response = httpx.get(f"{sqlite_server.http}/descriptors.binpb")
    assert response.status_code == 200
    files = FileDescriptorSet.from_binary(response.content).file
    seen: set[str] = set()
    for file in files:
        assert seen.issuperset(file.dependency), f"{file.name} stands before what it imports"
        assert file.name not in seen
        seen.add(file.name)
    assert seen >= {
        "dashboards/v1/dashboards.proto",
        "insights/v1/insight_query.proto",
        "registrations/v1/registrations.proto",
        "buf/validate/validate.proto",
        "google/protobuf/timestamp.proto",
    }
    served = [service.name for file in files for service in file.service]
    assert served == ["DashboardsService", "RegistrationsService"]


@pytest.fixture(scope="module")
def cors_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that pages of two origins may call."""
    origins = f"{ORIGIN}, http://localhost:5173"
    with running_server(tmp_path_factory.mktemp("cors"), CORS_ORIGINS=origins) as running:
        yield running


WANTED_HEADERS = [
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "x-grpc-web",
    "x-project-id",
    "x-request-id",
    "x-user-agent",
]


def preflight(server: RunningServer, origin: str, method: str = "POST") -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": ",".join(WANTED_HEADERS),
    }
    return httpx.options(f"{server.http}/{SERVICE}/Get", headers=headers)


def words(response: httpx.Response, header: str) -> set[str]:
    return {word.strip().lower() for word in response.headers.get(header, "").split(",")} - {""}


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_cors_preflight_of_an_allowed_origin_allows_the_call(
    cors_server: RunningServer, origin: str, method: str
) -> None:
    response = preflight(cors_server, origin, method)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert words(response, "access-control-allow-methods") >= {"get", "post"}
    assert words(response, "access-control-allow-headers") >= set(WANTED_HEADERS)
    assert "origin" in words(response, "vary")
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{ORIGIN}.evil.example", "http://app.example", f"{ORIGIN}:444", "null"],
)
def test_cors_preflight_of_another_origin_allows_nothing(cors_server: RunningServer, origin: str) -> None:
    response = preflight(cors_server, origin)
    assert "access-control-allow-origin" not in response.headers
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc-web+proto"])
@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example"])
@pytest.mark.parametrize("may", [True, False])
def test_cors_answers_let_allowed_pages_read_them(
    cors_server: RunningServer, content_type: str, origin: str, *, may: bool
) -> None:
    """Answers and errors alike, with the headers that Connect and gRPC-Web clients read."""
    token = make_token("p") if may else "bad"
    headers = {"authorization": f"Bearer {token}", "x-project-id": "p", "content-type": content_type}
    body = b"{}" if content_type == "application/json" else b"\0\0\0\0\0"
    response = httpx.post(
        f"{cors_server.http}/{SERVICE}/List", content=body, headers={**headers, "origin": origin}
    )
    is_json = content_type == "application/json"
    assert response.status_code == (401 if is_json and not may else 200)
    assert response.headers.get("access-control-allow-origin") == (origin if origin == ORIGIN else None)
    assert "access-control-allow-credentials" not in response.headers
    assert "origin" in words(response, "vary")
    if origin == ORIGIN:
        assert words(response, "access-control-expose-headers") >= {
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "x-request-id",
        }


def test_cors_without_origins_allows_nothing(sqlite_server: RunningServer) -> None:
    response = preflight(sqlite_server, ORIGIN)
    assert not [name for name in response.headers if name.startswith("access-control-")]
