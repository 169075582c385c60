"""What never leaves the server: the text of an unforeseen error to a caller, a secret to the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import pytest
from protobuf.wkt import Timestamp

from dashkeeper.auth import Authenticator
from dashkeeper.config import load_settings
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetResponse
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent, DashboardContentWrapper, Section
from dashkeeper.gen.registrations.v1.contents_pb import GetContentResponse
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.pipeline import Pipeline
from dashkeeper.server import Server
from tests.api import TRANSPORTS, Api
from tests.attack import MIB, SERVICE, assert_clean, field, raw_http
from tests.registrations import NEW, SEGMENTS, client, content, register, show
from tests.server import AUDIENCE, ISSUER, SECRET, RunningServer, make_token, running_server
from tests.test_tokens import BAD_TOKENS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from protobuf import DescService

    from dashkeeper.auth import Caller

HIDDEN = "zxqv-hidden"
PROJECT = "leaks"


class BrokenService:
    """A service that fails in ways nobody foresaw, with a secret in what it raises."""

    def __getattr__(self, method: str) -> Any:
        async def fail(_request: Any, _ctx: Any) -> NoReturn:
            raise RuntimeError(f"no such table: {HIDDEN}")

        return fail

    async def get(self, request: Any, ctx: Any) -> GetResponse:
        """Answer what can't be encoded: in binary for the one id, in JSON for the other."""
        if request.id == "text":
            return GetResponse(dashboard=Dashboard(id="a", name=f"{HIDDEN}\ud800"))
        return GetResponse(dashboard=Dashboard(id=HIDDEN, created_at=Timestamp(seconds=2**62)))

    async def get_content(self, _request: Any, _ctx: Any) -> GetContentResponse:
        """Answer a content that can't be encoded."""
        content = DashboardContent(sections=[Section(title=f"{HIDDEN}\ud800")])
        return GetContentResponse(content_wrapper=DashboardContentWrapper(id="a", content=content))


