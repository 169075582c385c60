"""DATABASE_URL: what it says, in what words it is refused, and what of it may be shown.

A URL whose password isn't percent-encoded falls apart in the wrong places: the driver would take pieces of
the password for a host, a port or a parameter, and name them in its errors. So it is read here, by libpq's
rules (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS), and no refusal
repeats a value. `urllib.parse.urlsplit` isn't used, as its own errors do.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

from dashkeeper.database_parameters import DRIVERS, ENCODE, PLACES, SECRETS, decoded, read_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HIDDEN = "**********"
_URL = re.compile(r"postgres(?:ql)?://(?:([^@/?]*)@)?([^@/?]*)(?:/([^@?]*))?(?:\?([^@]*))?")
_NOT_ENCODED = re.compile(r"[\s#\x00-\x1f\x7f]|%(?![0-9A-Fa-f]{2})|%00")
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(\d*))?")
_CONNECT_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class PostgreSQLTarget:
    """What a URL of PostgreSQL says, in the driver's terms; None: as libpq's variables or defaults say."""

    hosts: Sequence[tuple[str | None, int | None]]
    """Names, addresses or folders of Unix sockets, with their ports, in the order in which they are tried."""
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    driver_url: str = field(repr=False)
    """A URL that holds only parameters, those that the driver takes there."""
    connect_seconds: int
    """How long each host may take."""
    server_settings: Mapping[str, str]


def check_database_url(url: str) -> None:
    """Refuse a URL that can't be used.

    Raises:
        ValueError: If so. The text repeats no value, as any may be a piece of a password.
    """
    if url.startswith(("postgresql://", "postgres://")):
        postgresql_target(url)
    elif not re.fullmatch(r"sqlite:///[^?#]+", url) or url.endswith(":memory:"):
        raise ValueError(
            "must be postgresql://..., or sqlite:///path, a file (a path that starts with / makes it sqlite:////path)"
        )


def shown_database_url(url: str) -> str:
    """Return a URL that was checked as it may be shown."""
    if url.startswith("sqlite:"):
        return url
    address, mark, query = re.sub(r"(://[^:]*:).*@", rf"\1{_HIDDEN}@", url).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    shown = [
        f"{name}={_HIDDEN}" if unquote(name) in SECRETS else f"{name}{equals}{value}"
        for name, equals, value in pairs
    ]
    return f"{address}{mark}{'&'.join(shown)}"


def postgresql_target(url: str) -> PostgreSQLTarget:
    """Read a URL.

    Raises:
        ValueError: If it can't be read, or says what can't be done. The text repeats no value.
    """
    parts = _URL.fullmatch(url)
    if parts is None or _NOT_ENCODED.search(url):
        raise ValueError(f"is no URL that can be read for certain: {ENCODE}")
    account, address, database, query = parts.groups(default="")
    user, _, password = account.partition(":")
    hosts, ports = _hosts_and_ports(address)
    said = read_parameters(query)
    for name, before in zip(PLACES, (hosts, ports, user, password, database), strict=True):
        if before and name in said:
            raise ValueError(f"says {name} before the ? and after it: write it once")
    if "host" in said:
        hosts = [_checked_host(host) for host in said["host"].split(",")]
    if "port" in said:
        ports = [_port(port) for port in said["port"].split(",")]
    targets: list[tuple[str | None, int | None]] = _paired(hosts or [None], ports or [None])
    user = decoded(user) or said.get("user")
    _check_user(user)
    name = said.get("application_name") or said.get("fallback_application_name") or "dashkeeper"
    drivers = [(parameter, said[parameter]) for parameter in DRIVERS if parameter in said]
    options = {"options": said["options"]} if "options" in said else {}
    return PostgreSQLTarget(
        hosts=targets,
        user=user,
        password=decoded(password) or said.get("password"),
        database=decoded(database) or said.get("dbname"),
        driver_url=f"postgresql://?{urlencode(drivers, quote_via=quote)}",
        connect_seconds=int(said.get("connect_timeout", _CONNECT_SECONDS)),
        server_settings={"application_name": name, **options},
    )


def _hosts_and_ports(address: str) -> tuple[list[str], list[int | None]]:
    """Return what stands between the account and the path; no ports where none is said."""
    if not address:
        return [], []
    hosts: list[str] = []
    ports: list[int | None] = []
    for place in address.split(","):
        match = _HOST.fullmatch(place)
        if match is None:
            raise ValueError(
                f"says no host:port (an IPv6 address stands in [ ], a port is a number): {ENCODE}"
            )
        hosts.append(_checked_host(decoded(match[1] or match[2] or ""), in_brackets=match[1] is not None))
        ports.append(_port(match[3]) if match[3] else None)
    return hosts, ports if any(ports) else []


def _checked_host(host: str, *, in_brackets: bool = False) -> str:
    if not host:
        raise ValueError("lacks the name of a host: write localhost, or host=/folder/of/the/socket after a ?")
    if in_brackets or (not host.startswith("/") and any(sign in host for sign in ":[]")):
        try:
            IPv6Address(host)
        except ValueError:
            raise ValueError(
                "names a host that is no name, no address and no folder of a Unix socket"
                " (after the ? an IPv6 address stands without [ ], and ports are said by port=)"
            ) from None
    return host


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 0 < int(text) <= 65535:
        raise ValueError(f"says a port that is no number from 1 to 65535: {ENCODE}")
    return int(text)


def _paired(hosts: Sequence[str | None], ports: Sequence[int | None]) -> list[tuple[str | None, int | None]]:
    if len(ports) == 1:
        ports = [ports[0] for _ in hosts]
    if len(ports) != len(hosts):
        raise ValueError("says more or fewer ports than hosts: write one for each, or one for all")
    return list(zip(hosts, ports, strict=True))


def _check_user(user: str | None) -> None:
    if user or os.environ.get("PGUSER"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise ValueError(
            "names no user, and who runs this has no name here: write postgresql://user:password@host/database"
        ) from None
