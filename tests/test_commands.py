"""The commands, run as a person runs them; and what they say to a person who errs: one line."""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dashkeeper import cli
from dashkeeper.config import PREFIX
from dashkeeper.store.migrations import SCHEMA
from tests import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

pytestmark = pytest.mark.usefixtures("empty_place")

SECRET = "0123456789abcdef" * 4
SAFE = {"JWT_SECRET": SECRET, "JWT_ISSUER": "https://issuer", "JWT_AUDIENCE": "dashkeeper"}
ANY_PORT = ("--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0")
BIN = Path(sys.executable).parent


class Here:
    """Runs commands in this process, where hundreds of milliseconds of imports are done already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Return the exit code and what was written to standard output and standard error."""
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["dashkeeper", *arguments])
            for name, value in settings.items():
                patch.setenv(f"{PREFIX}{name}", value)
            with pytest.raises(SystemExit) as end:
                cli.main()
        code = end.value.code
        assert isinstance(code, int) or code is None
        printed = self._capsys.readouterr()
        return code or 0, printed.out, printed.err

    def output(self, *arguments: str, **settings: str) -> str:
        """Return what a command that succeeds prints."""
        code, output, errors = self.run(*arguments, **settings)
        assert (code, errors) == (0, "")
        return output


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys)


