"""A clean stop, deadlines and callers that go away: while the database's write lock is held.

A call that waits for the lock is in flight for as long as a test wants. That the server has taken a
call in is known by a later call on the same connection (gRPC) or on a new one (HTTP): it was
answered, so the earlier one was read.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import signal
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from dashkeeper.gen.grpc.health.v1.health_pb import HealthCheckResponse
from tests.api import METHODS, Api
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.server import RunningServer

PROMPT_SECONDS = 10
"""Far below the 30 s that calls in flight are given, far above what a stop takes."""

Status = HealthCheckResponse.ServingStatus


@contextlib.contextmanager
def write_lock(path: Path) -> Generator[Callable[[], None]]:
    """Keep every writer of the database out, until the function given is called."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield lambda: void(conn.execute("ROLLBACK") if conn.in_transaction else None)
    finally:
        conn.close()


def void(_: object) -> None:
    """Make an expression a statement."""


class Flight:
    """Starts updates of dashboard "d" over one protocol and tells when they are in flight."""

    def __init__(self, server: RunningServer, project_id: str) -> None:
        self.server = server
        self.headers = {
            "authorization": f"Bearer {make_token(project_id)}",
            "x-project-id": project_id,
        }
        self._connections: list[http.client.HTTPConnection] = []
        self.channel: Any = grpc.insecure_channel(server.grpc)
        self.api = Api(server, "connect-json", make_token(project_id), project_id)
        assert self.api.call("Create", {"name": "before", "dashboardId": "d"}).code == "ok"

    def close(self) -> None:
        for conn in self._connections:
            conn.close()
        self.channel.close()
        self.api.close()

    def start_grpc(self, tag: str, timeout: float | None = None) -> Any:
        """Send an update; return its future once the server has it."""
        request = METHODS["Update"].input.type.from_json(json.dumps(update(tag)))
        method = self.channel.unary_unary("/dashboards.v1.DashboardsService/Update")
        metadata = tuple((self.headers | {"x-request-id": tag}).items())
        future = method.future(request.to_binary(), metadata=metadata, timeout=timeout)
        self.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        return future

    def start_connect(self, tag: str, timeout: float | None = None) -> http.client.HTTPConnection:
        """Send an update; return its connection once the server has it."""
        headers = self.headers | {"content-type": "application/json", "x-request-id": tag}
        if timeout is not None:
            headers["connect-timeout-ms"] = str(int(timeout * 1000))
        return self._post(json.dumps(update(tag)).encode(), headers)

    def start_grpc_web(self, tag: str, timeout: float) -> http.client.HTTPConnection:
        """Send an update with a deadline; return its connection once the server has it."""
        message = METHODS["Update"].input.type.from_json(json.dumps(update(tag))).to_binary()
        headers = self.headers | {"content-type": "application/grpc-web+proto", "x-request-id": tag}
        headers["grpc-timeout"] = f"{int(timeout * 1000)}m"
        return self._post(b"\0" + len(message).to_bytes(4, "big") + message, headers)

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection for HTTP."""
        self._connections.append(
            http.client.HTTPConnection(self.server.http.removeprefix("http://"), timeout=60)
        )
        return self._connections[-1]

    def _post(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPConnection:
        conn = self.connect()
        conn.request("POST", "/dashboards.v1.DashboardsService/Update", body, headers)
        for _ in range(2):
            assert httpx.get(f"{self.server.http}/healthz").status_code == 200
        return conn

    def reported_code(self, tag: str) -> str:
        """Wait until the server has reported the call with this id; return its code."""
        give_up = time.monotonic() + PROMPT_SECONDS
        while time.monotonic() < give_up:
            for record in self.server.log_records():
                if record["message"] == "call" and record["request_id"] == tag:
                    return record["code"]
            time.sleep(0.02)  # between two looks at the log
        raise AssertionError(f"the server did not end call {tag}")

    def changes(self) -> list[str]:
        """Return the tags of what was written to the dashboard, in order."""
        with contextlib.closing(sqlite3.connect(self.server.database_path)) as conn:
            rows = conn.execute(
                "SELECT change_message FROM revisions WHERE project_id = ? ORDER BY revision",
                [self.headers["x-project-id"]],
            )
            return [tag for (tag,) in rows]


def update(tag: str) -> dict[str, str]:
    return {"id": "d", "name": tag, "changeMessage": tag}


@pytest.fixture
def flight(sqlite_server: RunningServer, project_id: str) -> Iterator[Flight]:
    """Calls to the shared server."""
    calls = Flight(sqlite_server, project_id)
    yield calls
    calls.close()


@pytest.fixture
def own_flight(tmp_path: Path, project_id: str) -> Iterator[Flight]:
    """Calls to a server of the test's own, which it may stop."""
    with running_server(tmp_path) as server:
        calls = Flight(server, project_id)
        yield calls
        calls.close()
        if server.process.poll() is None:
            server.kill()


