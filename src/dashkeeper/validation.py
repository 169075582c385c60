"""The rules of a request: those that its .proto declares, and the few that only code can say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import protovalidate

from dashkeeper.errors import MAX_VIOLATIONS, InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1.changes_pb import CreateRequest, UpdateRequest
from dashkeeper.gen.dashboards.v1.dashboards_pb import ListRequest
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protobuf import Message
    from protobuf.wkt import Duration, Timestamp

    from dashkeeper.gen.dashboards.v1.tile_pb import Tile

# Timestamps from 0001-01-01T00:00:00Z up to 9999-12-31T23:59:59.999999999Z, as ProtoJSON has them.
_MIN_SECONDS = -62_135_596_800
_MAX_SECONDS = 253_402_300_799

_FULLY_REPORTED_ITEMS = 2_000
"""Reporting all that is wrong takes some 50 µs an item: of a larger request, only the first is told."""

_MAX_KEY_LENGTH = 100

_FIELDS_OF_RULES = {"update.name": "name", "upsert.name": "name"}
"""Rules of a whole request, which has no path: the field that each is about."""

_PATTERNS_IN_WORDS = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$": (
        "must be 1 to 64 letters, digits, _ and -, the first one a letter or a digit"
    ),
    r"^[a-z][a-z0-9_./-]{0,62}$": "must be 1 to 63 of a-z, 0-9, _, ., / and -, the first one a letter",
    r"^[^\x00-\x1F\x7F-\x9F]*$": "must not contain control characters",
    r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$": (
        "must not contain control characters other than tabs and line breaks"
    ),
}


def validate(request: Message) -> None:
    """Check a decoded request against every rule.

    Raises:
        InvalidRequestError: Naming all broken rules, each with its path (a hundred at most).
    """
    violations: list[Violation] = []
    reports_all = True
    if isinstance(request, CreateRequest | UpsertRequest):
        violations += _broken_tile_rules(request.tiles)
        reports_all = _count_items(request.tiles) <= _FULLY_REPORTED_ITEMS
    if isinstance(request, CreateRequest | UpdateRequest | ListRequest):
        reports_all &= len(request.labels) <= _FULLY_REPORTED_ITEMS
    try:
        found = protovalidate.collect_violations(request, fail_fast=True)
        if found and reports_all:
            found = protovalidate.collect_violations(request)
        violations += [_in_words(violation) for violation in found[:MAX_VIOLATIONS]]
    except (protovalidate.EvaluationError, RuntimeError, OverflowError) as error:
        # A value that a rule can't even be evaluated for, such as an enum's number beyond 32 bits.
        # The plain rules above name the known ones; what is left is a bad request all the same.
        if not violations:
            violations = [Violation("", f"a rule can't be evaluated for this request: {error}")]
    if violations:
        raise InvalidRequestError.of(violations[:MAX_VIOLATIONS])


def _broken_tile_rules(tiles: Sequence[Tile]) -> Iterator[Violation]:
    first_with: dict[str, int] = {}
    for index, tile in enumerate(tiles):
        path = f"tiles[{index}]"
        if tile.id and (first := first_with.setdefault(tile.id, index)) != index:
            yield Violation(f"{path}.id", f"is also the id of tiles[{first}]: ids must be unique")
        if tile.insight is not None and (query := tile.insight.query) is not None:
            path = f"{path}.insight.query"
            if query.time_range is not None:
                yield from _broken_timestamp_rules(query.time_range.start, f"{path}.time_range.start")
                yield from _broken_timestamp_rules(query.time_range.end, f"{path}.time_range.end")
            yield from _broken_duration_rules(query.conversion_window, f"{path}.conversion_window")


def _broken_timestamp_rules(timestamp: Timestamp | None, path: str) -> Iterator[Violation]:
    """Protovalidate doesn't see nanos, and a bad Timestamp once stored can't be written as JSON."""
    if timestamp is not None and not (
        _MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos <= 999_999_999
    ):
        yield Violation(path, "must lie within the years 1 to 9999, with nanos of 0 to 999999999")


def _broken_duration_rules(duration: Duration | None, path: str) -> Iterator[Violation]:
    """CEL can't say this: it fails to evaluate on a Duration that is out of range."""
    if duration is not None and duration.nanos != 0:
        yield Violation(path, "must be whole seconds")


def _count_items(tiles: Sequence[Tile]) -> int:
    queries = [tile.insight.query for tile in tiles if tile.insight is not None and tile.insight.query]
    filters = [query.filters for query in queries]
    filters += [event.filters for query in queries for event in query.events]
    values = sum(len(condition.values) for conditions in filters for condition in conditions)
    return len(tiles) + sum(len(query.events) for query in queries) + sum(map(len, filters)) + values


def _in_words(violation: protovalidate.Violation) -> Violation:
    proto = violation.proto
    text = proto.message or proto.rule_id
    if proto.rule_id == "string.pattern":
        text = _PATTERNS_IN_WORDS.get(violation.rule_value, text)
    return Violation(_path(proto.field) or _FIELDS_OF_RULES.get(proto.rule_id, ""), text)


def _path(field: protovalidate.FieldPathPb | None) -> str:
    """Write a field's path as `tiles[3].position.w` or `labels["team"]`."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            key = element.subscript.value
            key = key[:_MAX_KEY_LENGTH] if isinstance(key, str) else key
            path += f"[{json.dumps(key, ensure_ascii=False)}]"
    return path
