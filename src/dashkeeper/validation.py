"""The rules of a request: those that its .proto declares, and the few that only code can say."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import protovalidate
from protobuf import DescFieldValueList, DescFieldValueMap, DescFieldValueMessage

from dashkeeper.descriptors import message_of, messages_within
from dashkeeper.errors import MAX_VIOLATIONS, InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1 import changes_pb as dashboards
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.gen.registrations.v1 import changes_pb as registrations
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.paths import Key, Path
from dashkeeper.services import contents, places, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protobuf import DescField, DescMessage, Message

_FULLY_REPORTED_ITEMS = 2_000
"""Reporting all that is wrong takes some 50 µs an item: of a larger request, only the first is told."""

_FIELDS_OF_RULES = {
    "update.name": ("name",),
    "upsert.name": ("name",),
    "update.title": ("title",),
    "list.segment_id": ("segment_id",),
    "list.builder_id": ("builder_id",),
}
"""Rules of a whole request, which has no path: the field that each is about."""

_PATTERNS_IN_WORDS = {
    r"^[a-z][a-z0-9_./-]{0,62}$": "must be 1 to 63 of a-z, 0-9, _, ., / and -, the first one a letter",
    r"^[^\x00-\x1F\x7F-\x9F]*$": "must not contain control characters",
    r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$": (
        "must not contain control characters other than tabs and line breaks"
    ),
    r"^#[0-9A-Fa-f]{6}$": "must be a colour as #RRGGBB, such as #00A1DF",
    (
        r"^([0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
        r"|now([+-][0-9]{1,6}[yMwdhHms])*(/[yMwdhHms])?)$"
    ): "must be a date such as 2026-01-31 or 2026-01-31T10:00:00, or relative to now, such as now-7d/d",
}


def validate(request: Message) -> None:
    """Check a decoded request against every rule.

    Raises:
        InvalidRequestError: Naming all broken rules, each with its path (a hundred at most).
    """
    violations = list(islice(_code_rules(request), MAX_VIOLATIONS))
    try:
        found = protovalidate.collect_violations(request, fail_fast=_holds_many_items(request))
        violations += [_in_words(violation) for violation in found[:MAX_VIOLATIONS]]
    except (protovalidate.EvaluationError, RuntimeError, OverflowError) as error:
        # A value that a rule can't even be evaluated for, such as an enum's number beyond 32 bits.
        # The plain rules above name the known ones; what is left is a bad request all the same.
        if not violations:
            violations = [Violation((), f"a rule can't be evaluated for this request: {error}")]
    if violations:
        raise InvalidRequestError.of(violations[:MAX_VIOLATIONS])


def _code_rules(request: Message) -> Iterator[Violation]:
    """Find the broken rules that no .proto says."""
    match request:
        case dashboards.CreateRequest() | UpsertRequest():
            yield from tiles.problems(request.tiles)
        case registrations.CreateRequest():
            ids = request.scopes, request.segment_ids, request.builder_ids
            yield from places.repetitions(*ids)
            yield from places.place_problems(*ids)
        case registrations.UpdateRequest():
            yield from places.repetitions(request.scopes, request.segment_ids, request.builder_ids)
        case UpdateContentRequest(content=content) if content is not None:
            yield from contents.problems(content, ("content",))
        case _:
            pass


def _holds_many_items(message: Message) -> bool:
    count = 0
    pending: list[Any] = [message]
    while pending and count <= _FULLY_REPORTED_ITEMS:
        message = pending.pop()
        for field, has_items_within in _where_items_are(message.desc()):
            if field in message:
                held: Any = message[field]
                is_one = isinstance(field.value, DescFieldValueMessage)
                count += 0 if is_one else len(held)
                if has_items_within:
                    pending += [held] if is_one else held
    return count > _FULLY_REPORTED_ITEMS


@cache
def _where_items_are(message: DescMessage) -> Sequence[tuple[DescField, bool]]:
    """Return a message's lists and maps, and the fields whose messages may hold some: those with True."""
    found: list[tuple[DescField, bool]] = []
    for field in message.fields:
        inner = message_of(field)
        has_items_within = inner is not None and any(map(_has_items, messages_within(inner)))
        if has_items_within or _is_many(field):
            found.append((field, has_items_within))
    return found


def _has_items(message: DescMessage) -> bool:
    return any(map(_is_many, message.fields))


def _is_many(field: DescField) -> bool:
    return isinstance(field.value, DescFieldValueList | DescFieldValueMap)


def _in_words(violation: protovalidate.Violation) -> Violation:
    proto = violation.proto
    text = proto.message or proto.rule_id
    if proto.rule_id == "string.pattern":
        text = _PATTERNS_IN_WORDS.get(violation.rule_value, text)
    return Violation(_path(proto.field) or _FIELDS_OF_RULES.get(proto.rule_id, ()), text)


def _path(field: protovalidate.FieldPathPb | None) -> Path:
    path: list[str | int] = []
    for element in field.elements if field is not None else ():
        path.append(element.field_name)
        if element.subscript is not None:
            subscript = element.subscript.value
            path.append(Key(subscript) if isinstance(subscript, str) else subscript)
    return tuple(path)
