"""Tokens: which are taken, that all others get one and the same answer, and when a server doesn't start."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from dashkeeper.transport.http1 import MAX_HEAD_BYTES
from tests.api import TRANSPORTS, Api
from tests.attack import SERVICE
from tests.server import AUDIENCE, ISSUER, SECRET, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server import RunningServer

PROJECT = "tokens"
LISTENERS = ("grpc", "connect-json")
MESSAGE = "a valid token is needed: send `authorization: Bearer <JWT>`"
OTHER_SECRET = "another secret, long enough for HS512: 0123456789abcdefghijklmnopqrstuvwxyzABCDEF"


@pytest.fixture(scope="module")
def apis(sqlite_server: RunningServer) -> Iterator[dict[str, Api]]:
    clients = {name: Api(sqlite_server, name, make_token(PROJECT), PROJECT) for name in TRANSPORTS}
    yield clients
    for client in clients.values():
        client.close()


def now() -> int:
    return int(time.time())


def encoded(content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def signed(header: object, claims: object, key: str = SECRET) -> str:
    """Sign whatever it is with HMAC and SHA-256, which PyJWT would refuse to."""
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(hmac.digest(key.encode(), content.encode(), hashlib.sha256))}"


HEADER = {"alg": "HS256", "typ": "JWT"}


def claims(**changes: Any) -> dict[str, Any]:
    standard = {"iss": ISSUER, "aud": AUDIENCE, "sub": "tester", "exp": now() + 3600, "projects": [PROJECT]}
    return standard | {"scope": "dashboards:read"} | changes


def unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(claims())}."


def tampered() -> str:
    head, _, signature = make_token(PROJECT).split(".")
    return f"{head}.{encoded(claims(projects=['*']))}.{signature}"


def with_claims(**changes: Any) -> Callable[[], str]:
    return lambda: make_token(PROJECT, **changes)


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "other-key": with_claims(key=OTHER_SECRET),
    "tampered": tampered,
    "signature-cut": lambda: make_token(PROJECT)[:-4],
    "signature-empty": lambda: make_token(PROJECT).rpartition(".")[0] + ".",
    "expired": lambda: make_token(PROJECT, exp=now() - 31),
    "not-yet-valid": lambda: make_token(PROJECT, nbf=now() + 90),
    "issued-in-the-future": lambda: make_token(PROJECT, iat=now() + 90),
    "none": lambda: unsigned("none"),
    "none-in-capitals": lambda: unsigned("NONE"),
    "none-in-other-case": lambda: unsigned("nOnE"),
    "none-signed": lambda: signed({"alg": "none"}, claims()),
    "algorithm-not-in-the-list": with_claims(algorithm="HS512"),
    "algorithm-missing": lambda: signed({"typ": "JWT"}, claims()),
    "algorithm-null": lambda: signed({"alg": None}, claims()),
    "algorithm-array": lambda: signed({"alg": ["HS256"]}, claims()),
    "algorithm-in-lower-case": lambda: signed({"alg": "hs256"}, claims()),
    "issuer-other": with_claims(iss="https://other.test"),
    "issuer-longer": with_claims(iss=f"{ISSUER}/"),
    "issuer-array": lambda: signed(HEADER, claims(iss=[ISSUER])),
    "audience-other": with_claims(aud="other"),
    "audience-others": with_claims(aud=["other", "another"]),
    "audience-empty": with_claims(aud=[]),
    "audience-number": lambda: signed(HEADER, claims(aud=7)),
    "expiry-missing": with_claims(exp=None),
    "issuer-missing": with_claims(iss=None),
    "audience-missing": with_claims(aud=None),
    "subject-missing": with_claims(sub=None),
    "subject-number": lambda: signed(HEADER, claims(sub=7)),
    "subject-null": lambda: signed(HEADER, claims(sub=None)),
    "subject-array": lambda: signed(HEADER, claims(sub=["tester"])),
    "subject-empty": with_claims(sub=""),
    "subject-line-break": with_claims(sub="a\nb"),
    "subject-line-break-at-the-end": with_claims(sub="a\n"),
    "subject-zero": with_claims(sub="\0"),
    "subject-c1": with_claims(sub="a\x85b"),
    "subject-lone-surrogate": with_claims(sub="a\ud800"),
    "subject-too-long": with_claims(sub="a" * 256),
    "expiry-null": lambda: signed(HEADER, claims(exp=None)),
    "expiry-text": lambda: signed(HEADER, claims(exp="never")),
    "expiry-array": lambda: signed(HEADER, claims(exp=[now() + 3600])),
    "expiry-infinity": lambda: signed(HEADER, claims(exp=float("inf"))),
    "expiry-nan": lambda: signed(HEADER, claims(exp=float("nan"))),
    "expiry-of-400-digits": lambda: signed(HEADER, claims(exp=10**400)),
    "expiry-negative": lambda: signed(HEADER, claims(exp=-1)),
    "not-before-text": lambda: signed(HEADER, claims(nbf="x")),
    "not-before-infinity": lambda: signed(HEADER, claims(nbf=float("inf"))),
    "crit": with_claims(headers={"crit": ["exp"], "exp": 1}),
    "crit-empty": with_claims(headers={"crit": []}),
    "crit-b64": lambda: signed(HEADER | {"crit": ["b64"], "b64": False}, claims()),
    "b64": lambda: signed(HEADER | {"b64": False}, claims()),
    "claims-array": lambda: signed(HEADER, [claims()]),
    "claims-null": lambda: signed(HEADER, None),
    "claims-text": lambda: signed(HEADER, b"not json"),
    "claims-not-utf-8": lambda: signed(HEADER, b'{"sub":"\xff"}'),
    "claims-nested": lambda: signed(HEADER, b"[" * 2_000 + b"]" * 2_000),
    "header-array": lambda: signed([HEADER], claims()),
    "header-text": lambda: signed(b"not json", claims()),
    "header-nested": lambda: signed(b"[" * 3_000, claims()),
    "kid-number": lambda: signed(HEADER | {"kid": 7}, claims()),
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "five-parts": lambda: "a.b.c.d.e",
    "not-base64": lambda: "é.é.é".encode().decode("ascii", "replace").replace("\ufffd", "!"),
    "twice": lambda: f"{make_token(PROJECT)}, Bearer {make_token(PROJECT)}",
    "space-within": lambda: make_token(PROJECT).replace(".", ". ", 1),
}


def assert_unauthenticated(reply: Any, transport: str) -> None:
    assert (reply.code, reply.message, reply.reason) == ("unauthenticated", MESSAGE, "UNAUTHENTICATED")
    assert reply.metadata == {}
    assert reply.violations == {}
    assert reply.request_id == reply.headers["x-request-id"]
    if transport != "grpc":
        assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_token_is_refused_with_the_one_message(
    apis: dict[str, Api], transport: str, make: Callable[[], str]
) -> None:
    reply = apis[transport].call("List", authorization=f"Bearer {make()}")
    assert_unauthenticated(reply, transport)


BAD_HEADERS = {
    "missing": None,
    "empty": "",
    "scheme-alone": "Bearer",
    "basic": "Basic dXNlcjpwYXNz",
    "no-scheme": "{token}",
    "other-scheme": "Token {token}",
    "scheme-twice": "Bearer Bearer {token}",
    "comma": "Bearer,{token}",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("value", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_authorization_in_wrong_form_is_refused_with_the_one_message(
    apis: dict[str, Api], transport: str, value: str | None
) -> None:
    header = None if value is None else value.format(token=make_token(PROJECT))
    assert_unauthenticated(apis[transport].call("List", authorization=header), transport)


def test_two_authorization_headers_are_refused(sqlite_server: RunningServer) -> None:
    twice = [("authorization", f"Bearer {make_token(PROJECT)}")] * 2
    url = f"{sqlite_server.http}{SERVICE}/List"
    answer = httpx.post(url, json={}, headers=[*twice, ("x-project-id", PROJECT)])
    assert answer.status_code == 401
    with grpc.insecure_channel(sqlite_server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"{SERVICE}/List")(b"", metadata=(*twice, ("x-project-id", PROJECT)))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("size", [17_000, 1 << 20])
def test_token_too_long_is_refused(sqlite_server: RunningServer, apis: dict[str, Api], size: int) -> None:
    long = signed(HEADER, claims(padding="x" * size))
    if size > MAX_HEAD_BYTES:
        headers = {"authorization": f"Bearer {long}", "x-project-id": PROJECT}
        url = f"{sqlite_server.http}/dashboards.v1.DashboardsService/List"
        assert httpx.post(url, json={}, headers=headers).status_code == 431
    else:
        reply = apis["connect-json"].call("List", authorization=f"Bearer {long}")
        assert reply.code == "unauthenticated"
    code = "resource_exhausted" if size > MAX_HEAD_BYTES else "unauthenticated"
    assert apis["grpc"].call("List", authorization=f"Bearer {long}").code == code
    assert apis["grpc"].call("List").code == "ok"


def test_token_with_many_projects_is_taken_every_time(apis: dict[str, Api]) -> None:
    token = make_token(PROJECT, *(f"project-{number}" for number in range(600)))
    assert len(token) > 10_000  # above what grpcio takes unless told otherwise, and refuses at random
    for _ in range(20):
        assert apis["grpc"].call("List", authorization=f"Bearer {token}").code == "ok"


GOOD_TOKENS: dict[str, Callable[[], str]] = {
    "expired-within-the-leeway": lambda: make_token(PROJECT, exp=now() - 5),
    "not-before-within-the-leeway": lambda: make_token(PROJECT, nbf=now() + 10),
    "audiences": with_claims(aud=["other", AUDIENCE]),
    "expiry-float": lambda: make_token(PROJECT, exp=time.time() + 60.5),
    "expiry-far": with_claims(exp=10**11),
    "subject-of-other-letters": with_claims(sub="auth0|Zoë 😀"),
    "kid-of-nobody": with_claims(headers={"kid": "../../etc/passwd"}),
    "typ-other": with_claims(headers={"typ": "at+jwt"}),
}


@pytest.mark.parametrize("transport", LISTENERS)
@pytest.mark.parametrize("make", GOOD_TOKENS.values(), ids=GOOD_TOKENS)
def test_good_token_is_taken(apis: dict[str, Api], transport: str, make: Callable[[], str]) -> None:
    assert apis[transport].call("List", authorization=f"Bearer {make()}").code == "ok"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer "])
def test_scheme_in_any_case_is_taken(apis: dict[str, Api], transport: str, scheme: str) -> None:
    assert apis[transport].call("List", authorization=f"{scheme} {make_token(PROJECT)}").code == "ok"


def test_keys_that_a_token_points_to_are_never_fetched(apis: dict[str, Api]) -> None:
    asked: list[str] = []

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its own name
            pass

    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    with http.server.HTTPServer(("127.0.0.1", 0), Keys) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listener.server_port}/keys"
        for header in ({"jku": url}, {"x5u": url}, {"jwk": jwk}, {"jku": url, "kid": "1", "jwk": jwk}):
            foreign = make_token(PROJECT, key=key, algorithm="ES256", headers=header)
            for api in apis.values():
                assert_unauthenticated(api.call("List", authorization=f"Bearer {foreign}"), api.transport)
                own = make_token(PROJECT, headers=header)  # such a header is no harm where it isn't followed
                assert api.call("List", authorization=f"Bearer {own}").code == "ok"
        listener.shutdown()
        thread.join()
    assert asked == []
