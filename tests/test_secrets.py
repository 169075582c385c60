"""No command prints a part of a password or a key, however it is written and wherever it ran to."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from dashkeeper import cli
from dashkeeper.config import PREFIX, Settings, load_settings
from dashkeeper.database_url import postgresql_target
from dashkeeper.errors import ConfigError
from tests.database import make_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

JWT_SECRET = "Wq7xKz9vBm2rTn4yHc6pLd8sFg3jQk5w"
SAFE = {"JWT_SECRET": JWT_SECRET, "JWT_ISSUER": "https://issuer", "JWT_AUDIENCE": "dashkeeper"}
NOWHERE = "127.0.0.1:1"
# The pieces are such that no word of ours or of a library holds four letters of them in a row.
ODD = ["", *"#/?@%&=+:;[]{}<>|\\^~$'\" \t\né℀", "%zz", "%ff", "%00", "@[", "/?#"]
PASSWORDS = [
    *(f"zQ7Xk9Wv{odd}Bm2RrTn4{odd}Yp6Hc8Jd" for odd in ODD),
    *("9481736250", "@zQ7Xk9Wv", "zQ7Xk9Wv@", "/zQ7Xk9Wv@Bm2RrTn4", "zQ7Xk9Wv@[Bm2RrTn4]"),
]
COMMANDS: Mapping[str, Sequence[str]] = {
    "serve": ("--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--log-level", "debug"),
    "migrate": (),
    "config": (),
    "purge": (),
    "token": ("--project", "p"),
}


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder and an environment without any setting; logging as it was, afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield tmp_path
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def pieces(secret: str) -> set[str]:
    """Every run of four letters or digits of a secret, as it is and percent-encoded."""
    runs = re.findall(r"[A-Za-z0-9]{4,}", secret) + re.findall(r"[A-Za-z0-9]{4,}", quote(secret, safe=""))
    return {run[start : start + 4] for run in runs for start in range(len(run) - 3)}


class Commands:
    """Runs commands in this process, and keeps what they print and log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def run(self, *arguments: str, **settings: str) -> tuple[object, str]:
        """Return the exit code, and all that a command printed and logged."""
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["dashkeeper", *arguments])
            for name, value in settings.items():
                patch.setenv(f"{PREFIX}{name}", value)
            with pytest.raises(SystemExit) as end:
                cli.main()
        printed = self._capfd.readouterr()
        return end.value.code or 0, printed.out + printed.err


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capfd)


def assert_silent_about(secret: str, text: str) -> None:
    assert [piece for piece in pieces(secret) if piece in text] == [], text


def urls_of(password: str) -> Sequence[str]:
    return (
        f"postgresql://keeper:{password}@{NOWHERE}/d",
        f"postgres://keeper:{password}@{NOWHERE}",
        f"postgresql://{NOWHERE}/d?user=keeper&password={password}",
        f"postgresql://keeper@{NOWHERE}/d?sslmode=require&sslpassword={password}&connect_timeout=1",
        f"postgresql://{NOWHERE}/d?user=keeper&%70assword={password}",
        f"postgresql://keeper:{password}@{NOWHERE}:/d?channel_binding=require",
        f"mysql://keeper:{password}@{NOWHERE}/d",
    )


@pytest.mark.parametrize("password", PASSWORDS)
def test_password_written_as_it_is_shows_in_no_settings_and_no_refusal(password: str) -> None:
    for url in urls_of(password):
        try:
            told = str(load_settings(database_url=url).model_dump())  # what `config` prints
        except ConfigError as refusal:
            told = str(refusal)
        assert_silent_about(password, told)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("written", [str, partial(quote, safe="")], ids=["as it is", "encoded"])
def test_password_shows_in_no_output(commands: Commands, command: str, written: Callable[[str], str]) -> None:
    for password in PASSWORDS[:7]:
        url = urls_of(written(password))[0]
        code, output = commands.run(command, *COMMANDS[command], DATABASE_URL=url, **SAFE)
        assert code == 2 or command in ("config", "token")
        assert_silent_about(password, output)


@pytest.mark.parametrize("odd", "#/?@% ")
def test_password_that_is_not_encoded_is_refused_with_the_rule(odd: str) -> None:
    with pytest.raises(ConfigError, match=r"^DASHKEEPER_DATABASE_URL: .*percent-encode.*%40"):
        load_settings(database_url=f"postgresql://keeper:pass{odd}word@localhost/d")


CONFIG = {
    "postgresql://keeper:pa%40ss@a,b:1/d?sslmode=require": (
        "postgresql://keeper:**********@a,b:1/d?sslmode=require"
    ),
    "postgresql://keeper:a:b@h/d": "postgresql://keeper:**********@h/d",
    "postgresql://:pass@h/d?user=k": "postgresql://:**********@h/d?user=k",
    "postgresql://a:5432/d?user=k&password=a=b&sslmode=allow": (
        "postgresql://a:5432/d?user=k&password=**********&sslmode=allow"
    ),
    "postgresql://k@a/d?sslpassword=geheim": "postgresql://k@a/d?sslpassword=**********",
    "postgresql://k@a/d?pass%77ord=geheim": "postgresql://k@a/d?pass%77ord=**********",
    "postgresql://k@a:5432/d": "postgresql://k@a:5432/d",
}


