"""A clock that a test sets, for the servers that it starts meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "CLOCK_FILE"
"""Names the file that says by how many seconds the clock of a server is off."""


def follow_file() -> None:
    """Let time.time_ns, from which all that is written gets its time, be off by what the file says.

    time.time is left alone: grpcio subtracts it from times of its own.
    """
    file = Path(os.environ[VARIABLE])
    time_ns = time.time_ns
    time.time_ns = lambda: time_ns() + int(file.read_text(encoding="utf-8")) * 1_000_000_000
