"""Content types and codings are words in any case, with parameters (RFC 9110 §8.3.1, §8.4.1)."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.api import Api
from tests.attack import PROJECT, SERVICE, bearer, grpc_web
from tests.rest import Rest, registration
from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

GZIP_WORDS = ["gzip", "GZIP", "GZip", "x-gzip", "gzip,"]
JSON_TYPES = [
    "Application/JSON",
    "application/json;charset=UTF-8",
    "application/json ; Charset=utf-8",
    'application/json; charset="UTF-8"',
    "application/json; charset=utf8",
    "application/json; odata=verbose",
    "APPLICATION/JSON;",
]
FRAME = b"\0\0\0\0\0"


@pytest.fixture
def rest(sqlite_server: RunningServer, project_id: str) -> Iterator[Rest]:
    client = Rest(sqlite_server, project_id)
    yield client
    client.close()


@pytest.fixture(scope="module")
def large(sqlite_server: RunningServer) -> str:
    """Make a dashboard whose answer is worth compressing; return its id."""
    api = Api(sqlite_server, "connect-json", make_token(PROJECT), PROJECT)
    made = api.call("Create", {"name": "large", "description": "text " * 400}).dashboard["id"]
    api.close()
    return made


def post(server: RunningServer, body: bytes, headers: dict[str, str]) -> httpx.Response:
    sent = {**bearer(), "content-type": "application/json", **headers}
    return httpx.post(f"{server.http}{SERVICE}/Get", content=body, headers=sent)


@pytest.mark.parametrize("word", GZIP_WORDS)
def test_content_encoding_is_read_in_any_case(sqlite_server: RunningServer, rest: Rest, word: str) -> None:
    answer = post(sqlite_server, gzip.compress(b'{"id":"nope"}'), {"content-encoding": word})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    message = gzip.compress(b"\x0a\x04nope")
    frame = b"\1" + len(message).to_bytes(4, "big") + message
    assert grpc_web(sqlite_server, frame, {"grpc-encoding": word})["grpc-status"] == "5"
    body = gzip.compress(json.dumps(registration()).encode())
    assert rest.call("POST", "/dashboards", content=body, content_encoding=word).status_code == 201


@pytest.mark.parametrize("word", ["IDENTITY", "Identity", ""])
def test_identity_is_no_coding_in_any_case(sqlite_server: RunningServer, rest: Rest, word: str) -> None:
    assert post(sqlite_server, b'{"id":"nope"}', {"content-encoding": word}).status_code == 404
    assert grpc_web(sqlite_server, FRAME, {"grpc-encoding": word})["grpc-status"] == "3"
    assert rest.call("POST", "/dashboards", registration(), content_encoding=word).status_code == 201


@pytest.mark.parametrize("words", [("gzip", "gzip"), ("gzip", "identity"), ("identity", "gzip")])
def test_several_codings_are_refused_however_they_are_sent(
    sqlite_server: RunningServer, rest: Rest, words: tuple[str, str]
) -> None:
    """Of two headers connectrpc would take the first alone."""
    sent = {**bearer(), "content-type": "application/json"}
    headers = [*sent.items(), *(("content-encoding", word) for word in words)]
    body = gzip.compress(b'{"id":"nope"}')
    assert httpx.post(f"{sqlite_server.http}{SERVICE}/Get", content=body, headers=headers).status_code == 501
    answer = rest.call("POST", "/dashboards", content=body, content_encoding=", ".join(words))
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("GZIP", True),
        ("br, GZip;q=0.5", True),
        ("x-gzip", True),
        ("gzip;q=1.0, *;q=0", True),
        ("gzip;q=0", False),
        ("gzip; Q=0.000", False),
        ("br", False),
        ("identity", False),
        ("", False),
        ("gzipped", False),
    ],
)
def test_accepted_codings_are_read_in_any_case_and_with_their_weights(
    sqlite_server: RunningServer, large: str, accepted: str, *, is_compressed: bool
) -> None:
    body = json.dumps({"id": large}).encode()
    answer = post(sqlite_server, body, {"accept-encoding": accepted})
    assert answer.json()["dashboard"]["id"] == large
    assert (answer.headers["content-encoding"] == "gzip") is is_compressed
    frame = b"\0" + (len(large) + 2).to_bytes(4, "big") + b"\x0a" + bytes([len(large)]) + large.encode()
    sent = {**bearer(), "content-type": "application/grpc-web+proto", "grpc-accept-encoding": accepted}
    web = httpx.post(f"{sqlite_server.http}{SERVICE}/Get", content=frame, headers=sent)
    assert web.content[0] == is_compressed


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_json_in_any_case_and_with_parameters(
    sqlite_server: RunningServer, rest: Rest, content_type: str
) -> None:
    answer = post(sqlite_server, b'{"id":"nope"}', {"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    body = json.dumps(registration()).encode()
    assert rest.call("POST", "/dashboards", content=body, content_type=content_type).status_code == 201


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "us-ascii", '"utf-7"', ""])
def test_json_in_another_charset_than_utf_8_is_refused(
    sqlite_server: RunningServer, rest: Rest, charset: str
) -> None:
    content_type = f"application/json; charset={charset}"
    assert post(sqlite_server, b'{"id":"nope"}', {"content-type": content_type}).status_code == 415
    body = json.dumps(registration()).encode()
    assert rest.call("POST", "/dashboards", content=body, content_type=content_type).status_code == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/grpc-web",
        "Application/gRPC-Web+Proto",
        "application/grpc-web+proto; charset=utf-8",
        "APPLICATION/GRPC-WEB",
    ],
)
def test_grpc_web_is_grpc_web_in_any_case_and_with_parameters(
    sqlite_server: RunningServer, content_type: str
) -> None:
    assert grpc_web(sqlite_server, FRAME, {"content-type": content_type})["grpc-status"] == "3"
