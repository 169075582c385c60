"""HTTP/1.0, half-closed connections, expectations, lengths that lie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.transport.http1_messages import Http1Messages
from tests.api import Api
from tests.rest import Rest
from tests.server import make_token
from tests.test_stop import write_lock
from tests.wire import Wire, chunked, head

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from tests.server import RunningServer

SERVICE = "/dashboards.v1.DashboardsService"
PING = head("GET", "/healthz")


@pytest.fixture
def caller(project_id: str) -> tuple[str, ...]:
    return (
        f"authorization: Bearer {make_token(project_id)}",
        f"x-project-id: {project_id}",
        "content-type: application/json",
    )


def create(caller: tuple[str, ...], name: str, *more: str, version: str = "HTTP/1.1") -> bytes:
    body = json.dumps({"name": name, "dashboardId": name}).encode()
    lines = (*caller, *more, f"content-length: {len(body)}")
    return head("POST", f"{SERVICE}/Create", *lines, version=version) + body


def written(server: RunningServer, project_id: str) -> list[str]:
    api = Api(server, "connect-json", make_token(project_id), project_id)
    found = api.call("List", {}).body.get("dashboards", [])
    api.close()
    return sorted(dashboard["name"] for dashboard in found)


GRPC_WEB = b"\0\0\0\0\0"
OLD = {
    "health": (head("GET", "/healthz", version="HTTP/1.0"), 200),
    "no-such-path": (head("GET", "/nothing", version="HTTP/1.0"), 404),
    "descriptors": (head("GET", "/descriptors.binpb", version="HTTP/1.0"), 200),
    "head": (head("HEAD", "/healthz", version="HTTP/1.0"), 200),
    "rest": (head("GET", "/v1/dashboards", version="HTTP/1.0"), 401),
    "unsupported": (head("POST", f"{SERVICE}/List", "content-length: 0", version="HTTP/1.0"), 415),
    "grpc-web-refused": (
        head(
            "POST",
            f"{SERVICE}/List",
            "content-type: application/grpc-web+proto",
            f"content-length: {len(GRPC_WEB)}",
            version="HTTP/1.0",
        )
        + GRPC_WEB,
        200,
    ),
}


@pytest.mark.parametrize(("request_", "status"), OLD.values(), ids=OLD)
def test_answer_to_http_1_0_has_no_chunks(sqlite_server: RunningServer, request_: bytes, status: int) -> None:
    with Wire(sqlite_server) as wire:
        got, _, body = wire.send(request_ + PING).rest().partition(b"\r\n\r\n")
    assert int(got[9:12]) == status
    fields = dict(line.split(b": ", 1) for line in got.split(b"\r\n")[1:])
    assert b"transfer-encoding" not in fields
    assert fields[b"connection"] == b"close"
    if not request_.startswith(b"HEAD"):
        assert int(fields[b"content-length"]) == len(body)


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc-web+json"])
def test_call_by_http_1_0_is_answered_whole(
    sqlite_server: RunningServer, caller: tuple[str, ...], content_type: str
) -> None:
    message = b"{}"
    body = b"\0\0\0\0\2" + message if "grpc" in content_type else message
    lines = (
        *caller[:2],
        f"content-type: {content_type}",
        "expect: 100-continue",
        f"content-length: {len(body)}",
    )
    with Wire(sqlite_server) as wire:
        answer = wire.send(head("POST", f"{SERVICE}/List", *lines, version="HTTP/1.0") + body).rest()
    assert answer.startswith(b"HTTP/1.1 200 ")  # and no interim answer before it
    head_, _, content = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d\r\n" % len(content) in head_ + b"\r\n"


def test_answer_without_a_body_to_http_1_0_says_no_length(
    sqlite_server: RunningServer, project_id: str, caller: tuple[str, ...]
) -> None:
    rest = Rest(sqlite_server, project_id)
    path = f"/v1/dashboards/{rest.create()['id']}"
    rest.close()
    with Wire(sqlite_server) as wire:
        wire.send(head("GET", path, *caller, "if-none-match: *", version="HTTP/1.0"))
        status, *lines = wire.rest().split(b"\r\n")
    assert status == b"HTTP/1.1 304 Not Modified"
    assert not [line for line in lines if line.lower().startswith((b"content-length", b"transfer-encoding"))]


@pytest.mark.parametrize("is_split", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_client_that_half_closes_after_its_request_is_answered(
    sqlite_server: RunningServer, caller: tuple[str, ...], project_id: str, version: str, *, is_split: bool
) -> None:
    with Wire(sqlite_server) as wire:
        if is_split:  # the write waits until the server has read that the client has ended
            with write_lock(sqlite_server.database_path) as release:
                wire.send(create(caller, "half", version=version)).half_close().wait_until_read()
                release()
        else:
            wire.send(create(caller, "half", version=version)).half_close()
        answer = wire.answer()
        assert (answer.status, json.loads(answer.body)["dashboard"]["name"]) == (200, "half")
        assert wire.rest() == b""
    assert written(sqlite_server, project_id) == ["half"]


def test_client_that_half_closes_is_answered_however_long_it_takes(
    sqlite_server: RunningServer, caller: tuple[str, ...], project_id: str
) -> None:
    with Wire(sqlite_server) as wire, write_lock(sqlite_server.database_path) as release:
        wire.send(create(caller, "half")).half_close()
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"  # by which the server looks for it
        for _ in range(2):
            assert wire.socket.recv(len(interim)) == interim
        release()
        assert wire.answer().status == 200
        assert wire.rest() == b""
    assert written(sqlite_server, project_id) == ["half"]


def test_pipelined_requests_before_the_half_close_are_answered(
    sqlite_server: RunningServer, caller: tuple[str, ...], project_id: str
) -> None:
    cut = create(caller, "cut")[:-1]
    with Wire(sqlite_server) as wire:
        wire.send(create(caller, "one") + create(caller, "two") + PING + cut).half_close()
        assert [wire.answer().status for _ in range(3)] == [200] * 3
        assert wire.rest() == b""
    assert written(sqlite_server, project_id) == ["one", "two"]


CUTS = {"last-byte": -1, "half-the-body": -12, "whole-body": -36, "head": 30}


@pytest.mark.parametrize("is_split", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize("at", CUTS.values(), ids=CUTS)
def test_client_that_half_closes_within_its_request_gets_nothing_written(
    sqlite_server: RunningServer, caller: tuple[str, ...], project_id: str, at: int, *, is_split: bool
) -> None:
    with Wire(sqlite_server) as wire:
        wire.send(create(caller, "cut")[:at])
        if is_split:
            wire.wait_until_read()
        assert b" 200 " not in wire.half_close().rest()
    body = chunked(b'{"name":"cut"}')
    with Wire(sqlite_server) as wire:  # the message is whole, the body isn't
        wire.send(head("POST", f"{SERVICE}/Create", *caller, "transfer-encoding: chunked") + body[:-5])
        assert b" 200 " not in wire.half_close().rest()
    assert written(sqlite_server, project_id) == []


def test_body_that_was_not_asked_for_ends_the_connection(sqlite_server: RunningServer) -> None:
    # RFC 9110 §10.1.1: nobody can tell whether the body or a new request follows.
    request = head("POST", f"{SERVICE}/Create", "content-type: application/json", "content-length: 40")
    with Wire(sqlite_server) as wire:
        wire.send(request.replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert wire.rest() == b""


def test_expected_continue_is_said_and_the_body_read(
    sqlite_server: RunningServer, caller: tuple[str, ...], project_id: str
) -> None:
    request = create(caller, "asked", "Expect: 100-Continue")
    end = request.index(b"\r\n\r\n") + 4
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    with Wire(sqlite_server) as wire:
        wire.send(request[:end])
        assert wire.socket.recv(len(interim)) == interim
        assert wire.send(request[end:]).answer().status == 200
        assert wire.send(PING).answer().status == 200
    assert written(sqlite_server, project_id) == ["asked"]


async def read_all(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body, as the application reads it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    "parts", [[b""], [b"{}", b""], [b"{}", b"{}", b"{}"]], ids=["empty", "short", "long"]
)
async def test_body_of_another_length_than_was_said_is_refused(parts: list[bytes]) -> None:
    # httptools never hands out such a body, but for what it once did on an Upgrade.
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST"}
    scope["headers"] = [(b"content-length", b"4")]
    messages = iter(
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(Exception, match="not as long as content-length says"):
        await Http1Messages(read_all)(scope, receive, send)
    assert sent == []
