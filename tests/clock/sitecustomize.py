"""A clock that a test sets: Python imports this first where PYTHONPATH names this folder.

What is written gets its time from time.time_ns, which is then off by as many seconds as the file says that
CLOCK_FILE names. time.time is left alone: grpcio subtracts it from times of its own.
"""  # noqa: INP001 # no package: the folder is a place of its own on the path

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CLOCK_FILE"])
_time_ns = time.time_ns


def _set_time_ns() -> int:
    return _time_ns() + int(_FILE.read_text(encoding="utf-8")) * 1_000_000_000


time.time_ns = _set_time_ns