def test_version_is_printed_by_the_command_as_installed() -> None:
    run = subprocess.run([BIN / "dashkeeper", "version"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"dashkeeper {version('dashkeeper')}\n", "")


def test_config_prints_every_setting_so_that_it_can_be_read_back(here: Here) -> None:
    settings = {"MAX_TILES": "7", "HTTP_ADDRESS": "off", "CORS_ORIGINS": "https://a,https://b", **SAFE}
    printed = here.output("config", **settings)
    values = dict(line.removeprefix(PREFIX).split("=", 1) for line in printed.splitlines())
    for name, value in settings.items():
        assert values[name] == value or name == "JWT_SECRET"
    assert here.output("config", **values | {"JWT_SECRET": SECRET}) == printed


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_config_prints_a_key_so_that_it_can_be_read_back(here: Here, line_end: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    printed = here.output("config", JWT_PUBLIC_KEY=text.replace("\n", line_end))
    (line,) = (line for line in printed.splitlines() if "PUBLIC" in line)
    assert here.output("config", JWT_PUBLIC_KEY=line.split("=", 1)[1]) == printed


@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_PRIVATE_KEY"])
def test_config_hides_secrets(here: Here, name: str) -> None:
    secret = SECRET if name == "JWT_SECRET" else pem(ed25519.Ed25519PrivateKey.generate())
    (line,) = (line for line in here.output("config", **{name: secret}).splitlines() if name in line)
    assert re.fullmatch(rf"{PREFIX}{name}=\*+", line)


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PRIVATE_KEYS: dict[str, tuple[str, Callable[[], Any]]] = {
    "RSA": ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
    "P-256": ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
    "P-384": ("ES384", lambda: ec.generate_private_key(ec.SECP384R1())),
    "P-521": ("ES512", lambda: ec.generate_private_key(ec.SECP521R1())),
    "Ed25519": ("EdDSA", ed25519.Ed25519PrivateKey.generate),
}


@pytest.mark.parametrize("kind", PRIVATE_KEYS)
@pytest.mark.parametrize("place", ["text", "file"])
def test_token_signed_with_a_private_key_verifies_with_its_public_key(
    here: Here, empty_place: Path, kind: str, place: str
) -> None:
    algorithm, make_key = PRIVATE_KEYS[kind]
    key = make_key()
    (empty_place / "key.pem").write_text(pem(key))
    setting = pem(key) if place == "text" else "key.pem"
    settings = {"JWT_PRIVATE_KEY": setting, "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}
    token = here.output("token", "--project", "p", **settings).strip()
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    claims = jwt.decode(token, key.public_key(), [algorithm], audience="a", issuer="i")
    assert claims["projects"] == ["p"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_signed_with_the_secret_says_what_was_asked(here: Here, algorithm: str) -> None:
    arguments = ("--project", "p", "--project", "q", "--scope", "dashboards:read")
    arguments += ("--subject", "ci", "--expires", "15m")
    settings = {**SAFE, "JWT_ALGORITHMS": algorithm, "JWT_PROJECTS_CLAIM": "https://x/projects"}
    token = here.output("token", *arguments, **settings).strip()
    claims = jwt.decode(token, SECRET, [algorithm], audience="dashkeeper", issuer="https://issuer")
    assert (claims["sub"], claims["scope"]) == ("ci", "dashboards:read")
    assert claims["https://x/projects"] == ["p", "q"]
    assert claims["exp"] - claims["iat"] == 900


def test_migrate_check_changes_nothing_and_tells_by_its_exit_code(here: Here, empty_place: Path) -> None:
    code, output, _ = here.run("migrate", "--check")
    assert (code, SCHEMA in output) == (1, True)
    assert not (empty_place / "dashkeeper.db").exists()
    assert SCHEMA in here.output("migrate")
    assert SCHEMA in here.output("migrate", "--check")
    assert SCHEMA in here.output("migrate")  # again: nothing to do


def newer_database(path: Path) -> None:
    """Make a database that a later version has migrated."""
    with contextlib.closing(sqlite3.connect(path / "dashkeeper.db")) as conn, conn:
        conn.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        conn.execute("INSERT INTO alembic_version VALUES ('9999')")


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def folder_at(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).mkdir()


Row = tuple["Sequence[str]", "Mapping[str, str]", "Callable[[Path], object] | None", str]
BAD_DATABASE = write("dashkeeper.db", b"not a database, but long enough to be looked at: " * 40)
# What a person does, and a word that the one line must hold.
MISTAKES: dict[str, Row] = {
    "no key": (["serve"], {}, None, "JWT_SECRET"),
    "no issuer": (["serve"], {**SAFE, "JWT_ISSUER": ""}, None, "JWT_ISSUER"),
    "no audience": (["serve"], {**SAFE, "JWT_AUDIENCE": ""}, None, "JWT_AUDIENCE"),
    "wrong algorithm": (["serve", "--jwt-algorithms", "RS256"], SAFE, None, "JWT_ALGORITHMS"),
    "short secret": (["config", "--jwt-secret", "short"], {}, None, "JWT_SECRET"),
    "secret not UTF-8": (["config"], {"JWT_SECRET": "\udcff" * 64}, None, "JWT_SECRET"),
    "key file missing": (["config", "--jwt-public-key", "nowhere.pem"], {}, None, "JWT_PUBLIC_KEY"),
    "bad value": (["config", "--max-tiles", "many"], {}, None, "MAX_TILES"),
    "bad address": (["config", "--http-address", "here"], {}, None, "HTTP_ADDRESS"),
    "unknown setting": (["config"], {"COLOUR": "red"}, None, "COLOUR"),
    "unknown setting in .env": (["config"], {}, write(".env", b"DASHKEEPER_COLOUR=red"), "COLOUR"),
    ".env not UTF-8": (["config"], {}, write(".env", b"DASHKEEPER_JWT_ISSUER=\xff"), ".env"),
    "unknown flag": (["serve", "--colour", "red"], {}, None, "--colour"),
    "unknown command": (["serv"], {}, None, "serv"),
    "argument too many": (["version", "1"], {}, None, "extra argument"),
    "flag without value": (["token", "--project"], SAFE, None, "--project"),
    "token without project": (["token"], SAFE, None, "--project"),
    "token without key": (["token", "--project", "p"], {**SAFE, "JWT_SECRET": ""}, None, "JWT_SECRET"),
    "token without issuer": (["token", "--project", "p"], {"JWT_SECRET": SECRET}, None, "JWT_ISSUER"),
    "token for a project of two lines": (["token", "--project", "p\nq"], SAFE, None, "--project"),
    "purge of what is no project": (["purge", "--project", "p q", "--all"], {}, None, "--project must match"),
    "schema of two lines": (["migrate", "--to", "1\n2"], {}, None, "migrated"),
    ".env with a broken line": (["config"], {}, write(".env", b"DASHKEEPER_MAX_TILES 7"), "line 1"),
    "bad expiry": (["token", "--project", "p", "--expires", "soon"], SAFE, None, "--expires"),
    "dev on a public address": (["serve", "--dev", "--http-address", "0.0.0.0:0"], {}, None, "loopback"),
    "dev secret a folder": (["serve", "--dev"], {}, folder_at(".dashkeeper-dev-secret"), "dev-secret"),
    "dev secret garbled": (
        ["serve", "--dev"],
        {},
        write(".dashkeeper-dev-secret", b"\xff" * 64),
        "dev-secret",
    ),
    "token with it": (
        ["token", "--project", "p"],
        {},
        write(".dashkeeper-dev-secret", b"\xff" * 64),
        "dev-secret",
    ),
    "no such schema": (["migrate", "--to", "9999"], {}, None, "9999"),
    "no schema": (["migrate", "--to", ""], {}, None, "--to"),
    "folder missing": (["migrate", "--database-url", "sqlite:///no/where.db"], {}, None, "DATABASE_URL"),
    "check in no folder": (
        ["migrate", "--check", "--database-url", "sqlite:///no/where.db"],
        {},
        None,
        "DATABASE_URL",
    ),
    "database a folder": (["migrate", "--database-url", "sqlite:///."], {}, None, "DATABASE_URL"),
    "not a database": (["migrate"], {}, BAD_DATABASE, "not a database"),
    "newer database": (["migrate"], {}, newer_database, "newer version"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_command_mistake_is_told_in_one_line_with_exit_code_2(
    here: Here, empty_place: Path, mistake: str
) -> None:
    arguments, settings, prepare, word = MISTAKES[mistake]
    if prepare is not None:
        prepare(empty_place)
    code, output, errors = here.run(*arguments, **settings)
    assert (code, output) == (2, "")
    assert re.fullmatch(r"dashkeeper: [^\n]+\n", errors)
    assert word in errors


@contextlib.contextmanager
def taken_port() -> Generator[str]:
    """An address that another process, as it were, listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


SERVING_MISTAKES: dict[str, tuple[Sequence[str], Callable[[Path], object] | None, str]] = {
    "HTTP port taken": (["--http-address", "TAKEN", "--grpc-address", "127.0.0.1:0"], None, "HTTP_ADDRESS"),
    "gRPC port taken": (["--http-address", "127.0.0.1:0", "--grpc-address", "TAKEN"], None, "GRPC_ADDRESS"),
    "HTTP socket in no folder": (
        ["--http-address", "unix:/no/where", "--grpc-address", "off"],
        None,
        "HTTP_ADDRESS",
    ),
    "gRPC socket in no folder": (
        ["--http-address", "off", "--grpc-address", "unix:/no/where"],
        None,
        "GRPC_ADDRESS",
    ),
    "no name": (["--http-address", "a..b:0", "--grpc-address", "off"], None, "HTTP_ADDRESS"),
    "no name, gRPC": (["--http-address", "off", "--grpc-address", "a..b:0"], None, "GRPC_ADDRESS"),
    "no such host": (["--http-address", "no.where.invalid:0", "--grpc-address", "off"], None, "HTTP_ADDRESS"),
    "nothing to serve": (["--http-address", "off", "--grpc-address", "off"], None, "nothing to serve"),
    "newer database": (ANY_PORT, newer_database, "newer version"),
}


@pytest.mark.parametrize("mistake", SERVING_MISTAKES)
def test_serve_mistake_is_told_in_one_line_with_exit_code_2(empty_place: Path, mistake: str) -> None:
    arguments, prepare, word = SERVING_MISTAKES[mistake]
    if prepare is not None:
        prepare(empty_place)
    with taken_port() as taken:
        arguments = [taken if argument == "TAKEN" else argument for argument in arguments]
        run = forks.run(["serve", *arguments], empty_place, LOG_FORMAT="json", **SAFE)
    *logged, told = run.stderr.splitlines()
    assert (run.returncode, run.stdout) == (2, "")
    assert told.startswith("dashkeeper: ")
    assert word in told
    # A server that can't start has served nobody meanwhile.
    assert [line for line in logged if "is served on" in line or not line.startswith("{")] == []
