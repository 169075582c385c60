"""Ports that stay free until a test's server listens there."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no system gives out by itself.

    Those that one does (Linux: from 32768) may be any connection's before a server listens there, or while
    it is started anew.
    """
    while True:
        port = random.randrange(20_000, 32_768)  # noqa: S311 # so that two test runs seldom meet
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass  # somebody's: try another
