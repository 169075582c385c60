"""Requests that cost far more to take in than to send: refused at little cost, while others are served on."""

from __future__ import annotations

import gzip
import json
import struct
from typing import TYPE_CHECKING, Any, cast

import grpc
import httpx
import pytest

from tests.api import TRANSPORTS
from tests.attack import (
    MIB,
    SERVICE,
    assert_clean,
    at_little_cost,
    bearer,
    field,
    grpc_web,
    raw_http,
    unharmed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api import Api
    from tests.server import RunningServer

ID_A = field(1, b"a")


@pytest.fixture
def apis(attacked: RunningServer) -> Iterator[dict[str, Api]]:
    with unharmed(attacked) as clients:
        yield clients


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
    "tiles-with-long-tags": (
        BINARY,
        "Upsert",
        lambda: ID_A + b"\x92\x80\x80\x80\x00\x00" * 500_000,
        TOO_MUCH,
    ),
    "tiles-behind-a-bad-varint": (
        BINARY,
        "Upsert",
        lambda: b"\x50" + b"\x80" * 10 + b"\x00" + b"\x12\x00" * MIB,
        REFUSED,
    ),
    "nested-empty-filters": (
        BINARY,
        "Upsert",
        lambda: ID_A + field(2, field(4, field(1, field(1, b"\x12\x00" * MIB)))),
        TOO_MUCH,
    ),
    "4-mib-of-unknown-fields": (BINARY, "Get", lambda: ID_A + b"\x50\x01" * (2 * MIB - 2), TOO_MUCH),
    "4-mib-of-unknown-fields-in-a-tile": (
        BINARY,
        "Upsert",
        lambda: ID_A + field(2, b"\x78\x01" * (2 * MIB - 8)),
        TOO_MUCH,
    ),
    "map-of-300000": (BINARY, "Create", lambda: labels_binary(300_000), TOO_MUCH),
    "map-of-19000": (BINARY, "Create", lambda: labels_binary(19_000), REFUSED),
    "map-of-150000-json": (JSON, "Create", lambda: labels_json(150_000), TOO_MUCH),
    "map-of-90000-json": (JSON, "Create", lambda: labels_json(90_000), REFUSED),
    "unknown-keys-json": (
        JSON,
        "Get",
        lambda: json.dumps({f"k{n}": 1 for n in range(90_000)}).encode(),
        REFUSED,
    ),
    "mask-of-a-million-paths": (BINARY, "Update", lambda: ID_A + field(5, field(1, b"a") * MIB), TOO_MUCH),
    "mask-of-800000-paths-json": (
        JSON,
        "Update",
        lambda: b'{"id":"a","updateMask":"' + b"name," * 800_000 + b'name"}',
        REFUSED,
    ),
    "nested-arrays": (JSON, "Get", lambda: b"[" * 100_000 + b"]" * 100_000, {"invalid_argument"}),
    "nested-arrays-without-end": (JSON, "Get", lambda: b"[" * (4 * MIB), {"invalid_argument"}),
    "nested-arrays-in-a-field": (JSON, "Get", lambda: b'{"id":' + b"[" * 100_000, {"invalid_argument"}),
    "nested-objects": (JSON, "Get", lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {"invalid_argument"}),
    "nested-999": (JSON, "Get", lambda: b'{"a":' * 999 + b"1" + b"}" * 999, {"invalid_argument"}),
    "nested-behind-an-odd-string": (
        JSON,
        "Get",
        lambda: b'{"\\\\":"\\"",' + b'"a":[' * 90_000,
        {"invalid_argument"},
    ),
    "nested-in-utf-16": (
        JSON,
        "Get",
        lambda: ('{"\\"":' + "[" * 200_000).encode("utf-16-le"),
        {"invalid_argument"},
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
    "zeros-in-parts": (lambda: gzip.compress(b"\0" * MIB, 9) * 200, REFUSED),
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


@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_grpc_bomb_is_refused_at_little_cost(attacked: RunningServer, compression: grpc.Compression) -> None:
    with grpc.insecure_channel(
        attacked.grpc, compression=compression, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        metadata = tuple(bearer().items())
        with at_little_cost(attacked), pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"{SERVICE}/Get")(b"\0" * (128 * MIB), metadata=metadata, timeout=60)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# What needs no token to be sent: services that are open to all, and headers.
@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize(
    "body", [b"\x50\x01" * (2 * MIB - 2), b"\x53" * MIB], ids=["unknown-fields", "groups"]
)
@pytest.mark.parametrize(
    "path",
    ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"],
    ids=["health", "reflection"],
)
def test_bomb_for_an_open_service_is_taken_at_little_cost(
    attacked: RunningServer, path: str, body: bytes
) -> None:
    details, code = "", grpc.StatusCode.OK
    with (
        grpc.insecure_channel(attacked.grpc, [("grpc.max_send_message_length", -1)]) as channel,
        at_little_cost(attacked),
    ):
        try:
            call = cast("Any", channel).stream_stream(path)
            list(call(iter([body]), timeout=60))
        except grpc.RpcError as error:
            answered: Any = error
            details, code = answered.details(), answered.code()
    assert code.name in {"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
    assert "<class" not in details


ENDLESS_HEADS = {
    "url": (b"GET /", b"a" * MIB),
    "header": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-a: ", b"a" * MIB),
    "headers": (b"GET /healthz HTTP/1.1\r\nhost: a\r\n", b"x-a: b\r\n" * (MIB // 8)),
    "token": (f"POST {SERVICE}/Get HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ".encode(), b"a" * MIB),
}


@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize(("start", "part"), ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
def test_http_head_without_end_is_refused_at_little_cost(
    attacked: RunningServer, start: bytes, part: bytes
) -> None:
    with at_little_cost(attacked):
        answer = raw_http(attacked, start, *[part] * 48, b"\r\n\r\n")
    assert answer[9:12] in {b"", b"400", b"414", b"431"}, answer[:100]


HUGE_ERRORS = {
    "value": ("List", lambda: b'{"pageSize":"' + b"9" * (4 * MIB - 100) + b'"}'),
    "key": ("Get", lambda: b'{"' + b"k" * (4 * MIB - 100) + b'":1}'),
    "keys": ("Get", lambda: json.dumps({f"{n}" + "k" * 40_000: 1 for n in range(100)}).encode()),
    "label": ("Create", lambda: json.dumps({"name": "a", "labels": {"K" * (4 * MIB - 100): ""}}).encode()),
    "tiles": ("Upsert", lambda: tiles_json(19_000)),
}


@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize(("method", "make_body"), HUGE_ERRORS.values(), ids=HUGE_ERRORS)
def test_error_for_a_huge_request_is_small_enough_for_clients(
    attacked: RunningServer, method: str, make_body: Callable[[], bytes]
) -> None:
    headers = {"content-type": "application/json", **bearer()}
    answer = httpx.post(
        f"{attacked.http}{SERVICE}/{method}", content=make_body(), headers=headers, timeout=60
    )
    assert answer.json()["code"] in REFUSED
    assert len(answer.content) < MIB  # default clients refuse answers above 4 MiB
