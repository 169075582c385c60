"""Fields of a newer client: within a stored message they are kept, given back and compared.

The messages are built by hand: what a test says of unknown fields must not hang on a library's idea of them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from dashkeeper.gen.dashboards.v1.dashboards_pb import GetResponse
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Api
    from tests.server import RunningServer


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, value: int | str | bytes) -> bytes:
    """Encode a field: a number as a varint, the others with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


NEW = field(1000, "of a newer client")
NEWER = field(1000, "of a client newer still")
NEW_OF_EACH_WIRE_TYPE = [
    field(1000, 12_345_678_901),
    varint(1000 << 3 | 1) + b"eight 64",
    NEW,
    varint(1000 << 3 | 5) + b"four",
    field(100, field(1, "nested") + field(2, 7)),
    field(536_870_911, ""),
]


def tile(place: str = "", new: bytes = b"", *, tile_id: str = "one", y: int = 1) -> bytes:
    """Encode a tile that says something new at one of PLACES."""
    more = {place: new}
    position = field(2, y) + field(3, 6) + field(4, 2) + more.get("position", b"")
    named = (field(1, tile_id) if tile_id else b"") + field(3, position) + more.get("tile", b"")
    if place in ("query", "event"):
        event = field(1, "signup") + more.get("event", b"")
        query = field(1, event) + field(2, 2) + field(3, 1) + more.get("query", b"")
        return named + field(2, 1) + field(4, field(1, query) + field(2, 1))
    return named + field(2, 2) + field(5, field(1, "text") + more.get("markdown", b""))


def upsert_request(*tiles: bytes, name: str = "A") -> bytes:
    return field(1, "a") + b"".join(field(2, each) for each in tiles) + field(3, 1) + field(4, name)


PLACES = ("tile", "position", "markdown", "query", "event")
GET_REQUEST = field(1, "a")


class Raw:
    """Calls the server with bytes, and gives the bytes that it answers."""

    def __init__(
        self, server: RunningServer, http: httpx.Client, transport: str, headers: dict[str, str]
    ) -> None:
        self._server = server
        self._http = http
        self._transport = transport
        self._headers = headers

    def __call__(self, method: str, body: bytes) -> bytes:
        path = f"/dashboards.v1.DashboardsService/{method}"
        if self._transport == "grpc":
            with grpc.insecure_channel(self._server.grpc) as channel:
                call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
                return call(body, metadata=tuple(self._headers.items()), timeout=30)
        headers = {**self._headers, "content-type": "application/proto"}
        response = self._http.post(f"{self._server.http}{path}", content=body, headers=headers)
        assert response.status_code == 200, response.text
        return response.content

    def upsert(self, *tiles: bytes) -> UpsertResponse:
        return UpsertResponse.from_binary(self("Upsert", upsert_request(*tiles)))


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


@pytest.fixture(params=["grpc", "connect-proto"])
def raw(server: RunningServer, http: httpx.Client, one_api: Api, request: pytest.FixtureRequest) -> Raw:
    return Raw(server, http, request.param, one_api.headers)


@pytest.mark.parametrize("place", PLACES)
def test_unknown_field_of_a_tile_is_kept_through_every_write(raw: Raw, place: str) -> None:
    answers = [
        raw("Create", field(1, "A") + field(2, "a") + field(5, tile(place, NEW))),
        raw("Get", GET_REQUEST),
        raw("Update", field(1, "a") + field(2, "B")),
        raw("Upsert", upsert_request(tile(place, NEW, y=7))),
        raw("Upsert", upsert_request(tile("tile", b"", tile_id="two"), tile(place, NEW))),
    ]
    raw("Delete", GET_REQUEST)
    answers += [raw("Undelete", GET_REQUEST), raw("Get", GET_REQUEST)]
    assert [answer.count(NEW) for answer in answers] == [1] * len(answers)


@pytest.mark.parametrize("new", NEW_OF_EACH_WIRE_TYPE)
def test_unknown_field_of_any_wire_type_is_kept(raw: Raw, new: bytes) -> None:
    raw.upsert(tile("tile", new), tile("position", new, tile_id="two"))
    assert raw("Get", GET_REQUEST).count(new) == 2


@pytest.mark.parametrize("place", PLACES)
def test_unknown_field_counts_in_comparisons(raw: Raw, place: str) -> None:
    kind = "moved" if place == "position" else "updated"
    first = raw.upsert(tile(place, NEW))
    same = raw.upsert(tile(place, NEW))
    assert same.changes is not None
    assert same.changes.unchanged == ["one"]
    assert (same.dashboard and same.dashboard.etag) == (first.dashboard and first.dashboard.etag)
    for new in (NEWER, b"", NEW + NEWER):
        changes = raw.upsert(tile(place, new)).changes
        assert changes is not None
        assert (changes.updated, changes.moved) == ((["one"], []) if kind == "updated" else ([], ["one"]))


def test_unknown_field_counts_where_a_tile_without_id_is_recognised(raw: Raw) -> None:
    raw.upsert(tile("tile", NEW, tile_id="new"), tile("tile", NEWER, tile_id="newer"), tile(tile_id="plain"))
    reply = raw.upsert(
        tile("tile", b"", tile_id=""), tile("tile", NEWER, tile_id=""), tile("tile", NEW, tile_id="", y=9)
    )
    assert reply.dashboard is not None
    assert [each.id for each in reply.dashboard.tiles] == ["plain", "newer", "new"]
    answer = raw("Get", GET_REQUEST)
    assert (answer.count(NEW), answer.count(NEWER)) == (1, 1)
    reply = raw.upsert(tile("markdown", NEW, tile_id=""))
    assert reply.dashboard is not None
    assert reply.dashboard.tiles[0].id.startswith("tile_")


def test_unknown_field_of_the_request_itself_is_ignored(raw: Raw) -> None:
    answers = [
        raw("Create", field(1, "A") + NEW + field(2, "a") + field(5, tile())),
        raw("Get", GET_REQUEST + NEW),
        raw("Upsert", upsert_request(tile()) + NEW),
        raw("List", NEW),
        raw("Update", field(1, "a") + NEW),
    ]
    assert not any(NEW in answer for answer in answers)
    dashboard = GetResponse.from_binary(raw("Get", GET_REQUEST)).dashboard
    assert dashboard is not None
    assert dashboard.revision == 1, "none of these writes changed anything"


def test_unknown_field_makes_another_request_of_one_request_id(raw: Raw, one_api: Api) -> None:
    request = field(1, "A") + field(12, str(uuid.uuid4()))
    first = raw("Create", request + NEW)
    assert raw("Create", request + NEW) == first
    assert raw("Create", NEW + request) == first
    for other in (request, request + NEWER, request + field(5, tile("tile", NEW))):
        with pytest.raises((grpc.RpcError, AssertionError), match="was used for a different request"):
            raw("Create", other)
    assert len(one_api.call("List").body["dashboards"]) == 1


def test_unknown_field_does_not_keep_json_clients_from_reading(raw: Raw, one_api: Api) -> None:
    raw.upsert(tile("query", NEW))
    found = one_api.call("Get", {"id": "a"}).dashboard["tiles"]
    assert found[0]["insight"]["query"] == {
        "events": [{"name": "signup"}],
        "granularity": "GRANULARITY_DAY",
        "aggregation": "AGGREGATION_COUNT",
    }
