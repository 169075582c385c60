"""What many or impatient callers, and a database that others hold, do to everybody else."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from dashkeeper.store.databases.sqlite import MAX_WRITES_WAITING
from dashkeeper.transport.http1 import MAX_HEAD_BYTES
from tests.api import Api
from tests.attack import at_little_cost
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer

PROJECT = "overload"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        yield server


def test_trailers_without_end_are_cut_off_at_little_cost(sqlite_server: RunningServer) -> None:
    address = urlsplit(sqlite_server.http)
    assert address.hostname is not None
    assert address.port is not None
    head = (
        b"POST /dashboards.v1.DashboardsService/Get HTTP/1.1\r\nhost: a\r\n"
        b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    )
    lines = b"".join(b"a: " + b"b" * 1_000 + b"\r\n" for _ in range(100_000))
    with (
        at_little_cost(sqlite_server),
        socket.create_connection((address.hostname, address.port)) as connection,
    ):
        connection.sendall(head)
        with pytest.raises(OSError, match=r"reset|pipe"):  # the server hangs up
            connection.sendall(lines)


def test_request_behind_a_large_one_on_a_connection_is_answered(sqlite_server: RunningServer) -> None:
    with httpx.Client(base_url=sqlite_server.http) as client:
        for _ in range(3):
            large = client.post("/dashboards.v1.DashboardsService/Get", content=b"x" * (4 * MAX_HEAD_BYTES))
            assert large.status_code != 431
            assert client.get("/healthz").status_code == 200


def test_database_locked_by_others_holds_up_nobody_who_needs_none(own_server: RunningServer) -> None:
    with contextlib.closing(sqlite3.connect(own_server.database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        api = Api(own_server, "connect-json", make_token(PROJECT), PROJECT)
        with ThreadPoolExecutor(1) as callers:
            writing = callers.submit(api.call, "Create", {"name": "a"})
            started = time.monotonic()
            assert httpx.get(f"{own_server.http}/healthz").status_code == 200
            assert httpx.get(f"{own_server.http}/readyz").status_code == 200
            assert time.monotonic() - started < 5, "the write waits for up to 10 s, nobody with it"
            other.execute("ROLLBACK")
            assert writing.result().code == "ok"
        api.close()


def test_writes_beyond_those_that_may_wait_are_refused_and_the_others_done(own_server: RunningServer) -> None:
    count = MAX_WRITES_WAITING + 40
    apis = [Api(own_server, "connect-json", make_token(PROJECT), PROJECT) for _ in range(count)]
    with contextlib.closing(sqlite3.connect(own_server.database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(count) as callers:
            calls = [callers.submit(api.call, "Create", {"name": "a"}) for api in apis]
            refused = 0
            while refused < 40:  # those that wait can't end before the lock is given back
                refused = sum(call.done() for call in calls)
                time.sleep(0.01)  # between two looks at the calls
            other.execute("ROLLBACK")
    replies = [call.result() for call in calls]
    assert sorted({(reply.code, reply.reason) for reply in replies}) == [
        ("ok", ""),
        ("unavailable", "OVERLOADED"),
    ]
    assert sum(reply.code == "ok" for reply in replies) == MAX_WRITES_WAITING
    listed = apis[0].call("List").body["dashboards"]
    assert len(listed) == MAX_WRITES_WAITING
    for api in apis:
        api.close()


def test_database_file_deleted_under_the_server_is_not_ready(own_server: RunningServer) -> None:
    assert httpx.get(f"{own_server.http}/readyz").status_code == 200
    own_server.database_path.unlink()
    answer = httpx.get(f"{own_server.http}/readyz")
    assert answer.status_code == 503
    assert "deleted or replaced" in answer.text


@pytest.mark.parametrize("replaced", [False, True])
def test_write_to_a_database_file_that_was_deleted_is_refused_not_lost(
    own_server: RunningServer, replaced: bool
) -> None:
    own_server.database_path.unlink()
    if replaced:
        own_server.database_path.touch()
    api = Api(own_server, "connect-json", make_token(PROJECT), PROJECT)
    reply = api.call("Create", {"name": "A"})
    api.close()
    assert (reply.code, reply.reason) == ("internal", "DATABASE_REPLACED")
    assert "again" in reply.message
    assert "try again" not in reply.message


def test_http_socket_never_replaces_a_file_and_is_removed_at_the_end(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious", encoding="utf-8")
    with (
        pytest.raises(RuntimeError, match="can't listen on DASHKEEPER_HTTP_ADDRESS"),
        running_server(tmp_path / "a", HTTP_ADDRESS=f"unix:{precious}"),
    ):
        pass
    assert precious.read_text(encoding="utf-8") == "precious"
    path = tmp_path / "socket"
    with running_server(tmp_path / "b", HTTP_ADDRESS=f"unix:{path}") as server:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://server/healthz").text == "ok\n"
        assert server.stop() == 0
    assert not path.exists()
