"""The rules of a request: those that its .proto declares, and the few that only code can say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import protovalidate

from dashkeeper.errors import InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1.changes_pb import CreateRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protobuf import Message
    from protobuf.wkt import Duration, Timestamp

    from dashkeeper.gen.dashboards.v1.tile_pb import Tile

# Timestamps from 0001-01-01T00:00:00Z up to 9999-12-31T23:59:59.999999999Z, as ProtoJSON has them.
_MIN_SECONDS = -62_135_596_800
_MAX_SECONDS = 253_402_300_799


def validate(request: Message) -> None:
    """Check a decoded request against every rule.

    Raises:
        InvalidRequestError: Naming all broken rules, each with its path.
    """
    violations: list[Violation] = []
    if isinstance(request, CreateRequest | UpsertRequest):
        violations += _broken_tile_rules(request.tiles)
    try:
        violations += [
            Violation(_path(found.proto.field), found.proto.message or found.proto.rule_id)
            for found in protovalidate.collect_violations(request)
        ]
    except (protovalidate.EvaluationError, RuntimeError) as error:
        # A value that a rule can't even be evaluated for. The plain rules above name the known
        # ones; what is left is a bad request all the same, not a fault of the server.
        if not violations:
            violations = [Violation("", f"a rule can't be evaluated for this request: {error}")]
    if violations:
        raise InvalidRequestError.of(violations)


def _broken_tile_rules(tiles: Sequence[Tile]) -> Iterator[Violation]:
    first_with: dict[str, int] = {}
    for index, tile in enumerate(tiles):
        path = f"tiles[{index}]"
        if tile.id and first_with.setdefault(tile.id, index) != index:
            yield Violation(
                f"{path}.id", f'"{tile.id}" is also the id of tiles[{first_with[tile.id]}]: ids must be unique'
            )
        if tile.insight is not None and (query := tile.insight.query) is not None:
            query_path = f"{path}.insight.query"
            if query.time_range is not None:
                yield from _broken_timestamp_rules(query.time_range.start, f"{query_path}.time_range.start")
                yield from _broken_timestamp_rules(query.time_range.end, f"{query_path}.time_range.end")
            yield from _broken_duration_rules(query.conversion_window, f"{query_path}.conversion_window")


def _broken_timestamp_rules(timestamp: Timestamp | None, path: str) -> Iterator[Violation]:
    """protovalidate doesn't see nanos, and a bad Timestamp once stored can't be written as JSON."""
    if timestamp is not None and not (
        _MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos <= 999_999_999
    ):
        yield Violation(path, "must lie within the years 1 to 9999, with nanos of 0 to 999999999")


def _broken_duration_rules(duration: Duration | None, path: str) -> Iterator[Violation]:
    if duration is not None and duration.nanos != 0:
        yield Violation(path, "must be whole seconds")


def _path(field: protovalidate.FieldPathPb | None) -> str:
    """Write a field's path as `tiles[3].position.w` or `labels["team"]`."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            key = element.subscript.value
            path += f'["{key}"]' if isinstance(key, str) else f"[{key}]"
    return path
