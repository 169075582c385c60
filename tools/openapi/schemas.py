"""JSON schemas of the REST form, from the messages, their rules and their comments."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from protobuf import (
    DescEnum,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    ScalarType,
)
from protovalidate._gen.buf.validate.validate_pb import ext_predefined
from tools.openapi.comments import comment, field_comments

from dashkeeper.gen.registrations.v1.chart_pb import Chart
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.gen.registrations.v1.filter_pb import DimensionFilterList, QueryFragment
from dashkeeper.gen.registrations.v1.report_request_pb import DimensionFilter
from dashkeeper.gen.rules.v1.rules_pb import ext_visible
from dashkeeper.strict_json import MAX_INTEGER
from dashkeeper.transport.rest import dialect
from dashkeeper.transport.rest.paths import in_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from protobuf import DescField
    from protovalidate._gen.buf.validate.validate_pb import FieldRules

Schema = dict[str, Any]

_TIMESTAMP = "google.protobuf.Timestamp"
_MILLISECONDS = "in milliseconds since 1970"
_MAX_MILLISECONDS = 253_402_300_799_999  # the year 9999

_KEYWORDS: Mapping[str, str] = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "max_bytes": "maxLength",  # a character is a byte at least
    "pattern": "pattern",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
}
"""The keyword of JSON Schema for each rule of protovalidate that has one."""

_WITHOUT_REPETITION = frozenset({"scopes", "segment_ids", "builder_ids"})

_WRITTEN_IN_CODE: Mapping[str, Schema] = {
    "values_query.text": {"not": {"pattern": r"^[ \t\r\n]*[0-9]*[ \t\r\n]*$"}},
}
"""Rules that the .proto has as expressions."""


def message_schema(message: DescMessage) -> Schema:
    """Return the schema of a message."""
    properties = {key: field_schema(one) for key, one in dialect.fields(message).items()}
    spellings = dialect.second_spellings(message)
    properties |= {again: properties[key] for again, key in spellings.items()}
    schema = object_schema(properties, dialect.mandatory(message), description=described(message))
    if spellings:
        schema["not"] = {"anyOf": [{"required": [key, again]} for again, key in spellings.items()]}
    return schema


def components(roots: Collection[DescMessage]) -> dict[str, Schema]:
    """Return the schemas of messages and of all that they refer to, by their names."""
    found: dict[str, Schema] = {}
    pending = list(roots)
    while pending:
        message = pending.pop()
        if message.name in found or message.type_name == _TIMESTAMP:
            continue
        found[message.name] = _special(message) or message_schema(message)
        pending += _referred_to(message)
    return dict(sorted(found.items()))


def field_schema(field: DescField) -> Schema:
    """Return the schema of a member."""
    rule = dialect.rules(field)
    schema = _value_schema(field, rule)
    if "$ref" in schema:
        return schema  # what stands beside it would hide what the message says of itself
    text = comments(field.parent).get(field.name, "")
    if schema.get("description") == _MILLISECONDS:
        text = text.replace("in microseconds", _MILLISECONDS)
    return {**schema, **({"description": text} if text else {})}


def described(message: DescMessage) -> str:
    """Return what the .proto says of a message, in the words of the REST form."""
    return _in_words(comment(message))


@cache
def comments(message: DescMessage) -> Mapping[str, str]:
    """Return what the .proto says of each field of a message, in the words of the REST form."""
    return {name: _in_words(text) for name, text in field_comments(message).items()}


def _in_words(text: str) -> str:
    text = re.sub(r"`?(\b[A-Z]+(?:_[A-Z]+)+\b)`?", r"\1", text)  # the words are quoted themselves
    return " ".join(in_words(text).split())


def _value_schema(field: DescField, rule: FieldRules | None) -> Schema:
    value = field.value
    match value:
        case DescFieldValueMessage(message=message) if message.type_name == _TIMESTAMP:
            return {"type": "integer", "maximum": _MAX_MILLISECONDS, "description": _MILLISECONDS}
        case DescFieldValueMessage(message=message):
            return _message_or_text(message)
        case DescFieldValueEnum():
            return {"type": "string", "enum": list(dialect.allowed_words(field).values())}
        case DescFieldValueList(element=element):
            return {"type": "array", "items": _item_schema(field, element, rule), **_limits(field, rule)}
        case DescFieldValueScalar(scalar=scalar):
            if (field.parent.type_name, field.name) in dialect.NUMBER_OR_TEXT:
                text = {**_scalar_schema(scalar), **_limits(field, rule)}
                number = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
                return {"oneOf": [text, number]}
            return {**_scalar_schema(scalar), **_limits(field, rule)}
        case _:
            raise TypeError(f"{field.name} is of a kind that no message of the REST form has")


def _message_or_text(message: DescMessage) -> Schema:
    if message.type_name != dialect.X_KEY:
        return reference(message)
    text = dialect.fields(message)["key"]
    return {"oneOf": [_value_schema(text, dialect.rules(text)), reference(message)]}


def _item_schema(field: DescField, element: Any, rule: FieldRules | None) -> Schema:
    if isinstance(element, DescMessage):
        return reference(element)
    if isinstance(element, DescEnum):
        return {"type": "string", "enum": list(dialect.allowed_words(field).values())}
    kind: Any = rule.type.value if rule is not None and rule.type is not None else None
    return {**_scalar_schema(element), **_keywords(kind and kind.items)}


def _scalar_schema(scalar: ScalarType) -> Schema:
    match scalar:
        case ScalarType.STRING:
            return {"type": "string"}
        case ScalarType.BOOL:
            return {"type": "boolean"}
        case ScalarType.INT32:
            return {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
        case _:
            return {"type": "number"}


def _limits(field: DescField, rule: FieldRules | None) -> Schema:
    schema = _keywords(rule)
    if rule is not None:
        if rule.type is not None and rule.type.field == "string" and ext_visible in rule.type.value:
            schema["allOf"] = [{"pattern": _visible_pattern()}]
        for expression in rule.cel:
            written = _WRITTEN_IN_CODE.get(expression.id, {})
            schema |= {"allOf": [written]} if written.keys() & schema.keys() else written
        if rule.required and isinstance(field.value, DescFieldValueScalar):
            schema.setdefault("minLength", 1)
    if field.name in _WITHOUT_REPETITION:
        schema["uniqueItems"] = True
    return schema


def _visible_pattern() -> str:
    """Return the pattern in the expression of the rule: `!rule || this.matches('…')`.

    The characters beyond U+FFFF are left out: not every regular expression of JavaScript takes them.
    """
    options = ext_visible.desc().proto.options
    assert options is not None
    expression = options[ext_predefined].cel[0].expression
    pattern = expression.partition("'")[2].rpartition("'")[0].encode().decode("unicode_escape")
    return re.sub(r"[\U00010000-\U0010FFFF]-?", "", pattern)


def _keywords(rule: FieldRules | None) -> Schema:
    if rule is None or rule.type is None:
        return {}
    kind: Any = rule.type.value
    found: Schema = {}
    for name in ("min_len", "max_len", "max_bytes", "pattern", "min_items", "max_items"):
        if value := getattr(kind, name, None):
            found[_KEYWORDS[name]] = value
    for bound in (getattr(kind, "less_than", None), getattr(kind, "greater_than", None)):
        if bound is not None:
            found[_KEYWORDS[bound.field]] = bound.value
    if rule.type.field == "string" and kind.in_:
        found["enum"] = list(kind.in_)
    return found


def object_schema(properties: Schema, required: Collection[str], *, description: str = "") -> Schema:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": properties,
        **({"required": sorted(required)} if required else {}),
        "additionalProperties": False,
    }


def reference(message: DescMessage) -> Schema:
    """Return the schema that stands for a message's."""
    return {"$ref": f"#/components/schemas/{message.name}"}


