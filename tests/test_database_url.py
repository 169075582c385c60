"""DATABASE_URL: what it means to the driver, and what is refused before anything is opened."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

import asyncpg
import pytest

from dashkeeper.config import load_settings
from dashkeeper.database_url import postgresql_target
from dashkeeper.errors import ConfigError, UnavailableError
from tests.database import make_database
from tests.postgresql import SERVER_URL
from tests.test_postgresql_server import dashkeeper

if TYPE_CHECKING:
    from pathlib import Path

HOSTS: dict[str, list[tuple[str | None, int | None]]] = {
    "postgresql://u@h/d": [("h", None)],
    "postgres://u@h:5433/d": [("h", 5433)],
    "postgresql://u@a,b:5433/d": [("a", None), ("b", 5433)],
    "postgresql://u@a,b/d?port=5433": [("a", 5433), ("b", 5433)],
    "postgresql://u@/d?host=a,b&port=1,2": [("a", 1), ("b", 2)],
    "postgresql://u@[::1]:5433,[fe80::1%25lo]/d": [("::1", 5433), ("fe80::1%lo", None)],
    "postgresql://u@/d?host=::1&port=5433": [("::1", 5433)],
    "postgresql://u@/d?host=/var/run/postgresql": [("/var/run/postgresql", None)],
    "postgresql:///d?host=/run/a:b&user=u": [("/run/a:b", None)],
    "postgresql://u@%2Fvar%2Frun%2Fpostgresql:5433/d": [("/var/run/postgresql", 5433)],
    "postgresql://u@/d": [(None, None)],
    "postgresql:///d?user=u&host=": [(None, None)],
    "postgresql://u@": [(None, None)],
}


@pytest.mark.parametrize("url", HOSTS)
def test_url_names_its_hosts(url: str) -> None:
    target = postgresql_target(url)
    assert (list(target.hosts), target.user) == (HOSTS[url], "u")


ACCOUNTS: dict[str, tuple[str | None, str | None, str | None]] = {
    "postgresql://u:p%40ss%2F%25%C3%A9+@h/d%2Fe": ("u", "p@ss/%é+", "d/e"),
    "postgresql://u:a:b[c]=&'\"@h": ("u", "a:b[c]=&'\"", None),
    "postgresql://u:@h/": ("u", None, None),
    "postgresql://h?user=u%40x&password=a+b=%26%40&dbname=d": ("u@x", "a+b=&@", "d"),
}


@pytest.mark.parametrize("url", ACCOUNTS)
def test_url_names_account_and_database_by_libpqs_rules(url: str) -> None:
    target = postgresql_target(url)
    assert (target.user, target.password, target.database) == ACCOUNTS[url]


def test_url_without_parameters_has_our_defaults() -> None:
    target = postgresql_target("postgresql://u@h/d")
    assert (target.connect_seconds, target.server_settings) == (5, {"application_name": "dashkeeper"})


def test_url_parameters_become_the_drivers(tmp_path: Path) -> None:
    root = tmp_path / "a root.crt"
    root.touch()
    target = postgresql_target(
        f"postgresql://u@h/d?sslmode=verify-full&sslrootcert={quote(str(root))}&connect_timeout=7"
        "&target_session_attrs=primary&application_name=of%20ours&fallback_application_name=other"
        "&options=-c%20work_mem=8MB&channel_binding=prefer&gssencmode=disable&sslsni=&sslcompression=0"
    )
    scheme, _, parameters = target.driver_url.partition("?")
    assert (scheme, dict(parse_qsl(parameters))) == (
        "postgresql://",
        {"sslrootcert": str(root), "sslmode": "verify-full", "target_session_attrs": "primary"},
    )
    assert target.connect_seconds == 7
    assert target.server_settings == {"application_name": "of ours", "options": "-c work_mem=8MB"}


REFUSED = {
    "postgresql://u@h:many/d": "port",
    "postgresql://u@h:0/d": "port",
    "postgresql://u@h:65536/d": "port",
    "postgresql://u@h:٣/d": "port",
    "postgresql://u@::1/d": "IPv6",
    "postgresql://u@[::1/d": "IPv6",
    "postgresql://u@[h]/d": "no address",
    "postgresql://u@a,,b/d": "lacks the name",
    "postgresql://u@:5432/d": "lacks the name",
    "postgresql://u@/d?host=a,": "lacks the name",
    "postgresql://u@/d?host=h:5432": "port=",
    "postgresql://u@/d?host=[::1]": "without [ ]",
    "postgresql://u@a,b/d?port=1,2,3": "more or fewer ports",
    "postgresql://u@a/d?host=b": "host before the ? and after it",
    "postgresql://u@a:1/d?port=1": "port before the ? and after it",
    "postgresql://u@a/d?user=b": "user before the ? and after it",
    "postgresql://u:p@a/d?password=b": "password before the ? and after it",
    "postgresql://u@a/d?dbname=b": "dbname before the ? and after it",
    "postgresql://u@a/d?sslmode=disable&sslmode=verify-full": "sslmode more than once",
    "postgresql://u@a/d?sslmode": "without =",
    "postgresql://u@a/d?sslmode=require&": "without =",
    "postgresql://u@a/d?sslmode=verify_full": "sslmode must be one of verify-full",
    "postgresql://u@a/d?sslmode=parse": "sslmode must be one of verify-full",
    "postgresql://u@a/d?sslMode=require": "did you mean sslmode?",
    "postgresql://u@a/d?ssl=true": "write sslmode=require",
    "postgresql://u@a/d?statement_cache_size=0": "statement_cache_size isn't a parameter",
    "postgresql://u@a/d?target_session_attrs=prefer-standby": "target_session_attrs must be one of",
    "postgresql://u@a/d?connect_timeout=0": "connect_timeout must be one of 1, 2",
    "postgresql://u@a/d?connect_timeout=60": "connect_timeout must be one of 1, 2",
    "postgresql://u@a/d?channel_binding=require": "channel_binding is taken as disable or prefer alone",
    "postgresql://u@a/d?gssencmode=require": "gssencmode is taken as disable or prefer alone",
    "postgresql://u@a/d?load_balance_hosts=random": "load_balance_hosts is taken as disable alone",
    "postgresql://u@a/d?client_encoding=latin1": "client_encoding is taken as",
    "postgresql://u@a/d?sslsni=0": "sslsni is taken as 1 alone",
    "postgresql://u@a/d?keepalives=1&keepalives_idle=30": "keepalives isn't taken: leave it out",
    "postgresql://u@a/d?keepalives_idle=30": "keepalives_idle isn't taken",
    "postgresql://u@a/d?tcp_user_timeout=30": "tcp_user_timeout isn't taken",
    "postgresql://u@a/d?require_auth=scram-sha-256": "require_auth isn't taken",
    "postgresql://u@a/d?hostaddr=127.0.0.1": "hostaddr isn't taken",
    "postgresql://u@a/d?service=s": "service isn't taken",
    "postgresql://u@a/d?sslrootcert=/none.crt&sslmode=require": "sslrootcert names a file that can't be read",
    "postgresql://u@a/d?sslmode=require&sslcert=/": "sslcert names a file that can't be read",
    "postgresql://u@a/d?sslrootcert=system&sslmode=verify-full": "name the file",
    "postgresql://u@a/d?sslrootcert=/etc/passwd": "no effect without sslmode=verify-full",
    "postgresql://u@a/d?sslrootcert=/etc/passwd&sslmode=prefer": "no effect without sslmode=verify-full",
    "postgresql://u@a/d?sslnegotiation=direct": "no effect without sslmode=verify-full",
    "postgresql://u@a/d?passfile=/etc/passwd": "chmod 600",
    "postgresql://u@a/d#x": "percent-encode",
    "postgresql://u@a/d e": "percent-encode",
    "postgresql://u@a/d?options=-c x=1": "percent-encode",
    "postgresql://u@a/%zz": "percent-encode",
    "postgresql://u@a/%00": "percent-encode",
    "postgresql://u@a/%ff": "UTF-8",
    "postgresql://u@v@a/d": "percent-encode",
    "POSTGRESQL://u@a/d": "must be postgresql://",
    "postgresql+asyncpg://u@a/d": "must be postgresql://",
}


@pytest.mark.parametrize("url", REFUSED)
def test_url_that_cannot_be_done_is_refused_in_words_that_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    with pytest.raises(ConfigError, match="DASHKEEPER_DATABASE_URL") as refusal:
        load_settings(database_url=url)
    assert REFUSED[url] in str(refusal.value)


def test_url_with_several_parameters_that_are_not_taken_names_them_all() -> None:
    with pytest.raises(ConfigError, match=r"keepalives isn't.*requirepeer isn't.*schema isn't"):
        load_settings(database_url="postgresql://u@a/d?keepalives=1&requirepeer=root&schema=s")


def test_url_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    """The issue's own example, as an operator meets it: at the start, in one line."""
    url = f"{SERVER_URL}?connect_timeout=3&channel_binding=require&keepalives_idle=30"
    for command in ("serve", "migrate", "purge", "config"):
        run = dashkeeper(command, tmp_path, url)
        assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
        assert run.stderr.startswith("dashkeeper: DASHKEEPER_DATABASE_URL: channel_binding is taken as")
        assert "keepalives_idle isn't taken" in run.stderr


def test_url_without_user_of_a_process_without_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # as in a container
    with pytest.raises(ConfigError, match="names no user"):
        load_settings(database_url="postgresql://h/d")
    assert load_settings(database_url="postgresql://u@h/d").database_url == "postgresql://u@h/d"
    monkeypatch.setenv("PGUSER", "u")
    assert load_settings(database_url="postgresql://h/d").database_url == "postgresql://h/d"


async def test_url_parameters_reach_the_server(empty_postgresql_url: str) -> None:
    url = f"{empty_postgresql_url}?application_name=n%40me&options=-c%20work_mem=77kB&connect_timeout=9"
    database = make_database(url)
    try:
        await database.migrate("head")  # opens a connection, which stays in the pool
        observer = await asyncpg.connect(empty_postgresql_url)
        try:
            seen = await observer.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'n@me' AND datname = current_database()"
            )
        finally:
            await observer.close()
        assert seen == 1
    finally:
        await database.close()


async def test_url_connect_timeout_bounds_a_host_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = make_database(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d?connect_timeout=1")
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(UnavailableError):
            await database.schema_version()
        assert 0.9 < loop.time() - began < 4.5  # without the parameter it takes 5 s
        await database.close()
