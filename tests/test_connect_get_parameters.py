"""The parameters of Connect's GET: each once, each a word of the protocol, base64 without slips."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING

import httpx
import pytest

from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from tests.api import connect_error
from tests.attack import SERVICE, bearer

if TYPE_CHECKING:
    from tests.api import Reply
    from tests.server import RunningServer

# Ids whose base64 has one, two and no characters of padding, and those of both alphabets.
IDS = ["a", "ab", "abc", "~?~?~?"]
JSON_A = "%7B%22id%22:%22nope%22%7D"


def get(server: RunningServer, query: str, headers: dict[str, str] | None = None) -> Reply:
    answer = httpx.get(
        f"{server.http}{SERVICE}/Get?{query}", headers=bearer() if headers is None else headers
    )
    assert answer.headers["cache-control"] == "private, no-cache"
    reply = connect_error(answer.content, dict(answer.headers))
    assert reply.request_id == answer.headers["x-request-id"]
    assert answer.status_code == {"not_found": 404, "unauthenticated": 401, "unimplemented": 501}.get(
        reply.code, 400
    )
    return reply


def encoded(identifier: str) -> str:
    return urlsafe_b64encode(GetRequest(id=identifier).to_binary()).decode()


@pytest.mark.parametrize("identifier", IDS[:3])
@pytest.mark.parametrize("pad", ["", "=", "%3D"])
def test_base64_with_and_without_its_padding_is_read(
    sqlite_server: RunningServer, identifier: str, pad: str
) -> None:
    message = encoded(identifier).rstrip("=") if not pad else encoded(identifier).replace("=", pad)
    reply = get(sqlite_server, f"connect=v1&encoding=proto&base64=1&message={message}")
    assert (reply.code, identifier in reply.message) == ("not_found", True)


BAD_BASE64 = {
    "not-base64": "***",
    "not-base64-inside": "CgFh***",
    "one-character": "C",
    "five-characters": "CgFhC",
    "too-much-padding": "CgFh%3D",
    "far-too-much-padding": "CgFh%3D%3D%3D%3D",
    "too-little-padding": "CgJhY%3D",
    "padding-inside": "CgJ%3DhYg%3D%3D",
    "trailing-bits": "CgJhYh",
    "white-space": "CgFh%20",
    "line-break": "CgFh%0A",
    "plus": "CgP7%2B%2B%2B",
    "plus-unencoded": "CgP7+++",
    "slash": "CgP%2F%2F%2F%2F",
    "standard-alphabet": b64encode(GetRequest(id="~?~?~?").to_binary()).decode().replace("/", "%2F"),
    "other-digits": "%D9%A1%D9%A2%D9%A3%D9%A4",
    "zero": "CgFh%00",
}


@pytest.mark.parametrize("message", BAD_BASE64.values(), ids=BAD_BASE64)
def test_base64_with_a_slip_is_refused(sqlite_server: RunningServer, message: str) -> None:
    reply = get(sqlite_server, f"connect=v1&encoding=proto&base64=1&message={message}")
    assert (reply.code, reply.reason, [*reply.violations]) == (
        "invalid_argument",
        "INVALID_REQUEST",
        ["message"],
    )


BAD_PARAMETERS = {
    "message-twice": (f"encoding=json&message={JSON_A}&message={JSON_A}", ["message"]),
    "message-twice-one-empty": (f"encoding=json&message=&message={JSON_A}", ["message"]),
    "message-twice-one-encoded": (f"encoding=json&message={JSON_A}&%6Dessage={JSON_A}", ["message"]),
    "encoding-twice": (f"encoding=json&encoding=proto&message={JSON_A}", ["encoding"]),
    "base64-twice": (f"encoding=json&message={JSON_A}&base64=1&base64=1", ["base64", "message"]),
    "compression-twice": (
        f"encoding=json&message={JSON_A}&compression=identity&compression=gzip",
        ["compression"],
    ),
    "connect-twice": (f"encoding=json&message={JSON_A}&connect=v1&connect=v1", ["connect"]),
    "connect-unknown": (f"encoding=json&message={JSON_A}&connect=v9", ["connect"]),
    "connect-empty": (f"encoding=json&message={JSON_A}&connect=", ["connect"]),
    "connect-in-capitals": (f"encoding=json&message={JSON_A}&connect=V1", ["connect"]),
    "base64-zero": (f"encoding=json&message={JSON_A}&base64=0", ["base64"]),
    "base64-true": (f"encoding=json&message={JSON_A}&base64=true", ["base64"]),
    "base64-empty": (f"encoding=json&message={JSON_A}&base64=", ["base64"]),
    "compression-empty": (f"encoding=json&message={JSON_A}&compression=", ["compression"]),
    "message-missing": ("encoding=json", ["message"]),
    "several": (f"encoding=json&message={JSON_A}&connect=v2&base64=2", ["connect", "base64"]),
}


@pytest.mark.parametrize(("query", "violations"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_parameter_with_a_slip_is_refused(
    sqlite_server: RunningServer, query: str, violations: list[str]
) -> None:
    reply = get(sqlite_server, query)
    assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_REQUEST")
    assert set(reply.violations) == set(violations)


@pytest.mark.parametrize(
    "query",
    [
        "encoding=json&message=%7B%22id%22:%22%FF%22%7D",
        "encoding=proto&message=%0A%01%FF",
        "encoding=json&message=%7B%7D&x=%FF",
        "encoding=json&message=%7B%7D&" + "a=1&" * 101,
    ],
)
def test_query_that_is_not_text_or_too_long_is_refused(sqlite_server: RunningServer, query: str) -> None:
    reply = get(sqlite_server, query)
    assert (reply.code, reply.reason) == ("invalid_argument", "MALFORMED_REQUEST")


@pytest.mark.parametrize("compression", ["br", "gzip,gzip", "GZIP%00"])
def test_unknown_compression_is_unimplemented(sqlite_server: RunningServer, compression: str) -> None:
    reply = get(sqlite_server, f"encoding=json&message={JSON_A}&compression={compression}")
    assert (reply.code, "gzip" in reply.message) == ("unimplemented", True)


@pytest.mark.parametrize("more", ["utm_source=x", "utm_source=x&utm_source=y", "Message=x", "connect=v1"])
def test_parameters_that_the_protocol_does_not_know_are_let_be(
    sqlite_server: RunningServer, more: str
) -> None:
    """As Connect's specification says of the query."""
    assert get(sqlite_server, f"{more}&encoding=json&message={JSON_A}").code == "not_found"


def test_caller_is_authenticated_before_the_parameters_are_looked_at(sqlite_server: RunningServer) -> None:
    assert get(sqlite_server, "encoding=json&base64=1&message=***", {}).code == "unauthenticated"