def _referred_to(message: DescMessage) -> Iterator[DescMessage]:
    for field in message.fields:
        match field.value:
            case DescFieldValueMessage(message=inner):
                yield from _inlined(inner)
            case DescFieldValueList(element=DescMessage() as inner):
                yield from _inlined(inner)
            case _:
                pass


def _inlined(message: DescMessage) -> Iterator[DescMessage]:
    """Give a message that has a schema of its own; for one that stands in its parent, what it refers to."""
    if message.parent is None and message.type_name in _WITHOUT_SCHEMA:
        yield from _referred_to(message)
    else:
        yield message


def _special(message: DescMessage) -> Schema | None:
    match message.type_name:
        case dialect.DATASET:
            return _dataset()
        case dialect.CHART:
            return _chart()
        case dialect.QUERY_FRAGMENT:
            return _query_fragment()
        case _:
            return None


def _chart() -> Schema:
    """Return the schema of a chart: its options are those of its type."""
    desc = Chart.desc()
    own = {
        key: field_schema(one)
        for key, one in dialect.fields(desc).items()
        if key not in dialect.OPTIONS.values()
    }
    words = dialect.allowed_words(dialect.fields(desc)["type"])
    forms: list[Schema] = []
    for number, options in dialect.OPTIONS.items():
        one = dialect.fields(desc)[options]
        forms.append(
            object_schema(
                {**own, "type": {"const": words[number]}, "options": field_schema(one)},
                dialect.mandatory(desc),
            )
        )
    return {"description": described(desc), "oneOf": forms}


def _dataset() -> Schema:
    """Return the schema of a dataset: what it has is that of its type."""
    desc = Dataset.desc()
    title = {"series_title": field_schema(dialect.fields(desc)["series_title"])}
    forms: list[Schema] = []
    for node, word in dialect.NODE_TYPES.items():
        one = dialect.fields(desc)[node]
        assert isinstance(one.value, DescFieldValueMessage)
        inner = one.value.message
        own = {key: field_schema(member) for key, member in dialect.fields(inner).items()}
        forms.append(
            object_schema(
                {"type": {"const": word}, **title, **own},
                {"type", *dialect.mandatory(inner)},
                description=described(inner),
            )
        )
    other = {
        "type": "object",
        "description": "A data source that this API doesn't know, by any other name: it is kept as it is.",
        "properties": {
            "type": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "not": {"enum": list(dialect.NODE_TYPES.values())},
            },
            **title,
        },
        "required": ["type"],
        "not": {"required": ["sources"]},  # where `sources: false` would do, but generators fail on it
        "additionalProperties": True,
    }
    return {"description": described(desc), "oneOf": [*forms, other]}


def _query_fragment() -> Schema:
    """Return the schema of a query fragment: a text, or a list of filters."""
    desc = QueryFragment.desc()
    members = dialect.fields(desc)
    filters = dialect.fields(DimensionFilterList.desc())["filters"]
    text = _value_schema(members["text"], dialect.rules(members["text"]))
    many = {
        "type": "array",
        "items": reference(DimensionFilter.desc()),
        **_limits(filters, dialect.rules(filters)),
    }
    return object_schema(
        {
            "type": field_schema(members["type"]),
            "starting_object_type": field_schema(members["starting_object_type"]),
            "fragment": {"oneOf": [text, many]},
        },
        {"type", "fragment"},
        description=described(desc),
    )


_WITHOUT_SCHEMA = frozenset(
    {
        *(
            one.value.message.type_name
            for one in Dataset.desc().fields
            if isinstance(one.value, DescFieldValueMessage)
        ),
        DimensionFilterList.desc().type_name,
    }
)
"""Messages whose members stand in their parent's JSON."""
