"""The keys of tokens, the cache of verified ones, and the settings with which a server doesn't start."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dashkeeper.cli import main
from tests import forks
from tests.api import Api
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, running_server
from tests.test_tokens import HEADER, LISTENERS, PROJECT, assert_unauthenticated, claims, signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer

KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(private_key: Any) -> str:
    return (
        private_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture(scope="module", params=KEYS)
def keyed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Any]]:
    """A server that knows only a public key, and the key's algorithm."""
    folder = tmp_path_factory.mktemp("keyed")
    with running_server(folder, JWT_SECRET="", JWT_PUBLIC_KEY=pem(KEYS[request.param])) as running:
        yield request.param, running


@pytest.mark.parametrize("transport", LISTENERS)
def test_public_key_verifies_its_own_tokens_alone(keyed: tuple[str, RunningServer], transport: str) -> None:
    algorithm, server = keyed
    api = Api(server, transport, make_token(PROJECT, key=KEYS[algorithm], algorithm=algorithm), PROJECT)
    assert api.call("List").code == "ok"
    public = pem(KEYS[algorithm])
    refused = {
        "public key as secret": signed(HEADER, claims(), public),
        "public key as secret, cut": signed(HEADER, claims(), public.strip()),
        "public key as secret, its algorithm": signed({"alg": algorithm}, claims(), public),
        "shared secret": make_token(PROJECT),
        "none": unsigned("none"),
        "other kind of key": _of_another_kind(algorithm),
        "same kind, other key": make_token(PROJECT, key=_another(algorithm), algorithm=algorithm),
    }
    for token in refused.values():
        assert_unauthenticated(api.call("List", authorization=f"Bearer {token}"), transport)
    api.close()


def _of_another_kind(algorithm: str) -> str:
    other = next(name for name in KEYS if name != algorithm)
    return make_token(PROJECT, key=KEYS[other], algorithm=other)


def _another(algorithm: str) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(KEYS[algorithm].curve)


def test_algorithms_of_the_key_that_are_not_listed_are_refused(tmp_path: Path) -> None:
    key = KEYS["RS256"]
    settings = {"JWT_SECRET": "", "JWT_PUBLIC_KEY": pem(key), "JWT_ALGORITHMS": "RS384,PS256"}
    with running_server(tmp_path, **settings) as running:
        api = Api(running, "grpc", "", PROJECT)
        for algorithm, code in {"RS384": "ok", "PS256": "ok", "RS256": "unauthenticated"}.items():
            token = make_token(PROJECT, key=key, algorithm=algorithm)
            assert api.call("List", authorization=f"Bearer {token}").code == code
        api.close()


def test_token_that_was_verified_before_it_expired_is_refused_after(tmp_path: Path) -> None:
    with running_server(tmp_path, JWT_LEEWAY="0s") as running, contextlib.ExitStack() as stack:
        expiry = int(time.time()) + 3
        apis = {
            name: stack.enter_context(
                contextlib.closing(Api(running, name, make_token(PROJECT, exp=expiry, jti=name), PROJECT))
            )
            for name in LISTENERS
        }
        codes: list[str] = []
        while True:
            called = [api.call("List").code for api in apis.values()]
            if time.time() >= expiry:
                break  # these may have come in time or not
            codes += called
        assert set(codes) == {"ok"}
        for name, api in apis.items():
            assert_unauthenticated(api.call("List"), name)


def test_token_in_the_cache_gives_nothing_to_one_that_differs(sqlite_server: RunningServer) -> None:
    token = make_token(PROJECT)
    api = Api(sqlite_server, "grpc", token, PROJECT)
    assert api.call("List").code == "ok"
    last = "E" if token[-1] == "A" else "A"
    for other in (
        token[:-1],
        token[:-1] + last,
        token + "A",
        token.swapcase(),
        token.rpartition(".")[0] + ".",
    ):
        assert api.call("List", authorization=f"Bearer {other}").code == "unauthenticated"
    api.close()


