"""What is wrong with a message's JSON (ProtoJSON) that its decoder doesn't say, or not where.

The decoder takes the last of what is said twice, stops at the first problem, and names the message
type instead of the path.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from protobuf import (
    DescEnum,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    ScalarType,
)

from dashkeeper import strict_json
from dashkeeper.bounds import MAX_DEPTH
from dashkeeper.descriptors import message_of, messages_within
from dashkeeper.errors import MAX_VIOLATIONS, Violation
from dashkeeper.paths import Key
from dashkeeper.strict_json import SAID_TWICE, Ambiguous, StrictJSONError, Verbatim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from protobuf import DescField

    from dashkeeper.paths import Path

_WELL_KNOWN = "google.protobuf."
_WELL_KNOWN_KINDS = {
    "google.protobuf.Timestamp": 'a time such as "2026-01-15T10:00:00Z"',
    "google.protobuf.Duration": 'a number of seconds such as "3600s"',
    "google.protobuf.FieldMask": 'names of fields, separated by commas, such as "name,labels"',
}
_SCALAR_KINDS = {
    ScalarType.STRING: "a string",
    ScalarType.BOOL: "true or false",
    ScalarType.INT32: "a whole number of 32 bits",
    ScalarType.INT64: "a whole number of 64 bits",
}


def says_twice(value: Any, message: DescMessage) -> bool:
    """Tell whether a JSON value without equal keys says a field, or two of a oneof, in two ways.

    A null beside another member of a oneof says nothing, as anywhere in ProtoJSON. Whatever else is
    wrong is left to the decoder.
    """
    if not isinstance(value, dict):
        return False
    keys = _ambiguous_keys(message)
    said: list[int | str] = []
    for name, member in cast("dict[str, Any]", value).items():
        if (key := keys.get(name)) is None:
            continue
        number, oneof, inner = key
        said.append(number)
        if oneof and member is not None:
            said.append(oneof)
        if inner is not None:
            items = cast("list[Any]", member) if isinstance(member, list) else (member,)
            if any(says_twice(item, inner) for item in items):
                return True
    return len(said) != len(set(said))


def problems(body: bytes, message: DescMessage) -> list[Violation]:
    """Return all that a JSON text says twice, and every key, enum word and value that the message can't have.

    A text that isn't JSON, or nests deeper than 90, has none.
    """
    try:
        value, _ = strict_json.parse_marked(body, max_depth=MAX_DEPTH)
    except StrictJSONError:
        return []
    return list(islice(_walk_message(value, message, ()), MAX_VIOLATIONS))


def shown(text: str, length: int = 100) -> str:
    """Return a piece of the request that can be shown: not too long, and without lone surrogates."""
    return text[:length].encode(errors="replace").decode()


@cache
def _fields(message: DescMessage) -> Mapping[str, DescField]:
    """Return a message's fields by the keys that they may have in JSON."""
    return {name: field for field in message.fields for name in (field.json_name, field.name)}


def _oneof(field: DescField) -> str:
    """Return the name of the oneof that a field is in, or nothing."""
    oneof = getattr(field.value, "oneof", None)
    return oneof.name if oneof is not None else ""


@cache
def _ambiguous_keys(message: DescMessage) -> Mapping[str, tuple[int, str, DescMessage | None]]:
    """Return those keys of a message's JSON by which it, or a message in it, may say something twice.

    Each with the field's number, its oneof, and the message within which to look on.
    """
    keys: dict[str, tuple[int, str, DescMessage | None]] = {}
    for name, field in _fields(message).items():
        inner = message_of(field)
        if inner is not None and not any(map(_is_ambiguous, messages_within(inner))):
            inner = None
        if inner is not None or field.json_name != field.name or _oneof(field):
            keys[name] = field.number, _oneof(field), inner
    return keys


def _is_ambiguous(message: DescMessage) -> bool:
    return not message.type_name.startswith(_WELL_KNOWN) and any(
        field.json_name != field.name or _oneof(field) for field in message.fields
    )


def _walk_message(value: Any, message: DescMessage, path: Path) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield Violation(path, "must be an object")
        return
    fields = _fields(message)
    first_of: dict[DescField | str, str] = {}
    for key, inner in cast("dict[str, Any]", value).items():
        if (field := fields.get(key)) is None:
            yield Violation((*path, key), f"is not a field of {message.type_name}")
            continue
        inner_path = (*path, field.name)
        oneof = _oneof(field)
        if isinstance(value, Ambiguous) and key in value.repeated:
            yield Violation(inner_path, SAID_TWICE)
        elif (first := first_of.setdefault(field, key)) != key:
            yield Violation(inner_path, f"{SAID_TWICE}: as {first} and as {key}")
        elif oneof and inner is not None and (first := first_of.setdefault(oneof, field.name)) != field.name:
            yield Violation(inner_path, f"must not stand beside {first}: leave one of them out")
        if inner is not None:
            yield from _walk_field(inner, field, inner_path)


def _walk_field(value: Any, field: DescField, path: Path) -> Iterator[Violation]:
    match field.value:
        case DescFieldValueMessage(message=message) if not message.type_name.startswith(_WELL_KNOWN):
            yield from _walk_message(value, message, path)
        case DescFieldValueEnum(enum=enum):
            yield from _walk_enum(value, enum, path)
        case DescFieldValueList(element=element):
            if not isinstance(value, list):
                yield Violation(path, "must be an array")
                return
            for index, item in enumerate(cast("list[Any]", value)):
                if isinstance(element, DescMessage):
                    yield from _walk_message(item, element, (*path, index))
                elif isinstance(element, DescEnum):
                    yield from _walk_enum(item, element, (*path, index))
                elif not isinstance(item, str):  # of scalars, messages repeat strings alone
                    yield Violation((*path, index), "must be a string")
        case DescFieldValueMap():
            if not isinstance(value, dict):
                yield Violation(path, "must be an object")
                return
            for key, item in cast("dict[str, Any]", value).items():
                if isinstance(value, Ambiguous) and key in value.repeated:
                    yield Violation((*path, Key(key)), SAID_TWICE)
                if not isinstance(item, str):  # of maps, messages have those of strings alone
                    yield Violation((*path, Key(key)), "must be a string")
        case _:
            if not _decodes(value, field):
                yield Violation(path, f"must be {_kind(field)}")


def _walk_enum(value: Any, enum: DescEnum, path: Path) -> Iterator[Violation]:
    words = [known.name for known in enum.values]
    if isinstance(value, str):
        if value not in words:
            yield Violation(path, f'"{shown(value)}" is not one of {", ".join(words[1:])}')
    elif not _is_integer_of_32_bits(value):
        yield Violation(path, f"must be one of {', '.join(words[1:])}")


def _is_integer_of_32_bits(value: Any) -> bool:
    return (
        isinstance(value, Verbatim)
        and value.text.lstrip("-").isdigit()
        and len(value.text) < 12
        and -(2**31) <= int(value.text) < 2**31
    )


def _decodes(value: Any, field: DescField) -> bool:
    """Tell whether the decoder takes a value for a field: it is the judge, asked about this one alone."""
    try:
        field.parent.type.from_json(strict_json.dump({field.json_name: value}))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True


def _kind(field: DescField) -> str:
    """Say in words what the values of a field look like in JSON."""
    match field.value:
        case DescFieldValueMessage(message=message):
            return _WELL_KNOWN_KINDS.get(message.type_name, "a valid value")
        case DescFieldValueScalar(scalar=scalar):
            return _SCALAR_KINDS.get(scalar, "a valid value")
        case _:
            return "a valid value"
