"""Bodies and headers that no honest client sends: a clear refusal at little cost, and others are served on."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from tests.api import METHODS, TRANSPORTS, Api, connect_error
from tests.broken_rules import NEW_TILE
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server import RunningServer

PROJECT = "malformed"
SERVICE = "/dashboards.v1.DashboardsService"
MIB = 1 << 20
CPU_SECONDS, MEMORY_MIB, WAIT_SECONDS = 1.5, 200, 10
"""The most that one request may cost the server, and the longest that another caller may wait meanwhile."""
LEAKS = ("Traceback", 'File "', ".py", "SELECT", "INSERT", "sqlite", "sqlalchemy", "<class", "codec can't")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of these tests' own: what harms it must not fail others."""
    with running_server(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.fixture(scope="module")
def apis(attacked: RunningServer) -> Iterator[dict[str, Api]]:
    names = [*TRANSPORTS, "connect-json"]
    clients = {name: Api(attacked, name, make_token(PROJECT), PROJECT) for name in names}
    for name in "abc":
        assert clients["connect-json"].call("Create", {"name": name, "dashboardId": name}).code == "ok"
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(autouse=True)
def _unharmed(attacked: RunningServer, apis: dict[str, Api]) -> Iterator[None]:
    """After each test: the server lives, answers, and has logged nothing unforeseen."""
    seen = len(attacked.log_records())
    yield
    assert attacked.process.poll() is None, "the server's process has ended"
    assert all(client.call("Get", {"id": "a"}).code == "ok" for client in apis.values())
    assert [record for record in attacked.log_records()[seen:] if record["level"] == "error"] == []


@contextlib.contextmanager
def at_little_cost(server: RunningServer) -> Iterator[None]:
    """Bound what the block costs the server (on Linux), and how long another caller waits meanwhile.

    The cost is processor time, which doesn't depend on what else the machine does.
    """
    proc = Path(f"/proc/{server.process.pid}")
    other = Api(server, "connect-json", make_token(PROJECT), PROJECT)
    waits: list[float] = []
    done = threading.Event()

    def keep_calling() -> None:
        while not waits or not done.wait(0.05):
            started = time.monotonic()
            other.call("Get", {"id": "a"})
            waits.append(time.monotonic() - started)

    def cpu_seconds() -> float:
        times = (proc / "stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(name: str) -> int:
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return int(status[name].split()[0]) >> 10

    has_proc = proc.exists()
    if has_proc:
        (proc / "clear_refs").write_text("5")  # the peak begins anew
        cpu_before, memory_before = cpu_seconds(), memory_mib("VmRSS")
    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        yield
    finally:
        done.set()
        caller.join()
        other.close()
    if has_proc:
        assert cpu_seconds() - cpu_before < CPU_SECONDS
        assert memory_mib("VmHWM") - memory_before < MEMORY_MIB
    assert max(waits) < WAIT_SECONDS


def assert_clean(text: str) -> None:
    assert [leak for leak in LEAKS if leak in text] == []


def varint(number: int) -> bytes:
    content = b""
    while number > 0x7F:
        content += bytes([number & 0x7F | 0x80])
        number >>= 7
    return content + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """Write a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def raw_http(server: RunningServer, *parts: bytes) -> bytes:
    """Send bytes as they are, and return what comes back until the server closes."""
    address = httpx.URL(server.http)
    answer = b""
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        with contextlib.suppress(OSError):  # it may refuse before it has everything
            for part in parts:
                connection.sendall(part)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                answer += chunk
    return answer


ID_A = field(1, b"a")
MALFORMED_JSON = {
    "null": b"null",
    "array": b"[]",
    "array-of-one": b'[{"id":"a"}]',
    "string": b'"a"',
    "number": b"1",
    "white-space": b" \n",
    "truncated": b'{"id":"a"',
    "two-objects": b'{"id":"a"}{}',
    "trailing-text": b'{"id":"a"}x',
    "trailing-comma": b'{"id":"a",}',
    "comment": b'{/**/"id":"a"}',
    "single-quotes": b"{'id':'a'}",
    "key-without-quotes": b'{id:"a"}',
    "key-of-a-number": b'{1:"a"}',
    "binary": ID_A,
    "bom": b'\xef\xbb\xbf{"id":"a"}',
    "utf-16": '{"id":"a"}'.encode("utf-16"),
    "utf-16-without-bom": '{"id":"a"}'.encode("utf-16-le"),
    "utf-32": '{"id":"a"}'.encode("utf-32"),
    "latin-1": b'{"id":"\xe9"}',
    "utf-8-surrogate": b'{"id":"\xed\xa0\x80"}',
    "utf-8-overlong": b'{"id":"\xc0\x80"}',
    "lone-surrogate": b'{"id":"\\ud800"}',
    "lone-low-surrogate": b'{"id":"\\udc00a"}',
    "lone-surrogate-in-key": b'{"\\ud800":"a"}',
    "lone-surrogate-in-word": b'{"id":"a","tiles":[{"type":"\\udfff"}]}',
    "zero-byte": b'{"id":"a\x00"}',
    "line-break-in-string": b'{"id":"a\n"}',
    "bad-escape": b'{"id":"\\x41"}',
    "nan": b'{"id":NaN}',
    "infinity": b'{"id":-Infinity}',
    "id-number": b'{"id":1}',
    "id-object": b'{"id":{}}',
    "id-array": b'{"id":["a"]}',
    "id-true": b'{"id":true}',
}


@pytest.mark.parametrize("method", ["Get", "Delete", "Upsert"])
@pytest.mark.parametrize("body", MALFORMED_JSON.values(), ids=MALFORMED_JSON)
def test_malformed_json_is_refused(apis: dict[str, Api], method: str, body: bytes) -> None:
    reply = apis["connect-json"].send(method, body)
    assert (reply.code, bool(reply.request_id)) == ("invalid_argument", True)
    assert reply.reason in {"MALFORMED_REQUEST", "INVALID_REQUEST"}
    assert_clean(reply.message)


MALFORMED_LIST = {
    "float": b'{"pageSize":1.5}',
    "float-without-end": b'{"pageSize":1e999}',
    "out-of-range": b'{"pageSize":2147483648}',
    "digits-without-end": b'{"pageSize":' + b"9" * MIB + b"}",
    "hexadecimal": b'{"pageSize":"0x1"}',
    "exponent-without-end": b'{"pageSize":"1e999999999"}',
    "true": b'{"pageSize":true}',
    "bool-as-string": b'{"showDeleted":"true"}',
    "labels-array": b'{"labels":[]}',
    "labels-null": b'{"labels":{"a":null}}',
    "labels-number": b'{"labels":{"a":1}}',
}


@pytest.mark.parametrize("body", MALFORMED_LIST.values(), ids=MALFORMED_LIST)
def test_json_value_of_wrong_type_is_refused(apis: dict[str, Api], body: bytes) -> None:
    reply = apis["connect-json"].send("List", body)
    assert reply.code == "invalid_argument"
    assert_clean(reply.message)


@pytest.mark.parametrize("body", [b'{"id":"a","id":"b"}', b'{"dashboard_id":"a","dashboardId":"b"}'])
def test_json_with_a_key_twice_is_refused_or_the_last_one_counts(apis: dict[str, Api], body: bytes) -> None:
    reply = apis["connect-json"].send("Get" if b'"id"' in body else "Upsert", body)
    assert reply.code in {"invalid_argument", "ok", "not_found"}


MALFORMED_BINARY = {
    "text": b'{"id":"a"}',
    "truncated-tag": b"\x80",
    "truncated-length": b"\x0a",
    "truncated-string": b"\x0a\x05a",
    "length-without-end": b"\x0a" + b"\xff" * 9 + b"\x01",
    "varint-too-long": b"\x0a" + b"\x80" * 11 + b"\x01",
    "tag-zero": b"\x00\x01",
    "tag-above-the-highest": varint((1 << 32) | 10) + b"\x01a",
    "wire-type-6": b"\x0e\x01",
    "wire-type-7": b"\x0f\x01",
    "invalid-utf-8": field(1, b"\xff\xfe"),
    "utf-8-surrogate": field(1, b"\xed\xa0\x80"),
    "end-of-no-group": b"\x54",
    "group-without-end": b"\x53",
    "other-group-ends": b"\x53\x5c",
    "truncated-fixed64": b"\x51\x00\x00",
}


@pytest.mark.parametrize("transport", ["grpc", "grpc-web", "connect-proto"])
@pytest.mark.parametrize("body", MALFORMED_BINARY.values(), ids=MALFORMED_BINARY)
def test_malformed_binary_is_refused(apis: dict[str, Api], transport: str, body: bytes) -> None:
    reply = apis[transport].send("Get", body)
    assert (reply.code, bool(reply.request_id)) == ("invalid_argument", True)
    assert_clean(reply.message)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_empty_body_is_an_empty_request(apis: dict[str, Api], transport: str) -> None:
    assert set(apis[transport].send("Get", b"").violations) == {"id"}
    assert apis[transport].send("List", b"").code == "ok"


def tiles_json(count: int) -> bytes:
    return b'{"dashboardId":"a","tiles":[' + b",".join([b"{}"] * count) + b"]}"


def labels_json(count: int) -> bytes:
    return json.dumps({"name": "a", "labels": {f"K{number}": "\t" for number in range(count)}}).encode()


def labels_binary(count: int) -> bytes:
    entries = (field(4, field(1, b"K%d" % number) + field(2, b"\t")) for number in range(count))
    return field(1, b"a") + b"".join(entries)


BINARY = ("grpc", "grpc-web", "connect-proto")
JSON = ("connect-json",)
REFUSED = {"invalid_argument", "resource_exhausted"}
TOO_MUCH = {"resource_exhausted"}
# What is sent: where, to which method, and the codes it may be refused with.
BOMBS: dict[str, tuple[tuple[str, ...], str, Callable[[], bytes], set[str]]] = {
    "5-mib": (TRANSPORTS, "Get", lambda: field(1, b"a" * 5 * MIB), TOO_MUCH),
    "4-mib-and-some": (BINARY, "Get", lambda: field(1, b"a" * 4 * MIB), TOO_MUCH),
    "4-mib-of-one-string": (BINARY, "Get", lambda: field(1, b"a" * (4 * MIB - 6)), {"invalid_argument"}),
    "4-mib-of-empty-tiles": (BINARY, "Upsert", lambda: ID_A + b"\x12\x00" * (2 * MIB - 2), TOO_MUCH),
    "4-mib-of-empty-tiles-json": (JSON, "Upsert", lambda: tiles_json(MIB), TOO_MUCH),
    "as-many-tiles-as-are-decoded": (BINARY, "Upsert", lambda: ID_A + b"\x12\x00" * 19_000, REFUSED),
    "as-many-tiles-as-are-decoded-json": (JSON, "Upsert", lambda: tiles_json(19_000), REFUSED),
    "tiles-with-long-tags": (BINARY, "Upsert", lambda: ID_A + b"\x92\x80\x80\x80\x00\x00" * 500_000, TOO_MUCH),
    "tiles-behind-a-bad-varint": (
        BINARY, "Upsert", lambda: b"\x50" + b"\x80" * 10 + b"\x00" + b"\x12\x00" * MIB, REFUSED
    ),
    "nested-empty-filters": (
        BINARY,
        "Upsert",
        lambda: ID_A + field(2, field(4, field(1, field(1, b"\x12\x00" * MIB)))),
        TOO_MUCH,
    ),
    "4-mib-of-unknown-fields": (BINARY, "Get", lambda: ID_A + b"\x50\x01" * (2 * MIB - 2), TOO_MUCH),
    "4-mib-of-unknown-fields-in-a-tile": (
        BINARY, "Upsert", lambda: ID_A + field(2, b"\x78\x01" * (2 * MIB - 8)), TOO_MUCH
    ),
    "map-of-300000": (BINARY, "Create", lambda: labels_binary(300_000), TOO_MUCH),
    "map-of-19000": (BINARY, "Create", lambda: labels_binary(19_000), REFUSED),
    "map-of-150000-json": (JSON, "Create", lambda: labels_json(150_000), TOO_MUCH),
    "map-of-90000-json": (JSON, "Create", lambda: labels_json(90_000), REFUSED),
    "unknown-keys-json": (
        JSON, "Get", lambda: json.dumps({f"k{n}": 1 for n in range(90_000)}).encode(), REFUSED
    ),
    "mask-of-a-million-paths": (BINARY, "Update", lambda: ID_A + field(5, field(1, b"a") * MIB), TOO_MUCH),
    "mask-of-800000-paths-json": (
        JSON, "Update", lambda: b'{"id":"a","updateMask":"' + b"name," * 800_000 + b'name"}', REFUSED
    ),
    "nested-arrays": (JSON, "Get", lambda: b"[" * 100_000 + b"]" * 100_000, {"invalid_argument"}),
    "nested-arrays-without-end": (JSON, "Get", lambda: b"[" * (4 * MIB), {"invalid_argument"}),
    "nested-arrays-in-a-field": (JSON, "Get", lambda: b'{"id":' + b"[" * 100_000, {"invalid_argument"}),
    "nested-objects": (JSON, "Get", lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {"invalid_argument"}),
    "nested-999": (JSON, "Get", lambda: b'{"a":' * 999 + b"1" + b"}" * 999, {"invalid_argument"}),
    "nested-behind-an-odd-string": (JSON, "Get", lambda: b'{"\\\\":"\\"",' + b'"a":[' * 90_000, {"invalid_argument"}),
    "nested-in-utf-16": (
        JSON, "Get", lambda: ('{"\\"":' + "[" * 200_000).encode("utf-16-le"), {"invalid_argument"}
    ),
    "closing-brackets": (JSON, "Get", lambda: b"]" * (4 * MIB), {"invalid_argument"}),
    "quotes": (JSON, "Get", lambda: b'{"id":"' + b'\\"' * (2 * MIB - 10), {"invalid_argument"}),
    "backslashes": (JSON, "Get", lambda: b'{"id":"' + b"\\" * (4 * MIB - 20), {"invalid_argument"}),
    "nested-groups": (BINARY, "Get", lambda: b"\x53" * 30_000 + b"\x54" * 30_000, REFUSED),
    "nested-groups-in-a-tile": (BINARY, "Upsert", lambda: ID_A + field(2, b"\x7b" * 18_000), REFUSED),
    "nested-groups-small": (BINARY, "Get", lambda: b"\x53" * 39_000, REFUSED),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bomb_is_refused_at_little_cost(attacked: RunningServer, apis: dict[str, Api], bomb: str) -> None:
    transports, method, make_body, codes = BOMBS[bomb]
    body = make_body()
    for transport in transports:
        with at_little_cost(attacked):
            reply = apis[transport].send(method, body)
        assert reply.code in codes, transport
        assert_clean(reply.message[:2_000])


COMPRESSED: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "zeros": (lambda: gzip.compress(b"\0" * (128 * MIB), 9), TOO_MUCH),
    "zeros-in-parts": (lambda: gzip.compress(b"\0" * MIB, 9) * 200, TOO_MUCH),
    "empty-parts": (lambda: gzip.compress(b"", 9) * 100_000, REFUSED),
    "truncated": (lambda: gzip.compress(ID_A)[:-4], {"invalid_argument"}),
    "not-compressed": (lambda: ID_A, {"invalid_argument"}),
    "wrong-checksum": (lambda: gzip.compress(ID_A)[:-8] + b"\1" * 8, {"invalid_argument"}),
    "trailing-garbage": (lambda: gzip.compress(ID_A) + b"garbage", {"invalid_argument"}),
}


@pytest.mark.parametrize(("make_body", "codes"), COMPRESSED.values(), ids=COMPRESSED)
def test_compressed_bomb_is_refused_at_little_cost(
    attacked: RunningServer, apis: dict[str, Api], make_body: Callable[[], bytes], codes: set[str]
) -> None:
    body = make_body()
    with at_little_cost(attacked):
        reply = apis["connect-proto"].send("Get", body, content_encoding="gzip")
    assert reply.code in codes
    assert_clean(reply.message)
    with at_little_cost(attacked):
        framed = b"\1" + struct.pack(">I", len(body)) + body
        reply = grpc_web(attacked, framed, {"grpc-encoding": "gzip"})
    assert reply["grpc-status"] in {"3", "8"}


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_grpc_bomb_is_refused_at_little_cost(attacked: RunningServer, compression: grpc.Compression) -> None:
    with grpc.insecure_channel(
        attacked.grpc, compression=compression, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        metadata = (("authorization", f"Bearer {make_token(PROJECT)}"), ("x-project-id", PROJECT))
        with at_little_cost(attacked), pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"{SERVICE}/Get")(b"\0" * (128 * MIB), metadata=metadata, timeout=60)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def grpc_web(server: RunningServer, body: bytes, headers: dict[str, str]) -> httpx.Headers:
    """Send a gRPC-Web body as it stands; return the headers of an answer that is an error."""
    standard = {
        "content-type": "application/grpc-web+proto",
        "authorization": f"Bearer {make_token(PROJECT)}",
        "x-project-id": PROJECT,
    }
    answer = httpx.post(f"{server.http}{SERVICE}/Get", content=body, headers=standard | headers, timeout=60)
    assert answer.status_code == 200
    if "grpc-status" in answer.headers:
        return answer.headers
    lines = answer.content[answer.content.rindex(b"grpc-status") :].decode().splitlines()
    return httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