class Stream:
    """A stream that the caller keeps open."""

    def __init__(self, flight: Flight, path: str, request: bytes) -> None:
        self._over = threading.Event()
        # As long as requests may still come, the caller hasn't ended the stream.
        requests = itertools.chain([request], iter(self._over.wait, True))
        self._messages: Any = flight.channel.stream_stream(path)(requests, timeout=PROMPT_SECONDS)
        self.first: bytes = next(self._messages)

    def rest(self) -> list[bytes]:
        """Return the messages after the first one, once the server has ended the stream."""
        messages: list[bytes] = []
        with contextlib.suppress(grpc.RpcError):
            messages.extend(self._messages)
        self._over.set()
        assert self._messages.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        return messages


def wait_until_refused(url: str) -> list[int]:
    """Ask until connections are refused; return the status codes that were answered before."""
    codes: list[int] = []
    give_up = time.monotonic() + PROMPT_SECONDS
    while time.monotonic() < give_up:
        try:
            codes.append(httpx.get(url).status_code)
        except httpx.TransportError:
            return codes
        time.sleep(0.01)  # between two questions
    raise AssertionError("the server goes on taking connections")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_stop_with_calls_in_flight_lets_them_finish(own_flight: Flight, name: str) -> None:
    flight, server = own_flight, own_flight.server
    health = Stream(flight, "/grpc.health.v1.Health/Watch", b"")
    assert HealthCheckResponse.from_binary(health.first).status == Status.SERVING
    list_services = b"\x3a\x00"  # ServerReflectionRequest.list_services, field 7
    reflections = [
        Stream(flight, f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", list_services)
        for version in ("v1", "v1alpha")
    ]
    with write_lock(server.database_path) as release:
        by_grpc, by_connect = flight.start_grpc("one"), flight.start_connect("two")
        server.process.send_signal(signal.Signals[name])
        # Streams end at once, whatever calls are in flight, the Watch with what is now so.
        statuses = [HealthCheckResponse.from_binary(message).status for message in health.rest()]
        assert statuses in ([], [Status.NOT_SERVING])
        assert [reflection.rest() for reflection in reflections] == [[], []]
        assert set(wait_until_refused(f"{server.http}/readyz")) <= {503}
        with grpc.insecure_channel(server.grpc) as channel:
            with pytest.raises(grpc.RpcError) as refusal:
                channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PROMPT_SECONDS)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        assert not by_grpc.done()
        assert server.process.poll() is None
        release()
        assert by_grpc.result(timeout=PROMPT_SECONDS)
        answer = by_connect.getresponse()
        assert (answer.status, json.load(answer)["dashboard"]["name"]) == (200, "two")
        assert server.process.wait(PROMPT_SECONDS) == 0
    assert sorted(flight.changes()) == ["", "one", "two"]
    assert "error" not in {record["level"] for record in server.log_records()}


