"""The head of a Connect or gRPC-Web request, strictly: looked at before connectrpc sees it.

connectrpc takes the first of what is said twice, any `connect=`, base64 with anything between its
letters; it refuses some of the rest by itself, without a request id, details or a log line.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from dashkeeper.errors import InvalidRequestError, UnimplementedError, Violation
from dashkeeper.transport.content import coding, media_type, takes_gzip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Scope

    from dashkeeper.errors import DashkeeperError

_CONNECT_TYPES = frozenset({"application/json", "application/proto"})
_GRPC_WEB = "application/grpc-web"
_GRPC_WEB_TYPES = frozenset({_GRPC_WEB, f"{_GRPC_WEB}+proto", f"{_GRPC_WEB}+json"})
_ENCODINGS = frozenset({"json", "proto"})
_MAX_PARAMETERS = 100

_PARAMETERS: Mapping[str, tuple[frozenset[str], str]] = {
    "connect": (frozenset({"v1"}), "must be v1, or left out"),
    "base64": (frozenset({"1"}), "must be 1, or left out"),
}
_KNOWN = ("encoding", "message", "compression", *_PARAMETERS)
_PROTOCOL_HEADERS: Mapping[str, Mapping[str, tuple[re.Pattern[str], str]]] = {
    "connect": {
        "connect-protocol-version": (re.compile("1"), "must be 1"),
        "connect-timeout-ms": (
            re.compile(r"[0-9]{1,10}"),
            "must be milliseconds, ten digits at most",
        ),
    },
    "grpc-web": {
        "grpc-timeout": (
            re.compile(r"[0-9]{1,8}[HMSmun]"),
            "must be eight digits at most and a unit: H, M, S, m, u or n",
        ),
    },
}
_CODING_HEADERS: Mapping[str, tuple[str, str]] = {
    "connect": ("content-encoding", "accept-encoding"),
    "grpc-web": ("grpc-encoding", "grpc-accept-encoding"),
}
_REWRITTEN: Mapping[str, frozenset[bytes]] = {
    protocol: frozenset(name.encode() for name in ("content-type", *names))
    for protocol, names in _CODING_HEADERS.items()
}


class RefusedByHTTPError(Exception):
    """The request is none of the protocols': the answer is one of HTTP."""

    def __init__(self, error: DashkeeperError, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that connectrpc can take."""

    protocol: Literal["connect", "grpc-web"]
    scope: Scope
    """As connectrpc is to see it."""
    problem: DashkeeperError | None
    """What is wrong with it: to be told once the caller is known."""


def arrival(scope: Scope, methods: Sequence[str]) -> Arrival:
    """Look at a request for an RPC that is served by these methods of HTTP.

    Raises:
        RefusedByHTTPError: If it is of no protocol that is served.
    """
    headers = _joined(scope)
    kind = media_type(headers.get("content-type", ""))
    protocol: Literal["connect", "grpc-web"] = "grpc-web" if kind.startswith(_GRPC_WEB) else "connect"
    if kind.startswith("application/grpc") and protocol != "grpc-web":
        raise _unsupported("gRPC is not served on this address: use that of GRPC_ADDRESS")
    allowed = ["POST"] if protocol == "grpc-web" else methods
    if scope["method"] not in allowed:
        message = f"{scope['method'][:20]} is not served here: use {' or '.join(allowed)}"
        error = UnimplementedError(message, reason="METHOD_NOT_ALLOWED")
        raise RefusedByHTTPError(error, 405, {"allow": ", ".join(allowed)})
    problems = _header_problems(headers, protocol)
    problem: DashkeeperError | None = None
    if scope["method"] == "GET":
        try:
            problems += _query_problems(scope["query_string"])
        except InvalidRequestError as error:
            problem = error
    elif kind not in (_GRPC_WEB_TYPES if protocol == "grpc-web" else _CONNECT_TYPES):
        raise _unsupported(
            "content-type must be application/json, in UTF-8, or application/proto;"
            f" for gRPC-Web {_GRPC_WEB}+proto or {_GRPC_WEB}+json",
            {"accept-post": ", ".join(sorted(_CONNECT_TYPES | _GRPC_WEB_TYPES))},
        )
    if problems:
        problem = InvalidRequestError.of(problems)
    seen = {**scope, "headers": _normalised(scope, headers, protocol, kind)}
    if problem is not None:
        # Without what connectrpc would refuse by itself, before it asks who calls.
        refused = {name.encode() for name in _PROTOCOL_HEADERS[protocol]}
        seen["headers"] = [pair for pair in seen["headers"] if pair[0] not in refused]
        seen["query_string"] = b"encoding=json"
    return Arrival(protocol, seen, problem)


def _joined(scope: Scope) -> dict[str, str]:
    """Return the headers, the values of several of one name joined (RFC 9110 §5.3).

    Raises:
        RefusedByHTTPError: If one isn't UTF-8: connectrpc would answer 500 with the exception's text.
    """
    headers: dict[str, str] = {}
    raw_name = b""
    try:
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode(), raw_value.decode()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    except UnicodeDecodeError as error:
        message = f"the header {raw_name.decode('ascii', 'replace')} must be text in UTF-8"
        raise RefusedByHTTPError(InvalidRequestError(message, reason="MALFORMED_REQUEST"), 400) from error
    return headers


def _header_problems(headers: Mapping[str, str], protocol: str) -> list[Violation]:
    return [
        Violation((name,), f"{rule}, sent once")
        for name, (pattern, rule) in _PROTOCOL_HEADERS[protocol].items()
        if name in headers and not pattern.fullmatch(headers[name])
    ]


def _query_problems(query: bytes) -> list[Violation]:
    """Say what is wrong with the parameters of a GET. Others than Connect's are let be, as it says.

    Raises:
        RefusedByHTTPError: If the encoding is none that is served.
        InvalidRequestError: If they can't be told apart.
    """
    try:
        sent = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:
        raise InvalidRequestError(
            f"the query must be percent-encoded UTF-8 (send binary messages as base64), and hold"
            f" {_MAX_PARAMETERS} parameters at most",
            reason="MALFORMED_REQUEST",
        ) from error
    values: dict[str, str] = {}
    repeated: set[str] = set()
    for name, value in sent:
        if name in values:
            repeated.add(name)
        else:
            values[name] = value
    if values.get("encoding") not in _ENCODINGS:
        raise _unsupported("the parameter encoding must be json or proto")
    problems = [Violation((name,), "must be given once") for name in _KNOWN if name in repeated]
    problems += [
        Violation((name,), rule)
        for name, (allowed, rule) in _PARAMETERS.items()
        if name in values and name not in repeated and values[name] not in allowed
    ]
    if values.get("compression") == "":
        problems.append(Violation(("compression",), "must be gzip or identity, or left out"))
    if "message" not in values:
        problems.append(Violation(("message",), "must be given"))
    elif values.get("base64") == "1" and not _is_base64(values["message"]):
        problems.append(Violation(("message",), "must be URL-safe base64 (RFC 4648 §5), with base64=1"))
    return problems


def _is_base64(text: str) -> bool:
    """Tell whether a text is what URL-safe base64 makes of some bytes; the padding may be left out."""
    bare = text.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    try:
        content = urlsafe_b64decode(bare + padding)
    except ValueError:
        return False
    # The decoder skips foreign letters and drops bits that are too many: encoding again shows it.
    return text in {bare, bare + padding} and urlsafe_b64encode(content).decode() == bare + padding


def _normalised(
    scope: Scope, headers: Mapping[str, str], protocol: str, kind: str
) -> list[tuple[bytes, bytes]]:
    """Return the headers in the words that connectrpc compares with, which has them in lower case."""
    sent, accepted = _CODING_HEADERS[protocol]
    replaced = _REWRITTEN[protocol]
    rewritten = [pair for pair in scope["headers"] if pair[0] not in replaced]
    rewritten.append((b"content-type", kind.encode()))
    if sent in headers:
        rewritten.append((sent.encode(), coding(headers[sent]).encode()))
    if accepted in headers and takes_gzip(headers[accepted]):
        rewritten.append((accepted.encode(), b"gzip"))
    return rewritten


def _unsupported(message: str, headers: Mapping[str, str] | None = None) -> RefusedByHTTPError:
    return RefusedByHTTPError(InvalidRequestError(message, reason="UNSUPPORTED_MEDIA_TYPE"), 415, headers)
