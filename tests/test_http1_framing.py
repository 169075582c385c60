"""Where a request ends: one reading of it, the same as every proxy's in front."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.api import Api
from tests.server import make_token
from tests.wire import Wire, chunked, head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.server import RunningServer

LIST = "/dashboards.v1.DashboardsService/List"
BODY = b'{"nameContains":"revenue"}'
PING = head("GET", "/healthz")
UPGRADES = {
    "h2c": (
        "connection: Upgrade, HTTP2-Settings",
        "upgrade: h2c",
        "http2-settings: AAMAAABkAARAAAAAAAIAAAAA",
    ),
    "websocket": ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
    "two": ("connection: keep-alive, Upgrade", "upgrade: h2c", "upgrade: foo/2"),
}


@pytest.fixture
def caller(sqlite_server: RunningServer, project_id: str) -> tuple[str, ...]:
    """The headers of a caller in a project with two dashboards."""
    api = Api(sqlite_server, "connect-json", make_token(project_id), project_id)
    for name in ("revenue", "growth"):
        assert api.call("Create", {"name": name}).code == "ok"
    api.close()
    return (
        f"authorization: Bearer {make_token(project_id)}",
        f"x-project-id: {project_id}",
        "content-type: application/json",
    )


def whole(head_: bytes, body: bytes) -> Sequence[bytes]:
    return [head_ + body]


def after_the_head(head_: bytes, body: bytes) -> Sequence[bytes]:
    return [head_, body]


def in_the_head(head_: bytes, body: bytes) -> Sequence[bytes]:
    return [head_[:-2], head_[-2:] + body[:5], body[5:]]


WAYS = {"whole": whole, "after-the-head": after_the_head, "in-the-head": in_the_head}


def names(body: bytes) -> list[str]:
    return [dashboard["name"] for dashboard in json.loads(body)["dashboards"]]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("segments", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_body_of_a_request_that_asks_for_an_upgrade_is_read(
    sqlite_server: RunningServer,
    caller: tuple[str, ...],
    upgrade: tuple[str, ...],
    segments: Callable[[bytes, bytes], Sequence[bytes]],
    is_chunked: bool,
) -> None:
    framing = "transfer-encoding: chunked" if is_chunked else f"content-length: {len(BODY)}"
    body = chunked(BODY[:10], BODY[10:]) if is_chunked else BODY
    with Wire(sqlite_server) as wire:
        for _ in range(2):  # the connection stays good
            wire.send(*segments(head("POST", LIST, *caller, *upgrade, framing), body))
            answer = wire.answer()
            assert (answer.status, names(answer.body)) == (200, ["revenue"])
            assert "upgrade" not in answer.headers
        assert wire.send(PING).answer().body == b"ok\n"


def test_pipelined_requests_that_ask_for_an_upgrade_are_each_answered(
    sqlite_server: RunningServer, caller: tuple[str, ...]
) -> None:
    upgrade = UPGRADES["h2c"]
    post = head("POST", LIST, *caller, *upgrade, f"content-length: {len(BODY)}") + BODY
    parts = head("POST", LIST, *caller, *upgrade, "transfer-encoding: chunked") + chunked(BODY)
    get = head("GET", "/healthz", *upgrade)
    with Wire(sqlite_server) as wire:
        wire.send(post + get + parts + PING + post + get)
        bodies = [wire.answer().body for _ in range(6)]
    assert [names(bodies[number]) for number in (0, 2, 4)] == [["revenue"]] * 3
    assert [bodies[number] for number in (1, 3, 5)] == [b"ok\n"] * 3


def test_body_after_an_upgrade_is_never_a_request(
    sqlite_server: RunningServer, caller: tuple[str, ...]
) -> None:
    hidden = head("GET", "/descriptors.binpb")
    post = head(
        "POST", LIST, *caller, *UPGRADES["h2c"], f"content-length: {len(hidden)}", "connection: close"
    )
    with Wire(sqlite_server) as wire:
        wire.send(post, hidden)
        assert wire.answer().status == 400  # it isn't JSON
        assert wire.rest() == b""


def test_curl_with_http2_sends_its_body(sqlite_server: RunningServer, caller: tuple[str, ...]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: install it")
    headers = [word for line in caller for word in ("-H", line)]
    curl = subprocess.run(
        ["curl", "-sS", "--http2", *headers, "-d", BODY, f"{sqlite_server.http}{LIST}"],
        capture_output=True,
        check=True,
    )
    assert names(curl.stdout) == ["revenue"]


POST = "POST /dashboards.v1.DashboardsService/List HTTP/1.1\r\n"
SMUGGLED = PING.decode()


def post(*lines: str, body: str = "{}") -> str:
    return (
        POST
        + "".join(f"{line}\r\n" for line in ("Host: a", "Content-Type: application/json", *lines))
        + "\r\n"
        + body
    )


def chunks(body: str) -> str:
    return post("Transfer-Encoding: chunked", body=body)


AMBIGUOUS = {
    "length-and-chunked": (post("Content-Length: 2", "Transfer-Encoding: chunked", body="0\r\n\r\n"), 400),
    "chunked-and-length": (post("Transfer-Encoding: chunked", "Content-Length: 2", body="0\r\n\r\n"), 400),
    "two-lengths": (post("Content-Length: 2", "Content-Length: 3"), 400),
    "one-length-twice": (post("Content-Length: 2", "Content-Length: 2"), 400),
    "length-list": (post("Content-Length: 2, 2"), 400),
    "length-plus": (post("Content-Length: +2"), 400),
    "length-negative": (post("Content-Length: -2"), 400),
    "length-hexadecimal": (post("Content-Length: 0x2"), 400),
    "length-underscore": (post("Content-Length: 0_2"), 400),
    "length-two-numbers": (post("Content-Length: 2 2"), 400),
    "length-empty": (post("Content-Length: "), 400),
    "length-overflow": (post("Content-Length: 18446744073709551618"), 400),
    "length-vertical-tab": (post("Content-Length: \x0b2"), 400),
    "coding-identity": (post("Transfer-Encoding: identity"), 501),
    "coding-identity-last": (post("Transfer-Encoding: chunked, identity"), 400),
    "coding-identity-first": (post("Transfer-Encoding: identity, chunked", body="0\r\n\r\n"), 501),
    "coding-gzip": (post("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), 501),
    "coding-unknown": (post("Transfer-Encoding: xchunked", body="0\r\n\r\n"), 501),
    "coding-twice": (post("Transfer-Encoding: chunked, chunked", body="0\r\n\r\n"), 400),
    "coding-two-lines": (
        post("Transfer-Encoding: gzip", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        501,
    ),
    "coding-comma": (post("Transfer-Encoding: ,chunked", body="0\r\n\r\n"), 501),
    "coding-quoted": (post('Transfer-Encoding: "chunked"', body="0\r\n\r\n"), 501),
    "coding-parameter": (post("Transfer-Encoding: chunked;a=b", body="0\r\n\r\n"), 501),
    "coding-vertical-tab": (post("Transfer-Encoding: \x0bchunked", body="0\r\n\r\n"), 400),
    "coding-in-1.0": (chunks("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0", 1), 400),
    "space-before-colon": (post("Content-Length : 2"), 400),
    "tab-before-colon": (post("Transfer-Encoding\t: chunked"), 400),
    "space-before-name": (post(" Content-Length: 2"), 400),
    "folded-value": (post("X-Any: a", " Content-Length: 2"), 400),
    "folded-length": (post("Content-Length:\r\n 2"), 400),
    "folded-coding": (post("Transfer-Encoding:\r\n chunked", body="0\r\n\r\n"), 400),
    "line-feed-alone": (post("X-Any: a\nContent-Length: 2"), 400),
    "carriage-return-alone": (post("X-Any: a\rContent-Length: 2"), 400),
    "head-of-line-feeds": (post().replace("\r\n", "\n"), 400),
    "zero-byte": (post("X-Any: a\0b"), 400),
    "control-character": (post("X-Any: a\x01b"), 400),
    "name-empty": (post(": a"), 400),
    "name-not-ascii": (post("X-\xe9: a"), 400),
    "no-colon": (post("any"), 400),
    "no-host": (POST + "\r\n", 400),
    "two-hosts": (post("Host: b"), 400),
    "chunk-hexadecimal-sign": (chunks("0x2\r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-plus": (chunks("+2\r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-negative": (chunks("-2\r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-space": (chunks("2 \r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-empty-size": (chunks("\r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-overflow": (chunks("10000000000000002\r\n{}\r\n0\r\n\r\n"), 400),
    "chunk-line-feed": (chunks("2\n{}\r\n0\r\n\r\n"), 400),
    "chunk-longer-than-said": (chunks("2\r\n{} \r\n0\r\n\r\n"), 400),
    "chunk-without-end": (chunks("2\r\n{}0\r\n\r\n"), 400),
    "chunk-extension-line-feed": (chunks("2;a\n{}\r\n0\r\n\r\n"), 400),
    "trailer-length": (chunks("2\r\n{}\r\n0\r\nContent-Length: 3\r\n\r\n"), 400),
    "trailer-coding": (chunks("2\r\n{}\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"), 400),
    "trailer-line-feed": (chunks("2\r\n{}\r\n0\r\n\n"), 400),
    "version-0.9": (post().replace("HTTP/1.1", "HTTP/0.9", 1), 505),
    "version-2": (post().replace("HTTP/1.1", "HTTP/2.0", 1), 505),
    "version-3": (post().replace("HTTP/1.1", "HTTP/3.0", 1), 400),
    "http2-preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "connect": ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "connect-with-length": ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", 501),
    "target-with-a-fragment": (post("Content-Length: 2").replace("/List", "/List#a", 1), 400),
    "target-with-a-fragment-in-the-query": ("GET /healthz?a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target-larger-than-a-head": (post().replace("/List", "/List?" + "a" * 66_000, 1), 431),
    "header-larger-than-a-head": (post("Content-Length: 2", "X-Any: " + "a" * 66_000), 431),
    "headers-larger-than-a-head": (post("Content-Length: 2", *["X-Any: " + "a" * 500] * 140), 431),
    "target-of-a-proxy": ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target-control-character": ("GET /health\x01z HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target-not-ascii": ("GET /healthz\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method-unknown": ("FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "not-http": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize(("request_", "status"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_request_is_refused_and_nothing_after_it_read(
    sqlite_server: RunningServer, request_: str, status: int
) -> None:
    seen = len(sqlite_server.log_records())
    with Wire(sqlite_server) as wire:
        wire.send(PING + (request_ + SMUGGLED).encode("latin-1"))
        assert wire.answer().body == b"ok\n"
        answer = wire.answer()
        assert answer.status == status, answer.body
        assert answer.headers["connection"] == "close"
        assert wire.rest() == b""
    records = sqlite_server.log_records()[seen:]
    refused = [record for record in records if record.get("request_id") == answer.headers["x-request-id"]]
    assert [(record["status"], record["protocol"]) for record in refused] == [(status, "http")]
    assert refused[0]["refusal"] == answer.body.decode().strip()
    assert not [record for record in records if record["level"] in {"warning", "error"}]


TAKEN = {
    "length-with-zeros": post("Content-Length: 002"),
    "length-in-white-space": post("Content-Length: \t 2 \t "),
    "chunked-in-capitals": post("Transfer-Encoding: CHUNKED ", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunk-with-zeros": chunks("002\r\n{}\r\n000\r\n\r\n"),
    "chunk-extension": chunks('2;a=b;c="d"\r\n{}\r\n0\r\n\r\n'),
    "trailer": chunks("2\r\n{}\r\n0\r\nX-Any: a\r\n\r\n"),
    "line-breaks-before": "\r\n\r\n" + post("Content-Length: 2"),
    "absolute-target": post("Content-Length: 2").replace(" /", " http://a/", 1),
}


@pytest.mark.parametrize("request_", TAKEN.values(), ids=TAKEN)
def test_unusual_request_is_taken_and_the_next_one_too(sqlite_server: RunningServer, request_: str) -> None:
    with Wire(sqlite_server) as wire:
        wire.send(request_.encode("latin-1") + PING)
        assert wire.answer().status == 401  # it has no token
        assert wire.answer().body == b"ok\n"


def test_refusal_carries_the_callers_request_id(sqlite_server: RunningServer, project_id: str) -> None:
    with Wire(sqlite_server) as wire:
        line = f"x-request-id: {project_id}\r\n".encode()
        wire.send(b"POST /any HTTP/1.1\r\nhost: a\r\n" + line + b"content-length: +2\r\n\r\n{}")
        assert wire.answer().headers["x-request-id"] == project_id


def test_body_that_turns_out_wrong_is_refused_and_not_written(
    sqlite_server: RunningServer, caller: tuple[str, ...]
) -> None:
    create = head("POST", LIST.replace("List", "Create"), *caller, "transfer-encoding: chunked")
    with Wire(sqlite_server) as wire:
        wire.send(create, b'e\r\n{"name":"cut"}\r\n', b"x\r\n")
        assert wire.answer().status == 400
        assert wire.rest() == b""
    with Wire(sqlite_server) as wire:
        wire.send(head("POST", LIST, *caller, "content-length: 2") + b"{}")
        assert sorted(names(wire.answer().body)) == ["growth", "revenue"]


@pytest.mark.parametrize("space", [" ", "\t", " \t "], ids=["space", "tab", "both"])
def test_white_space_around_a_value_is_not_part_of_it(
    sqlite_server: RunningServer, caller: tuple[str, ...], space: str
) -> None:
    # RFC 9112 §5.1
    padded = [line.replace(": ", f":{space}{space}") + space for line in (*caller, "x-request-id: padded")]
    with Wire(sqlite_server) as wire:
        wire.send(head("POST", LIST, *padded, f"content-length: {len(BODY)}") + BODY)
        answer = wire.answer()
    assert (answer.status, names(answer.body)) == (200, ["revenue"])
    assert answer.headers["x-request-id"] == "padded"


def test_white_space_around_metadata_is_not_part_of_it(sqlite_server: RunningServer, project_id: str) -> None:
    # RFC 9113 §8.2.1 forbids it; grpcio passes it on.
    metadata = (("authorization", f"Bearer {make_token(project_id)} "), ("x-project-id", f" {project_id}  "))
    channel: Any
    with grpc.insecure_channel(sqlite_server.grpc) as channel:
        assert channel.unary_unary(LIST)(b"", metadata=metadata) is not None