@pytest.mark.parametrize("url", CONFIG)
def test_config_shows_the_url_without_its_password(commands: Commands, url: str) -> None:
    _, output = commands.run("config", DATABASE_URL=url)
    assert f"DASHKEEPER_DATABASE_URL={CONFIG[url]}\n" in output


def test_password_that_the_server_refuses_shows_nowhere(commands: Commands) -> None:
    """What a real server says of it; the database isn't there, the account neither."""
    url = "postgresql://no_such_keeper:zQ7Xk9Wv%23Bm2RrTn4@127.0.0.1:5432/no_such_database"
    for command in ("serve", "migrate", "purge"):
        code, output = commands.run(command, *COMMANDS[command], DATABASE_URL=url, **SAFE)
        assert code == 2
        assert_silent_about("zQ7Xk9Wv#Bm2RrTn4", output)


def test_password_stands_in_no_representation_of_what_holds_it() -> None:
    url = f"postgresql://keeper:zQ7Xk9WvBm2RrTn4@{NOWHERE}/d?sslpassword=Yp6Hc8Jd"
    settings = load_settings(database_url=url, jwt_secret=JWT_SECRET)
    for held in (settings, settings.model_dump(), postgresql_target(url)):
        assert_silent_about(f"zQ7Xk9WvBm2RrTn4 Yp6Hc8Jd {JWT_SECRET}", repr(held))


def test_error_of_the_library_shows_no_value() -> None:
    secret = "zQ7Xk9Wv@Bm2RrTn4"
    for name in ("database_url", "jwt_secret", "jwt_private_key", "jwt_public_key"):
        with pytest.raises(ValidationError) as refusal:
            Settings(**{name: secret})  # pyright: ignore[reportArgumentType]
        assert_silent_about(secret, "".join(traceback.format_exception(refusal.value)))


async def test_connection_that_fails_leaves_the_password_out_of_traceback_and_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    database = make_database(f"postgresql://keeper:zQ7Xk9Wv%40Bm2RrTn4@{NOWHERE}/d")
    with pytest.raises(Exception, match="can't be used right now") as refusal:
        await database.schema_version()
    await database.close()
    told = "".join(traceback.format_exception(refusal.value)) + caplog.text
    assert_silent_about("zQ7Xk9Wv@Bm2RrTn4", told)


def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_keys_show_in_no_output(commands: Commands, empty_place: Path, command: str) -> None:
    pem = private_key()
    body = "".join(pem.splitlines()[1:-1])[30:]  # what is no part of every key
    for settings in (
        {"JWT_SECRET": JWT_SECRET[:30]},
        {"JWT_SECRET": JWT_SECRET, "JWT_PUBLIC_KEY": pem},
        {"JWT_PRIVATE_KEY": pem},
        {"JWT_PRIVATE_KEY": pem.replace("\n", "\\n")},
        {"JWT_PRIVATE_KEY": body},
        {"JWT_PRIVATE_KEY": pem[:-40]},
        {"JWT_PUBLIC_KEY": pem},
        {"JWT_PUBLIC_KEY": body},
        {"JWT_PUBLIC_KEY": JWT_SECRET},
        {"JWT_SECRET": JWT_SECRET, "JWT_ALGORITHMS": "RS256"},
        {"JWT_SECRET": JWT_SECRET, "CORS_ORIGINS": f"https://user:{JWT_SECRET}@example.com"},
        {"JWT_SECRETS": JWT_SECRET},
    ):
        url = f"sqlite:///{empty_place}/none/a.db"
        _, output = commands.run(command, *COMMANDS[command], DATABASE_URL=url, **settings)
        if command == "token":  # what it is for, and no secret of the server's
            output = re.sub(r"(?m)^ey[\w.-]+$", "", output)
        assert_silent_about(f"{JWT_SECRET} {body}", output)


@pytest.mark.parametrize(
    "line",
    [
        f"DASHKEEPER_JWT_SECRET:{JWT_SECRET}=",
        f"DASHKEEPER_JWT_SECRET: {JWT_SECRET}",
        f"DASHKEEPER_JWT_SECRET {JWT_SECRET}",
        f"DASHKEEPER_DATABASE_URL:postgresql://u:{JWT_SECRET}@h/d?a=b",
        f"DASHKEEPER_JWT_SECRET-{JWT_SECRET}=x",
    ],
)
def test_secret_that_ran_into_its_name_in_the_file_shows_in_no_output(
    commands: Commands, empty_place: Path, line: str
) -> None:
    (empty_place / ".env").write_text(f"{line}\n")
    _, output = commands.run("config")
    assert_silent_about(JWT_SECRET, output)


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--jwt-secret", "first", JWT_SECRET],
        ["serve", f"postgresql://u:{JWT_SECRET}@h/d"],
        ["serve", f"--database-urls=postgresql://u:{JWT_SECRET}@h/d"],
        [f"postgresql://u:{JWT_SECRET}@h/d", "serve"],
        [JWT_SECRET],
        ["serve", "--dev", JWT_SECRET, "\n", JWT_SECRET],
        ["serve", f"--dev={JWT_SECRET}"],
    ],
)
def test_secret_that_lost_its_flag_shows_in_no_output(commands: Commands, arguments: list[str]) -> None:
    code, output = commands.run(*arguments)
    assert code == 2
    assert_silent_about(JWT_SECRET, output)
