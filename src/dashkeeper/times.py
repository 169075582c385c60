"""Times as SQL has them, integer microseconds since 1970, and as messages have them."""

from __future__ import annotations

import time
from datetime import timedelta

from protobuf.wkt import Timestamp


def now() -> int:
    """Return the present time, in microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


def later(timestamp: Timestamp, duration: timedelta) -> Timestamp:
    """Return the time that comes so much later."""
    return to_timestamp(to_microseconds(timestamp) + duration // timedelta(microseconds=1))


def to_timestamp(microseconds: int) -> Timestamp:
    """Return the message of a time in microseconds since 1970."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def to_microseconds(timestamp: Timestamp) -> int:
    """Return the time of a message in microseconds since 1970."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000