SAFE = {"JWT_SECRET": SECRET, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
RSA_PEM, WEAK_PEM = pem(KEYS["RS256"]), pem(rsa.generate_private_key(65537, 1024))  # noqa: S505 # to be refused
PUBLIC = {"JWT_SECRET": "", "JWT_PUBLIC_KEY": RSA_PEM}
# What is refused before anything is opened: settings beside the safe ones, flags, words of the refusal.
UNSAFE: dict[str, tuple[dict[str, str], list[str], str]] = {
    "no-key": ({"JWT_SECRET": ""}, [], "JWT_SECRET"),
    "no-issuer": ({"JWT_ISSUER": ""}, [], "JWT_ISSUER"),
    "no-audience": ({"JWT_AUDIENCE": ""}, [], "JWT_AUDIENCE"),
    "short-secret": ({"JWT_SECRET": "x" * 31}, [], "JWT_SECRET"),
    "short-secret-for-the-algorithm": (
        {"JWT_SECRET": "x" * 40, "JWT_ALGORITHMS": "HS512"},
        [],
        "JWT_ALGORITHMS",
    ),
    "both-keys": ({"JWT_PUBLIC_KEY": RSA_PEM}, [], "JWT_PUBLIC_KEY"),
    "secret-with-rsa-algorithm": ({"JWT_ALGORITHMS": "RS256"}, [], "JWT_ALGORITHMS"),
    "secret-with-mixed-algorithms": ({"JWT_ALGORITHMS": "HS256,RS256"}, [], "JWT_ALGORITHMS"),
    "secret-with-none": ({"JWT_ALGORITHMS": "none"}, [], "JWT_ALGORITHMS"),
    "key-with-hmac": (PUBLIC | {"JWT_ALGORITHMS": "HS256"}, [], "JWT_ALGORITHMS"),
    "key-with-mixed-algorithms": (PUBLIC | {"JWT_ALGORITHMS": "RS256,HS256"}, [], "JWT_ALGORITHMS"),
    "key-with-algorithm-of-other-keys": (PUBLIC | {"JWT_ALGORITHMS": "ES256"}, [], "JWT_ALGORITHMS"),
    "key-of-1024-bits": (PUBLIC | {"JWT_PUBLIC_KEY": WEAK_PEM}, [], "JWT_PUBLIC_KEY"),
    "key-garbage": (PUBLIC | {"JWT_PUBLIC_KEY": "garbage"}, [], "JWT_PUBLIC_KEY"),
    "key-is-a-folder": (PUBLIC | {"JWT_PUBLIC_KEY": "/"}, [], "JWT_PUBLIC_KEY"),
    "leeway-too-long": ({"JWT_LEEWAY": "10m"}, [], "JWT_LEEWAY"),
    "leeway-no-duration": ({"JWT_LEEWAY": "long"}, [], "JWT_LEEWAY"),
    "dev-http-for-all": ({"HTTP_ADDRESS": "0.0.0.0:0"}, ["--dev"], "0.0.0.0"),  # noqa: S104 # to be refused
    "dev-grpc-for-all": ({"GRPC_ADDRESS": "[::]:0"}, ["--dev"], "[::]"),
    "dev-by-a-name": ({"GRPC_ADDRESS": "example.com:0"}, ["--dev"], "example.com"),
    "unknown-setting": ({"JWT_SECRETT": "x"}, [], "DASHKEEPER_JWT_SECRETT"),
    "unknown-setting-in-lower-case": ({"jwt_audiences": "x"}, [], "DASHKEEPER_jwt_audiences"),
    "address-without-port": ({"HTTP_ADDRESS": "127.0.0.1"}, [], "HTTP_ADDRESS"),
    "address-with-high-port": ({"GRPC_ADDRESS": "127.0.0.1:65536"}, [], "GRPC_ADDRESS"),
    "database-in-memory": ({"DATABASE_URL": "sqlite:///:memory:"}, [], "DATABASE_URL"),
    "database-of-another-kind": ({"DATABASE_URL": "mysql://localhost/a"}, [], "DATABASE_URL"),
    "database-in-no-folder": ({}, [], "DATABASE_URL"),
    "origin-with-path": ({"CORS_ORIGINS": "https://example.com/a"}, [], "CORS_ORIGINS"),
    "request-bytes-negative": ({"MAX_REQUEST_BYTES": "-1"}, [], "MAX_REQUEST_BYTES"),
    "log-level-unknown": ({"LOG_LEVEL": "loud"}, [], "LOG_LEVEL"),
}


@pytest.mark.parametrize(("settings", "flags", "words"), UNSAFE.values(), ids=UNSAFE)
def test_serve_with_unsafe_settings_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    flags: list[str],
    words: str,
) -> None:
    # There is no such folder: a server that doesn't refuse these settings ends for that.
    base = SAFE | {"DATABASE_URL": f"sqlite:///{tmp_path}/none/a.db"}
    for name in [name for name in os.environ if name.startswith("DASHKEEPER_")]:
        monkeypatch.delenv(name)
    for name, value in (base | settings).items():
        monkeypatch.setenv(f"DASHKEEPER_{name}", value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dashkeeper", "serve", *flags])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert (said.startswith("dashkeeper: "), said.count("\n")) == (True, 1), said
    assert words in said
    assert SECRET not in said


# What shows only when it is opened; {port} is in use, {folder} is there.
IMPOSSIBLE = {
    "http-address-in-use": ({"HTTP_ADDRESS": "127.0.0.1:{port}"}, "HTTP_ADDRESS"),
    "http-address-not-this-machine": ({"HTTP_ADDRESS": "192.0.2.1:8080"}, "HTTP_ADDRESS"),
    "grpc-address-in-use": ({"GRPC_ADDRESS": "127.0.0.1:{port}"}, "GRPC_ADDRESS"),
    "grpc-address-not-this-machine": ({"GRPC_ADDRESS": "192.0.2.1:8080"}, "GRPC_ADDRESS"),
    "both-off": ({"HTTP_ADDRESS": "off", "GRPC_ADDRESS": "off"}, "HTTP_ADDRESS"),
    "database-is-a-folder": ({"DATABASE_URL": "sqlite:///{folder}"}, "DATABASE_URL"),
    "database-is-no-database": ({"DATABASE_URL": "sqlite:///{folder}/text.db"}, "DATABASE_URL"),
    "database-that-cannot-be-written": ({"DATABASE_URL": "sqlite:////proc/version"}, "DATABASE_URL"),
}


@pytest.mark.parametrize(("settings", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_serve_with_impossible_settings_refuses_in_one_line(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    (tmp_path / "text.db").write_text("this is no database, however long it is. " * 50)
    anywhere = {"HTTP_ADDRESS": "127.0.0.1:0", "GRPC_ADDRESS": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        given = {
            name: value.replace("{port}", port).replace("{folder}", str(tmp_path))
            for name, value in (SAFE | anywhere | settings).items()
        }
        done = forks.run(["serve"], tmp_path, **given)
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # what isn't the log's
    assert [line[:12] for line in said] == ["dashkeeper: "], done.stderr
    assert words in said[0]
    assert "Traceback" not in done.stderr
