"""The parameters of a PostgreSQL URL: which are taken, and what to do instead of the others.

They are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS): each stands
in the table that says what becomes of it. asyncpg would send those it doesn't know to the server, as
settings, and leave others aside that an operator relies on.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENCODE = (
    "percent-encode what a name or a password has of : / ? # @ % & and white space"
    " (: is %3A, / %2F, ? %3F, # %23, @ %40, % %25, & %26, a space %20)"
)

PLACES = ("host", "port", "user", "password", "dbname")
"""What a URL says before the ? as well, in the order of its parts there."""
SECRETS = ("password", "sslpassword")
_FILES = ("sslrootcert", "sslcrl", "sslcert", "sslkey", "passfile")
_TEXTS = ("sslpassword", "application_name", "fallback_application_name", "options")
_VERIFYING = ("verify-full", "verify-ca", "require")  # the last one where there is an sslrootcert
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES: Mapping[str, Sequence[str]] = {
    "sslmode": (*_VERIFYING, "prefer", "allow", "disable"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": ("any", "read-write", "primary", "read-only", "standby"),
    "connect_timeout": [str(seconds) for seconds in range(1, 11)],
}
# Taken with the values for which there is nothing to do: what to do instead of another one.
_DONE_ANYWAY: Mapping[str, tuple[Sequence[str], str]] = {
    "channel_binding": (("disable", "prefer"), "use sslmode=verify-full to keep others out of the middle"),
    "client_encoding": (("utf8", "UTF8", "auto"), "leave it out"),
    "gssencmode": (("disable", "prefer"), "use sslmode=verify-full to encrypt"),
    "load_balance_hosts": (("disable",), "hosts are tried in their order"),
    "sslcertmode": (("allow",), "leave it out"),
    "sslcompression": (("0",), "leave it out"),
    "sslsni": (("1",), "leave it out"),
}
_SILENCE = "leave it out: a server that falls silent is given up after some 37 s"
_NO_KERBEROS = "Kerberos can't be used: write a password, or sslcert and sslkey"
_OTHER_SECRET = "write a password, or sslcert and sslkey"  # noqa: S105 # advice
_OF_THE_SERVER = "use sslmode=verify-full to be sure of the server"
_INSTEAD: Mapping[str, str] = {
    "database": "write dbname",
    "gssdelegation": _NO_KERBEROS,
    "gsslib": _NO_KERBEROS,
    "hostaddr": "write the address in place of the host",
    "keepalives": _SILENCE,
    "keepalives_count": _SILENCE,
    "keepalives_idle": _SILENCE,
    "keepalives_interval": _SILENCE,
    "krbsrvname": _NO_KERBEROS,
    "max_protocol_version": "leave it out",
    "min_protocol_version": "leave it out",
    "oauth_client_id": _OTHER_SECRET,
    "oauth_client_secret": _OTHER_SECRET,
    "oauth_issuer": _OTHER_SECRET,
    "oauth_scope": _OTHER_SECRET,
    "replication": "leave it out",
    "require_auth": _OF_THE_SERVER,
    "requirepeer": _OF_THE_SERVER,
    "requiressl": "write sslmode=require",
    "scram_client_key": _OTHER_SECRET,
    "scram_server_key": _OTHER_SECRET,
    "service": "write in the URL what the service says",
    "servicefile": "write in the URL what the service says",
    "ssl": "write sslmode=require",
    "sslcrldir": "name one file by sslcrl",
    "sslkeylogfile": "leave it out",
    "tcp_user_timeout": _SILENCE,
}
_TAKEN = (*PLACES, *_FILES, *_TEXTS, *_CHOICES, *_DONE_ANYWAY)
DRIVERS = (
    *_FILES,
    "sslpassword",
    "sslmode",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "target_session_attrs",
)
"""What asyncpg does as libpq does, and reads from a URL."""


def decoded(text: str) -> str:
    """Undo the percent-encoding.

    Raises:
        ValueError: If it isn't UTF-8.
    """
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"holds %XX that is no UTF-8: {ENCODE}") from None  # its text shows a byte


def read_parameters(query: str) -> Mapping[str, str]:
    """Read what stands after the ?; an empty value counts as not said.

    Raises:
        ValueError: If something there isn't taken. The text repeats no value.
    """
    said: dict[str, str] = {}
    problems: list[str] = []
    for pair in query.split("&") if query else ():
        encoded_name, equals, encoded_value = pair.partition("=")
        name, value = decoded(encoded_name), decoded(encoded_value)
        if not equals:
            raise ValueError(f"has a parameter without = after the ?: {ENCODE}")
        if name in said:
            raise ValueError(f"says {name} more than once: write it once")
        if name in _INSTEAD:
            problems.append(f"{name} isn't taken: {_INSTEAD[name]}")
        elif name not in _TAKEN:
            # After a password it may be the rest of that, behind an & that isn't percent-encoded.
            problems.append(_unknown("" if said.keys() & set(SECRETS) else name))
        elif value:
            said[name] = value
            problems += _problems(name, value)
    if problems or (problems := _problems_of_tls(said)):
        raise ValueError("; ".join(problems))
    return said


def _unknown(name: str) -> str:
    if near := get_close_matches(name.lower(), _TAKEN, 1):
        return f"{name} isn't a parameter of PostgreSQL's URLs: did you mean {near[0]}?"
    return f"{name or 'one'} isn't a parameter of PostgreSQL's URLs: leave it out, or {ENCODE}"


def _problems(name: str, value: str) -> list[str]:
    if name in _CHOICES and value not in _CHOICES[name]:
        return [f"{name} must be one of {', '.join(_CHOICES[name])}"]
    if name in _DONE_ANYWAY and value not in _DONE_ANYWAY[name][0]:
        values, advice = _DONE_ANYWAY[name]
        return [f"{name} is taken as {' or '.join(values)} alone: {advice}"]
    if (name, value) == ("sslrootcert", "system"):
        return ["sslrootcert=system isn't taken: name the file, such as /etc/ssl/certs/ca-certificates.crt"]
    if name in _FILES:
        try:
            with Path(value).open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            return [f"{name} names a file that can't be read: {error.strerror}"]
        if name == "passfile" and mode & 0o077:  # the driver would leave it aside, as libpq does
            return ["passfile names a file that others may use: chmod 600 it"]
    return []


def _problems_of_tls(said: Mapping[str, str]) -> list[str]:
    """Refuse what has no effect where the connection may do without TLS."""
    if (said.get("sslmode") or os.environ.get("PGSSLMODE")) in _VERIFYING:
        return []
    idle = [name for name in ("sslrootcert", "sslcrl") if name in said]
    idle += ["sslnegotiation"] if said.get("sslnegotiation") == "direct" else []
    return [f"{name} has no effect without sslmode=verify-full: add that" for name in idle]
