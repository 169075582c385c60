"""From messages to the seed's JSON.

Fields of a newer client that a stored message keeps unopened aren't shown: JSON has no place for
them. So a PUT of a content, which replaces the whole of it, drops them.
"""

from __future__ import annotations

from math import copysign
from typing import TYPE_CHECKING, Any, cast

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMessage,
    DescMessage,
    Message,
)
from protobuf.wkt import Timestamp

from dashkeeper import times
from dashkeeper.gen.registrations.v1.chart_pb import Chart
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.gen.registrations.v1.filter_pb import DimensionFilterList, QueryFragment
from dashkeeper.gen.registrations.v1.source_pb import OtherSource
from dashkeeper.strict_json import Verbatim, dump
from dashkeeper.transport.rest import dialect

if TYPE_CHECKING:
    from protobuf import Oneof

_EXACT = 2**53
_SPACE = " \t\n\r"


def write(message: Message) -> dict[str, Any]:
    """Return a message as the seed writes it; what is Verbatim in it is JSON that was kept as text."""
    match message:
        case QueryFragment():
            return _query_fragment(message)
        case _:
            result: dict[str, Any] = {}
            for item in message.desc().members:
                field = item if isinstance(item, DescField) else _chosen(message, item.local_name)
                if field is not None and (field in message or _is_always_written(field)):
                    is_options = isinstance(message, Chart) and field.name in dialect.OPTIONS.values()
                    result["options" if is_options else dialect.key(field)] = _value(message[field], field)
            return result


def _chosen(message: Message, oneof: str) -> DescField | None:
    """Return the field of a oneof that is set."""
    chosen = cast("Oneof[str, Any] | None", getattr(message, oneof))
    if chosen is None:
        return None
    return next(field for field in message.desc().fields if field.name == chosen.field)


def _is_always_written(field: DescField) -> bool:
    return isinstance(field.value, DescFieldValueList) or not dialect.has_presence(field)


def _value(value: Any, field: DescField) -> Any:
    match field.value:
        case DescFieldValueList(element=DescMessage()):
            return [_part(item) for item in value]
        case DescFieldValueList(element=DescEnum() as enum):
            return [_word(item, enum) for item in value]
        case DescFieldValueList():
            return list(value)
        case DescFieldValueEnum(enum=enum):
            return _word(value, enum)
        case DescFieldValueMessage():
            return milliseconds(value) if isinstance(value, Timestamp) else _part(value)
        case _:
            return _plain(value) if isinstance(value, float) else value


def _part(message: Message) -> dict[str, Any] | Verbatim:
    return _dataset(message) if isinstance(message, Dataset) else write(message)


def milliseconds(timestamp: Timestamp) -> int:
    """Return a time in milliseconds since 1970."""
    return times.to_microseconds(timestamp) // 1_000


def _plain(value: float) -> float:
    """Return a whole number without its fraction, as a person writes it."""
    is_plain = value.is_integer() and abs(value) < _EXACT and not (value == 0 and copysign(1, value) < 0)
    return int(value) if is_plain else value


def _word(value: int, enum: DescEnum) -> str | int:
    return dialect.words(enum).get(int(value), int(value))


def _dataset(dataset: Dataset) -> dict[str, Any] | Verbatim:
    node = dataset.node
    result: dict[str, Any] = {}
    if node is not None:
        inner = node.value
        result["type"] = inner.type if isinstance(inner, OtherSource) else dialect.NODE_TYPES[node.field]
    if dataset.has_field("series_title"):
        result["series_title"] = dataset.series_title
    if node is not None:
        inner = node.value
        if isinstance(inner, OtherSource):
            return _joined(dump(result), inner.json)
        result |= write(inner)
    return result


def _joined(first: str, second: str) -> Verbatim:
    """Return two objects, the first not empty, as one: what is written in them stays as it is."""
    rest = second.strip(_SPACE)[1:].lstrip(_SPACE) or "}"
    return Verbatim(first[:-1] + ("" if rest == "}" else ",") + rest)


def _query_fragment(fragment: QueryFragment) -> dict[str, Any]:
    result: dict[str, Any] = {"type": fragment.type}
    if fragment.has_field("starting_object_type"):
        result["starting_object_type"] = fragment.starting_object_type
    if (chosen := fragment.fragment) is not None:
        value = chosen.value
        is_list = isinstance(value, DimensionFilterList)
        result["fragment"] = [write(item) for item in value.filters] if is_list else value
    return result