@contextlib.asynccontextmanager
async def broken_server(folder: Path) -> AsyncGenerator[Server]:
    """Run the real server on real sockets, with services that fail."""
    settings = load_settings(
        database_url=f"sqlite:///{folder}/a.db",
        http_address="127.0.0.1:0",
        grpc_address="127.0.0.1:0",
        jwt_secret=SECRET,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    server = Server(settings)
    await server.prepare_database()

    def acting_for(_: Caller) -> BrokenService:
        return BrokenService()

    broken = [replace(service, acting_for=acting_for) for service in server.pipeline.services]
    authenticator = Authenticator(*settings.token_rules())
    server.pipeline = Pipeline(authenticator, broken, max_request_bytes=settings.max_request_bytes)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


DASHBOARDS, REGISTRATIONS = DashboardsService.desc(), RegistrationsService.desc()
FAULTS: dict[str, tuple[DescService, str, dict[str, Any], tuple[str, ...]]] = {
    "raised-by-a-read": (DASHBOARDS, "List", {}, TRANSPORTS),
    "raised-by-a-write": (DASHBOARDS, "Upsert", {"dashboardId": "a"}, TRANSPORTS),
    "not-to-be-encoded": (DASHBOARDS, "Get", {"id": "text"}, TRANSPORTS),
    "not-to-be-encoded-as-json": (DASHBOARDS, "Get", {"id": "time"}, ("connect-json",)),
    "raised-by-a-read-of-registrations": (REGISTRATIONS, "List", {"organisationId": "a"}, TRANSPORTS),
    "raised-by-a-write-of-a-registration": (REGISTRATIONS, "Create", NEW, TRANSPORTS),
    "raised-by-a-write-of-a-content": (
        REGISTRATIONS,
        "UpdateContent",
        {"id": "a", "content": content()},
        TRANSPORTS,
    ),
    "content-not-to-be-encoded": (REGISTRATIONS, "GetContent", {"id": "a"}, TRANSPORTS),
}


@pytest.mark.parametrize(("service", "method", "request_", "transports"), FAULTS.values(), ids=FAULTS)
async def test_unforeseen_error_reaches_the_log_and_no_caller(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    service: DescService,
    method: str,
    request_: dict[str, Any],
    transports: tuple[str, ...],
) -> None:
    async with broken_server(tmp_path) as server:
        no_process: Any = None
        running = RunningServer(
            no_process, tmp_path, f"http://{server.http_address}", str(server.grpc_address), ""
        )
        for transport in transports:
            caplog.clear()
            api = Api(running, transport, make_token(PROJECT), PROJECT, service)
            reply = await asyncio.to_thread(api.call, method, request_, x_request_id=f"id-{transport}")
            api.close()
            assert (reply.code, reply.reason, reply.message) == ("internal", "INTERNAL", "internal error")
            assert reply.request_id == f"id-{transport}"
            assert HIDDEN not in repr(reply)
            assert_clean(repr(reply))
            (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert f"id-{transport}" in record.getMessage()
            assert record.exc_info is not None
            assert record.name == "dashkeeper.pipeline"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, list[str]]]:
    """A server whose tables are gone, and what they were called."""
    with running_server(tmp_path_factory.mktemp("broken")) as running:
        with contextlib.closing(sqlite3.connect(running.database_path)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            tables = [str(name) for (name,) in found]
            connection.execute("PRAGMA foreign_keys = OFF")
            for name in tables:
                if not name.startswith("sqlite_"):
                    connection.execute(f'ALTER TABLE "{name}" RENAME TO "gone_{name}"')
            connection.commit()
        yield running, tables


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_fault_of_the_database_tells_no_sql(broken: tuple[RunningServer, list[str]], transport: str) -> None:
    running, tables = broken
    api = Api(running, transport, make_token(PROJECT), PROJECT)
    registrations = client(running, PROJECT, transport)
    calls: list[tuple[Api, str, dict[str, Any]]] = [
        (api, "List", {}),
        (api, "Get", {"id": "a"}),
        (api, "Create", {"name": "a"}),
        (api, "Delete", {"id": "a"}),
        (registrations, "List", {"organisationId": "a", "includeContent": True}),
        (registrations, "Get", {"id": "a"}),
        (registrations, "Create", NEW),
        (registrations, "Delete", {"id": "a"}),
        (registrations, "GetContent", {"id": "a"}),
        (registrations, "UpdateContent", {"id": "a", "content": content()}),
    ]
    for service, method, request in calls:
        reply = service.call(method, request)
        assert reply.code in {"internal", "unavailable"}
        assert_clean(repr(reply))
        assert not any(name in repr(reply) for name in tables if name not in {"dashboards", "history"})
        assert "no such table" not in repr(reply)
    api.close()
    registrations.close()


UNDECODED = {"garbage": b"\xff\xff", "too-large": field(1, b"a" * (4 * MIB + 1)), "tiles": b"\x12\0" * MIB}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("body", UNDECODED.values(), ids=UNDECODED)
def test_body_of_an_unknown_caller_is_not_decoded(
    sqlite_server: RunningServer, transport: str, body: bytes
) -> None:
    api = Api(sqlite_server, transport, make_token(PROJECT, exp=1), PROJECT)
    assert api.send("Upsert", body).code == "unauthenticated"
    assert api.send("Upsert", body, authorization=f"Bearer {make_token('other')}").code == "permission_denied"
    assert (
        api.send("Upsert", body, authorization=f"Bearer {make_token('*')}", x_project_id="-").reason
        == "INVALID_PROJECT_ID"
    )
    api.close()


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/proto", "application/grpc-web+proto"]
)
@pytest.mark.parametrize("encoding", ["identity", "gzip", "unknown"])
def test_body_of_an_unknown_caller_is_not_even_read(
    sqlite_server: RunningServer, content_type: str, encoding: str
) -> None:
    head = (
        f"POST {SERVICE}/Create HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n"
        f"content-encoding: {encoding}\r\ngrpc-encoding: {encoding}\r\n"
        "connection: close\r\ncontent-length: 4000000\r\n\r\n"
    )
    answer = raw_http(sqlite_server, head.encode())  # and no byte of a body
    is_grpc = content_type.startswith("application/grpc")
    assert answer.startswith(b"HTTP/1.1 200 " if is_grpc else b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in answer
    assert b"grpc-status: 16" in answer or not is_grpc


REQUEST_ID = re.compile(r"[0-9a-f]{32}")
GOOD_IDS = ["a", "A.b_c-9", "x" * 128, "-", "0123456789abcdef"]
BAD_IDS = [None, "", "x" * 129, "a b", "a/b", 'a"b', "a;b", "{}", "a,b", "%0a", "a\tb"]


SENT_IDS = [
    (transport, given)
    for transport in TRANSPORTS
    for given in GOOD_IDS + BAD_IDS
    if (transport, given) != ("grpc", "a\tb")  # which no gRPC client sends
]


@pytest.mark.parametrize(("transport", "given"), SENT_IDS)
def test_request_id_is_taken_over_where_it_is_well_formed_and_always_echoed(
    sqlite_server: RunningServer, transport: str, given: str | None
) -> None:
    api = Api(sqlite_server, transport, make_token(PROJECT), PROJECT)
    calls: list[tuple[str, dict[str, Any], dict[str, str | None]]] = [
        ("List", {}, {}),
        ("Get", {"id": "none"}, {}),
        ("Get", {"id": "-"}, {}),
        ("List", {}, {"authorization": None}),
        ("List", {}, {"x_project_id": "other"}),
        ("List", {}, {"x_project_id": None}),
    ]
    made: set[str] = set()
    for method, request, headers in calls:
        reply = api.call(method, request, x_request_id=given, **headers)
        echoed = reply.headers["x-request-id"]
        assert reply.request_id == ("" if reply.code == "ok" else echoed)
        if given in GOOD_IDS:
            assert echoed == given
        else:
            assert REQUEST_ID.fullmatch(echoed)
            made.add(echoed)
    assert len(made) in {0, len(calls)}, "each call has an id of its own"
    api.close()


FIELDS = {"time", "level", "request_id", "method", "protocol", "project", "subject", "code", "duration_ms"}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[str], str]:
    """Return a server's log as records and as text, and the tokens it was sent, after all kinds of calls."""
    with running_server(tmp_path_factory.mktemp("logged"), LOG_LEVEL="debug") as running:
        tokens = [make_token(PROJECT, subject="reader"), *(make() for make in BAD_TOKENS.values())]
        for transport in TRANSPORTS:
            api = Api(running, transport, tokens[0], PROJECT)
            tile: dict[str, Any] = {"type": "TILE_TYPE_MARKDOWN", "position": {"w": 1, "h": 1}}
            tile |= {"title": HIDDEN, "markdown": {"content": HIDDEN}}
            request = {"dashboardId": "a", "allowMissing": True, "name": HIDDEN, "tiles": [tile]}
            changes: list[dict[str, Any]] = [{}, {"name": f"{HIDDEN}\n"}, {"tiles": [{"id": HIDDEN}]}]
            for number, change in enumerate(changes):
                api.call("Upsert", request | change, x_request_id=f"{transport}-{number}")
            api.send("Upsert", b'{"hidden' + HIDDEN.encode(), x_request_id=f"{transport}-3")
            api.call("Get", {"id": "none"}, x_request_id=f"{transport}-4", x_project_id="other")
            for token in tokens[1:]:
                with contextlib.suppress(httpx.LocalProtocolError):
                    api.call("List", authorization=f"Bearer {token}", x_request_id=f"{transport}-5")
            api.close()
            registrations = client(running, PROJECT, transport)
            fields = {"scopes": [SEGMENTS], "segmentIds": [HIDDEN]}
            made = register(registrations, title=HIDDEN, **fields)["id"]
            registrations.call("Create", NEW | fields | {"scopes": [], "title": f"{HIDDEN}\n"})
            show(registrations, made, HIDDEN)
            dataset = {"other": {"type": HIDDEN, "json": f'{{"{HIDDEN}": 1, "{HIDDEN}": 2}}'}}
            chart = {"title": HIDDEN, "type": "CHART_TYPE_METRIC", "dataset": dataset}
            broken = {"sections": [{"title": HIDDEN, "cards": [{"w": 99, "charts": [chart]}]}]}
            assert registrations.call("UpdateContent", {"id": made, "content": broken}).violations
            registrations.send("UpdateContent", b'{"hidden' + HIDDEN.encode())
            registrations.call("List", {"organisationId": "org", "titleContains": HIDDEN})
            registrations.close()
    # Read once it has stopped: a call's line may come just after its answer.
    return running.log_records(), tokens, (running.folder / "log").read_text(encoding="utf-8")


