"""Times as SQL has them, integer microseconds since 1970, and as messages have them."""

from __future__ import annotations

import time
from datetime import timedelta

from protobuf.wkt import Timestamp


def now() -> int:
    """Return the present time, in microseconds since 1970, UTC: it steps back when somebody sets it back."""
    return time.time_ns() // 1_000


_DAY = 24 * 60 * 60 * 1_000_000


class Clock:
    """What is written gets its times from here: each is later than the one before, whatever `now` does."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, after: int = 0) -> int:
        """Return the present time, or as little later as it takes to come after the time given.

        It comes after each that was returned before, too, unless that lies a day ahead and more: then the
        clock was wrong and has been mended.
        """
        present = now()
        if self._last < present + _DAY:
            present = max(present, self._last + 1)
        self._last = present
        return max(present, after + 1)


clock = Clock()
"""The process's: what one server writes sorts as it was written, though its clock steps back."""


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