def test_stop_signalled_twice_ends_at_once_and_writes_nothing(own_flight: Flight) -> None:
    server = own_flight.server
    with write_lock(server.database_path) as release:
        call = own_flight.start_grpc("late")
        server.process.send_signal(signal.SIGTERM)
        wait_until_refused(f"{server.http}/readyz")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PROMPT_SECONDS)
        release()
    assert call.exception(timeout=PROMPT_SECONDS) is not None
    assert own_flight.changes() == [""]


def test_stop_with_idle_connections_is_prompt(own_flight: Flight) -> None:
    used, silent = own_flight.connect(), own_flight.connect()
    silent.connect()
    used.request("GET", "/healthz")
    assert used.getresponse().read() == b"ok\n"
    own_flight.server.process.send_signal(signal.SIGTERM)
    assert own_flight.server.process.wait(PROMPT_SECONDS) == 0


def test_stop_with_a_request_half_sent_is_prompt(own_flight: Flight) -> None:
    """Only calls whose request had arrived whole are waited for."""
    conn = own_flight.connect()
    conn.putrequest("POST", "/dashboards.v1.DashboardsService/Update")
    for header, value in own_flight.headers.items():
        conn.putheader(header, value)
    conn.putheader("content-type", "application/json")
    conn.putheader("content-length", "100")
    conn.endheaders(b"{")
    assert httpx.get(f"{own_flight.server.http}/healthz").status_code == 200
    own_flight.server.process.send_signal(signal.SIGTERM)
    assert own_flight.server.process.wait(PROMPT_SECONDS) == 0
    assert own_flight.changes() == [""]
    assert "error" not in {record["level"] for record in own_flight.server.log_records()}


@pytest.mark.parametrize("place", ["at work", "in the queue"])
@pytest.mark.parametrize("protocol", ["grpc", "connect", "grpc-web"])
def test_write_deadline_passed_is_told_and_not_written(flight: Flight, protocol: str, place: str) -> None:
    with write_lock(flight.server.database_path) as release:
        earlier = flight.start_grpc("earlier") if place == "in the queue" else None
        match protocol:
            case "grpc":
                call = flight.start_grpc("late", timeout=0.3)
                assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            case "connect":
                answer = flight.start_connect("late", timeout=0.3).getresponse()
                assert (answer.status, json.load(answer)["code"]) == (504, "deadline_exceeded")
            case _:
                answer = flight.start_grpc_web("late", timeout=0.3).getresponse()
                assert b"grpc-status: 4" in answer.read() or answer.headers["grpc-status"] == "4"
        assert flight.reported_code("late") in {"deadline_exceeded", "canceled"}
        release()
    expected = [""]
    if earlier is not None:
        assert earlier.result(timeout=PROMPT_SECONDS)
        expected.append("earlier")
    # Writes are carried out in turn, so what was to be written before this one never will be.
    assert flight.api.call("Update", update("after")).code == "ok"
    assert flight.changes() == [*expected, "after"]


@pytest.mark.parametrize("protocol", ["grpc", "grpc connection", "connect"])
def test_write_caller_goes_away_stops_and_is_not_written(flight: Flight, protocol: str) -> None:
    gone = f"gone-{protocol.replace(' ', '-')}"
    with write_lock(flight.server.database_path) as release:
        match protocol:
            case "grpc":
                flight.start_grpc(gone).cancel()
            case "grpc connection":
                void(flight.start_grpc(gone))
                flight.channel.close()
            case _:
                flight.start_connect(gone).close()
        assert flight.reported_code(gone) == "canceled"
        release()
    assert flight.api.call("Update", update("after")).code == "ok"
    assert flight.changes() == ["", "after"]


def test_read_while_a_write_waits_is_answered(flight: Flight) -> None:
    with write_lock(flight.server.database_path) as release:
        call = flight.start_grpc("waiting")
        assert flight.api.call("Get", {"id": "d"}).dashboard["name"] == "before"
        assert len(flight.api.call("List").body["dashboards"]) == 1
        assert not call.done()
        release()
        assert call.result(timeout=PROMPT_SECONDS)