def test_log_has_one_line_a_call_with_its_fields(
    logged: tuple[list[dict[str, Any]], list[str], str],
) -> None:
    records = [record for record in logged[0] if "duration_ms" in record]
    for transport in TRANSPORTS:
        of_id = [[it for it in records if it["request_id"] == f"{transport}-{number}"] for number in range(6)]
        assert [len(lines) for lines in of_id] == [1, 1, 1, 1, 1, len(BAD_TOKENS)]
        codes = [lines[0]["code"] for lines in of_id]
        assert codes == ["ok", *["invalid_argument"] * 3, "permission_denied", "unauthenticated"]
        for (line, *_), is_known in zip(of_id, [True] * 4 + [False] * 2, strict=True):
            assert set(line) >= FIELDS
            assert line["protocol"] == transport.partition("-json")[0].partition("-proto")[0]
            assert line["method"].startswith(f"{SERVICE}/")
            assert line["duration_ms"] >= 0
            expected = (PROJECT, "reader") if is_known else ("", "")
            assert (line["project"], line["subject"]) == expected


def test_log_says_which_check_a_token_failed(logged: tuple[list[dict[str, Any]], list[str], str]) -> None:
    reasons = {record["refusal"] for record in logged[0] if "refusal" in record}
    assert len(reasons) >= 10


