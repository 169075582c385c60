"""Clients that are silent, slow, or don't read: how long a connection is theirs."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from tests.api import Api
from tests.server import make_token, running_server
from tests.test_stop import write_lock
from tests.wire import Wire, chunked, connected_ports, head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer

TIMEOUT, KEEP_ALIVE = 1, 3
"""Seconds."""
SLACK = 5
"""How much later than it should something may happen on a busy machine."""
PATH = "/dashboards.v1.DashboardsService/Create"
PING = head("GET", "/healthz")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that waits for little."""
    settings = {"REQUEST_TIMEOUT": f"{TIMEOUT}s", "KEEP_ALIVE": f"{KEEP_ALIVE}s"}
    with running_server(tmp_path_factory.mktemp("quick"), **settings) as running:
        yield running


def caller(*more: str) -> tuple[str, ...]:
    token = make_token("p")
    return (f"authorization: Bearer {token}", "x-project-id: p", "content-type: application/json", *more)


def is_written(server: RunningServer, name: str) -> bool:
    api = Api(server, "connect-json", make_token("p"), "p")
    found = api.call("List", {"nameContains": name}).body.get("dashboards", [])
    api.close()
    return bool(found)


def test_silent_client_is_closed_after_the_timeout(quick: RunningServer) -> None:
    started = time.monotonic()
    with Wire(quick) as wire:
        assert wire.rest() == b""
    assert TIMEOUT <= time.monotonic() - started < TIMEOUT + SLACK


