"""The rules of tiles that only code can say: those across tiles, and those that CEL can't evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashkeeper.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protobuf.wkt import Duration, Timestamp

    from dashkeeper.gen.dashboards.v1.tile_pb import Tile
    from dashkeeper.paths import Path

# Timestamps from 0001-01-01T00:00:00Z up to 9999-12-31T23:59:59.999999999Z, as ProtoJSON has them.
_MIN_SECONDS = -62_135_596_800
_MAX_SECONDS = 253_402_300_799


def problems(tiles: Sequence[Tile]) -> Iterator[Violation]:
    """Find every broken one of these rules, each with its path."""
    first_with: dict[str, int] = {}
    for index, tile in enumerate(tiles):
        path: Path = ("tiles", index)
        if tile.id and (first := first_with.setdefault(tile.id, index)) != index:
            yield Violation((*path, "id"), f"is also the id of tiles[{first}]: ids must be unique")
        if tile.insight is not None and (query := tile.insight.query) is not None:
            path = (*path, "insight", "query")
            if query.time_range is not None:
                yield from _timestamp_problems(query.time_range.start, (*path, "time_range", "start"))
                yield from _timestamp_problems(query.time_range.end, (*path, "time_range", "end"))
                yield from _duration_problems(query.time_range.last, (*path, "time_range", "last"))
            yield from _duration_problems(query.conversion_window, (*path, "conversion_window"))


def _timestamp_problems(timestamp: Timestamp | None, path: Path) -> Iterator[Violation]:
    """Protovalidate doesn't see nanos, and a bad Timestamp once stored can't be written as JSON."""
    if timestamp is not None and not (
        _MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos <= 999_999_999
    ):
        yield Violation(path, "must lie within the years 1 to 9999, with nanos of 0 to 999999999")


def _duration_problems(duration: Duration | None, path: Path) -> Iterator[Violation]:
    """CEL can't say this: it fails to evaluate on a Duration that is out of range."""
    if duration is not None and duration.nanos != 0:
        yield Violation(path, "must be whole seconds")