def test_log_holds_no_token_no_secret_and_no_content(
    logged: tuple[list[dict[str, Any]], list[str], str],
) -> None:
    _, tokens, text = logged
    for token in tokens:
        head, _, rest = token.partition(".")
        assert token not in text or token in {"garbage", "..", "a.b.c.d.e"}
        assert len(rest) < 20 or rest not in text
        assert len(head) < 20 or head not in text
    assert SECRET not in text
    assert HIDDEN not in text
    assert "Traceback" not in text


def test_grpc_header_that_is_not_text_is_not_logged(tmp_path: Path) -> None:
    with running_server(tmp_path) as running:
        headers = {
            b":method": b"POST",
            b":scheme": b"http",
            b":path": f"{SERVICE}/List".encode(),
            b":authority": b"a",
            b"te": b"trailers",
            b"content-type": b"application/grpc",
            b"authorization": f"Bearer {HIDDEN}".encode() + b"\xff",
        }
        block = b"".join(
            b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in headers.items()
        )
        frames = [(4, 0, 0, b""), (1, 4, 1, block), (0, 1, 1, b"\0\0\0\0\0")]  # RFC 9113 §4.1
        sent = b"".join(
            len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
            for kind, flags, stream, content in frames
        )
        host, _, port = running.grpc.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + sent)
            answer = b""
            while b"grpc-status" not in answer:
                chunk = connection.recv(65_536)
                assert chunk, answer
                answer += chunk
        text = (running.folder / "log").read_text(encoding="utf-8")
    assert HIDDEN not in text
    assert "Traceback" not in text