UNFINISHED = {
    "request-line": b"POST /dash",
    "head": head("POST", PATH, "content-length: 9")[:-2],
    "body": head("POST", PATH, *caller(), "content-length: 15") + b'{"name":"late"',
    "chunk": head("POST", PATH, *caller(), "transfer-encoding: chunked") + b'f\r\n{"name":"late"}',
    "trailer": head("POST", PATH, *caller(), "transfer-encoding: chunked") + chunked(b'{"name":"late"}')[:-2],
    "upgrade": head("POST", PATH, *caller(), "connection: upgrade", "upgrade: h2c", "content-length: 9"),
    "continue": head("POST", PATH, *caller(), "expect: 100-continue", "content-length: 9"),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("request_", UNFINISHED.values(), ids=UNFINISHED)
def test_request_that_does_not_arrive_whole_is_refused_with_408(
    quick: RunningServer, request_: bytes, is_first: bool
) -> None:
    with Wire(quick) as wire:
        if not is_first:
            assert wire.send(PING).answer().status == 200
        started = time.monotonic()
        answer = wire.send(request_).answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert wire.rest() == b""
    assert time.monotonic() - started < TIMEOUT + SLACK
    lines = [r for r in quick.log_records() if r.get("request_id") == answer.headers["x-request-id"]]
    assert [line["status"] for line in lines] == [408]
    assert not is_written(quick, "late")


@pytest.mark.parametrize("request_", UNFINISHED.values(), ids=UNFINISHED)
def test_request_that_drips_is_refused_with_408(quick: RunningServer, request_: bytes) -> None:
    started = time.monotonic()  # before the server's own clock starts
    with Wire(quick) as wire:
        wire.socket.settimeout(TIMEOUT / 10)  # the pace of the drops
        seen = b""
        drops = iter(request_ + b"0" * 10_000)
        while not seen.startswith(b"HTTP/1.1 408") and time.monotonic() - started < TIMEOUT + SLACK:
            wire.socket.sendall(bytes([next(drops)]))
            try:
                seen += wire.socket.recv(1)
            except TimeoutError:
                continue
            if not seen.startswith(b"HTTP/1.1 408"[: len(seen)]):
                seen = b""
            elif seen:
                seen += wire.socket.recv(11)
        assert seen == b"HTTP/1.1 408"
        assert time.monotonic() - started >= TIMEOUT


def test_request_is_waited_for_while_an_earlier_one_is_answered(quick: RunningServer) -> None:
    with Wire(quick) as wire:
        wire.send(PING + PING[:5])
        assert wire.answer().status == 200
        assert wire.send(PING[5:]).answer().status == 200


def test_idle_connection_is_kept_for_the_setting(quick: RunningServer) -> None:
    with Wire(quick) as wire:
        assert wire.send(PING).answer().status == 200
        answered = time.monotonic()
        wire.socket.settimeout(2 * TIMEOUT)
        with pytest.raises(TimeoutError):  # nothing comes, not even the end
            wire.socket.recv(1)
        wire.socket.settimeout(KEEP_ALIVE + SLACK)
        assert wire.rest() == b""
    assert KEEP_ALIVE - 0.5 <= time.monotonic() - answered < KEEP_ALIVE + 1.5  # uvicorn's own is 5 s


def test_idle_connection_is_kept_longer_than_many_pools_by_default(sqlite_server: RunningServer) -> None:
    with Wire(sqlite_server) as wire:
        assert wire.send(PING).answer().status == 200
        wire.socket.settimeout(5.5)  # uvicorn's own is 5 s
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        assert wire.send(PING).answer().status == 200


def test_connection_whose_request_was_refused_before_its_body_came_is_kept(quick: RunningServer) -> None:
    with Wire(quick) as wire:
        wire.send(head("POST", PATH, "content-type: application/json", "content-length: 2"))
        assert wire.answer().status == 401
        wire.send(b"{}")
        wire.socket.settimeout(2 * TIMEOUT)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        wire.socket.settimeout(KEEP_ALIVE + SLACK)
        assert wire.send(PING).answer().status == 200
        assert wire.rest() == b""


def test_idle_time_does_not_run_while_a_request_after_a_refused_one_is_answered(quick: RunningServer) -> None:
    with Wire(quick) as wire:
        wire.send(head("POST", PATH, "content-type: application/json", "content-length: 2"))
        assert wire.answer().status == 401
        body = b'{"name":"after-a-refused-one"}'
        create = head("POST", PATH, *caller(f"content-length: {len(body)}")) + body
        with write_lock(quick.database_path) as release:
            wire.send(b"{}" + create)
            time.sleep(KEEP_ALIVE + 0.5)  # longer than the idle time: the answer waits for the lock
            release()
            assert wire.answer().status == 200
        assert wire.send(PING).answer().status == 200


@pytest.mark.parametrize("noise", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_connection_on_which_only_line_breaks_come_is_closed(quick: RunningServer, noise: bytes) -> None:
    with Wire(quick) as wire:
        assert wire.send(PING).answer().status == 200
        started = time.monotonic()
        wire.socket.settimeout(TIMEOUT / 10)
        while True:
            assert time.monotonic() - started < TIMEOUT + SLACK
            try:
                wire.socket.sendall(noise)
                if wire.socket.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break  # it has been closed


def test_client_that_does_not_read_is_given_up(quick: RunningServer) -> None:
    with Wire(quick) as wire:
        port = wire.socket.getsockname()[1]
        wire.socket.settimeout(TIMEOUT)
        with contextlib.suppress(TimeoutError):  # as it isn't read from, it reads no more
            for _ in range(100_000):
                wire.socket.sendall(head("GET", "/descriptors.binpb"))
        started = time.monotonic()
        while port in connected_ports(quick):
            assert time.monotonic() - started < KEEP_ALIVE + SLACK, "the connection is still open"
            time.sleep(0.1)  # between two looks


def test_slow_reader_is_not_given_up(quick: RunningServer) -> None:
    length = len(httpx.get(f"{quick.http}/descriptors.binpb").content)
    count = 4_000_000 // length
    with Wire(quick) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        wire.send(head("GET", "/descriptors.binpb") * count + head("GET", "/healthz", "connection: close"))
        got, started = 0, time.monotonic()
        while chunk := wire.socket.recv(1 << 20):
            got += len(chunk)
            if time.monotonic() - started < 2 * KEEP_ALIVE:
                time.sleep(0.1)  # this is what slow means
        assert got > count * length


@pytest.mark.parametrize(
    "greeting", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=["silent", "no-settings"]
)
def test_client_that_does_not_begin_with_grpc_is_closed(quick: RunningServer, greeting: bytes) -> None:
    host, _, port = quick.grpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT + SLACK) as client:
        client.sendall(greeting)
        while client.recv(65_536):
            pass  # the server's own settings


def test_idle_grpc_connection_is_closed_and_its_client_calls_on(quick: RunningServer) -> None:
    host, _, port = quick.grpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=KEEP_ALIVE + TIMEOUT + 2 * SLACK) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")  # empty settings
        while client.recv(65_536):
            pass  # settings, a ping, GOAWAY
    channel: Any
    with grpc.insecure_channel(quick.grpc) as channel:
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        check(b"")
        deadline = time.monotonic() + KEEP_ALIVE + 2 * SLACK
        while grpc.ChannelConnectivity.IDLE not in states[states.index(grpc.ChannelConnectivity.READY) :]:
            assert time.monotonic() < deadline, states
            time.sleep(0.05)  # between two looks
        check(b"")


OPEN_FILES = 64


@pytest.mark.parametrize("listener", ["http", "grpc"])
def test_limit_of_open_files_is_logged_and_survived(tmp_path: Path, listener: str) -> None:
    with running_server(tmp_path, REQUEST_TIMEOUT="4s", KEEP_ALIVE="4s") as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        host, _, port = (
            server.http.removeprefix("http://") if listener == "http" else server.grpc
        ).rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(OPEN_FILES)]
        deadline = time.monotonic() + 30
        while not (warnings := [r for r in server.log_records() if "no more files" in r["message"]]):
            assert time.monotonic() < deadline, "nothing is logged"
            time.sleep(0.05)  # between two looks
        assert warnings[0]["level"] == "warning"
        assert str(OPEN_FILES) in warnings[0]["message"]
        # The silent ones are still there, and are closed when their time is up.
        api = None
        while api is None or api.code != "ok":
            assert time.monotonic() < deadline, f"no answer: {api}"
            for name in ("connect-json", "grpc"):
                client = Api(server, name, make_token("p"), "p")
                try:
                    api = client.call("Create", {"name": "after"})
                except httpx.TransportError:
                    time.sleep(0.05)  # between two tries
                    break
                finally:
                    client.close()
        for connection in silent:
            connection.close()
        assert len([r for r in server.log_records() if "no more files" in r["message"]]) == 1
