"""What the seed's JSON calls things, where that isn't what the messages call them.

All else follows from the messages: a field's key is its name, a scalar without presence is
mandatory, a list may be left out. Reader, writer, paths and the OpenAPI description share this.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from protobuf import DescFieldValueEnum, DescFieldValueList, DescFieldValueMessage, DescFieldValueScalar
from protovalidate._gen.buf.validate.validate_pb import FieldRules, ext_field

from dashkeeper.descriptors import folded
from dashkeeper.gen.registrations.v1.chart_options_pb import XKey
from dashkeeper.gen.registrations.v1.chart_pb import Chart, ChartType
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.gen.registrations.v1.filter_pb import QueryFragment
from dashkeeper.gen.registrations.v1.source_pb import DataFileSource, OtherSource, OtqlSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protobuf import DescEnum, DescField, DescMessage

PACKAGE = "registrations.v1."

DATASET = Dataset.desc().type_name
CHART = Chart.desc().type_name
QUERY_FRAGMENT = QueryFragment.desc().type_name
OTHER_SOURCE = OtherSource.desc().type_name
X_KEY = XKey.desc().type_name

_SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "ChartType": str.capitalize,
    "ValuesRetrieveMethod": str.capitalize,
    "Precision": "{}_PRECISION".format,
    "BooleanOperator": str.upper,
    "DimensionFilterOperator": str.upper,
    "MetricFilterOperator": str.upper,
    "SortOrder": str.upper,
    "XKeyMode": str.upper,
    "ModelType": str.upper,
}
"""How the seed spells the words of an enum that it doesn't write in lower case."""

_KEYS = {(DataFileSource.desc().type_name, "json_path"): "JSON_path"}

SOURCES: Mapping[str, str] = {
    "otql": "OTQL",
    "activities_analytics": "activities_analytics",
    "collection_volumes": "collection_volumes",
    "resources_usage": "resources_usage",
    "data_ingestion": "data_ingestion",
    "data_file": "data_file",
}
"""The `type` of each data source, by its field in Dataset."""

TRANSFORMATIONS: Mapping[str, str] = {
    "to_list": "to-list",
    "join": "join",
    "to_percentages": "to-percentages",
    "ratio": "ratio",
    "index": "index",
    "reduce": "reduce",
    "format_dates": "format-dates",
    "get_decorators": "get-decorators",
}
"""The `type` of each transformation, by its field in Dataset."""

NODE_TYPES: Mapping[str, str] = {**SOURCES, **TRANSFORMATIONS}

NODES: Mapping[str, str] = {folded(word): field for field, word in NODE_TYPES.items()}
"""The fields of Dataset by their folded types."""

FRAGMENT_TYPES: Mapping[str, str] = {folded(word): word for word in SOURCES.values()}
"""The types of a query fragment that are known, by their folded spellings."""

OPTIONS: Mapping[ChartType, str] = {
    ChartType.PIE: "pie_options",
    ChartType.BARS: "bars_options",
    ChartType.RADAR: "radar_options",
    ChartType.METRIC: "metric_options",
    ChartType.AREA: "area_options",
}
"""The field that a chart's `options` are in."""

NUMBER_OR_TEXT = frozenset({(OtqlSource.desc().type_name, "query_id")})
"""Ids that the known examples write as a number or as a string; a string is written."""

READ_ONLY = frozenset(
    {
        "id",
        "etag",
        "created_ts",
        "created_by",
        "last_modified_ts",
        "last_modified_by",
        "deleted_at",
        "purge_at",
    }
)
"""Keys of a registration that a body may hold and that change nothing, so that GET, edit, PUT works."""

WRITABLE = frozenset({"title", "scopes", "segment_ids", "builder_ids"})
"""Keys of a registration that every body must have; a list may be empty."""

FIXED = frozenset({"organisation_id", "community_id"})
"""Keys of a registration that are fixed when it is created, and mandatory then."""

_IMPLICIT = 2
"""Of google.protobuf.FeatureSet.FieldPresence: a scalar that is always there."""


@cache
def key(field: DescField) -> str:
    """Return the key that a field has in JSON."""
    return _KEYS.get((field.parent.type_name, field.name), field.name)


@cache
def fields(message: DescMessage) -> Mapping[str, DescField]:
    """Return a message's fields by their keys."""
    return {key(field): field for field in message.fields}


@cache
def second_spellings(message: DescMessage) -> Mapping[str, str]:
    """Return the camelCase keys that a message is read with too, each with the key that it stands for.

    The known front end writes both in the options of charts.
    """
    if message.file is not XKey.desc().file:
        return {}
    return {field.json_name: key(field) for field in message.fields if field.json_name != key(field)}


@cache
def words(enum: DescEnum) -> Mapping[int, str]:
    """Return the words of an enum by their numbers, without the unspecified one."""
    spelling = _SPELLINGS.get(enum.name, str.lower)
    return {value.number: spelling(value.local_name) for value in enum.values if value.number}


@cache
def rules(field: DescField) -> FieldRules | None:
    """Return the rules that the .proto declares for a field."""
    options = field.proto.options
    return options[ext_field] if options is not None and ext_field in options else None


@cache
def allowed_words(field: DescField) -> Mapping[int, str]:
    """Return the words that a field of an enum, or a list of it, may hold."""
    value = field.value
    enum = value.element if isinstance(value, DescFieldValueList) else getattr(value, "enum", None)
    every = words(enum)  # pyright: ignore[reportArgumentType] # the caller knows it is an enum
    rule = rules(field)
    if rule is None or rule.type is None or rule.type.field != "enum" or not rule.type.value.in_:
        return every
    return {number: every[number] for number in rule.type.value.in_}


@cache
def mandatory(message: DescMessage) -> frozenset[str]:
    """Return the keys that a message's JSON must have."""
    return frozenset(key(field) for field in message.fields if _is_mandatory(field))


def has_presence(field: DescField) -> bool:
    """Tell whether a field that isn't a list may be absent."""
    return field.presence != _IMPLICIT


def _is_mandatory(field: DescField) -> bool:
    match field.value:
        case DescFieldValueScalar() | DescFieldValueEnum():
            return not has_presence(field)
        case DescFieldValueMessage():
            rule = rules(field)
            return rule is not None and rule.required
        case _:
            return False
