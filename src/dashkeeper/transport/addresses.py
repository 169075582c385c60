"""Where listeners listen: one meaning of an address, whichever of them it is for.

A name stands for every address that it resolves to and this machine has; `0.0.0.0` for IPv4 alone, `[::]`
for IPv6 and IPv4.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dashkeeper.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from dashkeeper.config import Address

log = logging.getLogger(__name__)

_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_ANY = ("0.0.0.0", "::")  # noqa: S104 # recognised here, chosen by the operator
_TRIES = 20


class _Resolved(NamedTuple):
    family: int
    host: str
    """A literal, as `127.0.0.1` or `::1`."""


def bound_sockets(address: Address, setting: str) -> tuple[Address, Sequence[socket.socket]]:
    """Return the sockets of an address, bound and not yet listening, and the address with its port.

    Args:
        address: A host with a port (0: any that is free on every address of the host), or a Unix socket.
        setting: The name of the setting, for errors.

    Raises:
        ConfigError: If one of them is taken, or this machine has none of them.
    """
    if address.path:
        check_unused(address, setting)
        remove_socket(address)
        try:
            return address, [_bound(socket.AF_UNIX, address.path)]
        except OSError as error:
            raise cannot_listen(address, setting, error.strerror or str(error)) from error
    try:
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # the second where it is no name: `a..b`
        raise cannot_listen(address, setting, getattr(error, "strerror", None) or str(error)) from error
    hosts = list(dict.fromkeys(_Resolved(family, str(where[0])) for family, _, _, _, where in found))
    for _ in range(_TRIES):
        sockets = _bind_all(address, hosts, setting)
        if sockets:
            break
    else:
        raise cannot_listen(address, setting, "no port is free on all of its addresses")
    return address.with_port(sockets[0].getsockname()[1]), sockets


@contextlib.contextmanager
def ipv6_kept_out(address: Address) -> Generator[None]:
    """Keep IPv6 out of what is bound on 0.0.0.0 meanwhile: gRPC's library would add it without a word."""
    with contextlib.ExitStack() as held:
        if address.host == _ANY[0]:
            with contextlib.suppress(OSError):  # no IPv6 here, or its port is taken: nothing to keep out
                keeper = held.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                keeper.bind((_ANY[1], address.port))
        yield


def remove_socket(address: Address) -> None:
    """Remove a Unix socket that is left behind. Anything else that stands there isn't ours to remove."""
    if address.path and Path(address.path).is_socket():
        Path(address.path).unlink()


def _bind_all(address: Address, hosts: Sequence[_Resolved], setting: str) -> Sequence[socket.socket]:
    """Bind every address on one port; none where the one that was chosen for port 0 isn't free on all."""
    sockets: list[socket.socket] = []
    missing: list[tuple[str, OSError]] = []
    port = address.port
    for family, host in hosts:
        try:
            sockets.append(_bound(family, (host, port)))
        except OSError as error:
            if error.errno in _NOT_HERE and len(hosts) > 1:
                missing.append((host, error))
                continue
            for one in sockets:
                one.close()
            if error.errno == errno.EADDRINUSE and port != address.port:
                return []
            where = "" if host == address.host else f"{host}: "
            raise cannot_listen(address, setting, f"{where}{error.strerror or error}") from error
        port = sockets[0].getsockname()[1]
    if not sockets:
        raise cannot_listen(address, setting, "this machine has none of its addresses")
    for host, error in missing:
        log.warning("%s: %s is left out: %s", address.with_port(port), host, error.strerror)
    return sockets


def _bound(family: int, where: tuple[str, int] | str) -> socket.socket:
    # Without IPPROTO_TCP asyncio leaves Nagle's algorithm on, and HTTP/1.1 crawls.
    protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
    bound = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(where[0] != _ANY[1]))
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound


def check_unused(address: Address, setting: str) -> None:
    """Refuse a Unix socket that somebody listens on: binding would take it away without an error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(address.path)
        raise cannot_listen(address, setting, "another process listens there")


def cannot_listen(address: Address, setting: str, reason: str) -> ConfigError:
    """Make the error of an address that can't be used."""
    return ConfigError(f"can't listen on {setting} {address}: {reason}: choose another address")
