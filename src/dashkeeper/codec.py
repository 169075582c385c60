"""From bytes to messages and back: the only place that decodes a request.

Stricter than the libraries' codecs: JSON keys, enum words and values that a message can't have are
errors with their paths, all at once, and what a body would unfold to is bounded first.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from protobuf import (
    DescEnum,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    Message,
    ScalarType,
)

from dashkeeper.bounds import check_binary, check_json
from dashkeeper.errors import MAX_VIOLATIONS, InvalidRequestError, ResourceExhaustedError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protobuf import DescField

M = TypeVar("M", bound=Message)
Encoding = Literal["proto", "json"]

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
_MAX_REASON_LENGTH = 200
_MAX_MASKED_BYTES = 256 * 1024
"""Of a JSON text with a FieldMask in it, which a comma a path can make unfold to millions."""


def decode(body: bytes, encoding: Encoding, message: type[M], *, max_bytes: int) -> M:
    """Decode a request's body.

    Raises:
        ResourceExhaustedError: If it is larger than max_bytes, or holds too many items.
        InvalidRequestError: If it is malformed, nests too deep, or (JSON) has keys, enum words or
            values that the message can't have.
    """
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    if encoding == "proto":
        check_binary(body, message.desc())
        try:
            return message.from_binary(body)
        except (ValueError, RecursionError) as error:
            raise _malformed(message.desc(), "in binary form", error) from error
    check_json(body)
    if len(body) > _MAX_MASKED_BYTES and _has_mask(message.desc()):
        raise too_large(_MAX_MASKED_BYTES)
    try:
        return message.from_json(body or b"{}")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if problems := _problems(body, message.desc()):
            raise InvalidRequestError.of(problems) from error
        raise _malformed(message.desc(), "as JSON", error) from error


def encode(message: Message, encoding: Encoding) -> bytes:
    """Encode an answer."""
    return message.to_binary() if encoding == "proto" else message.to_json().encode()


def too_large(max_bytes: int) -> ResourceExhaustedError:
    """Make the error of a request that is larger than allowed."""
    return ResourceExhaustedError(
        f"the request is larger than {max_bytes} bytes: send less",
        reason="REQUEST_TOO_LARGE",
        metadata={"max_bytes": str(max_bytes)},
    )


@cache
def _has_mask(message: DescMessage) -> bool:
    return any(
        isinstance(field.value, DescFieldValueMessage)
        and field.value.message.type_name == "google.protobuf.FieldMask"
        for field in message.fields
    )


def _malformed(message: DescMessage, form: str, error: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f"the body is not a {message.type_name} {form}: {_shown(str(error), _MAX_REASON_LENGTH)}",
        reason="MALFORMED_REQUEST",
    )


def _shown(text: str, length: int = 100) -> str:
    """Return a piece of the request that can be shown: not too long, and without lone surrogates."""
    return text[:length].encode(errors="replace").decode()


def _problems(body: bytes, message: DescMessage) -> list[Violation]:
    """Return every key, enum word and value of a JSON text that the message can't have.

    The decoder stops at the first, and names the message type instead of the path.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    return list(islice(_walk_message(value, message, ""), MAX_VIOLATIONS))


def _walk_message(value: Any, message: DescMessage, path: str) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield Violation(path, "must be an object")
        return
    fields = {name: field for field in message.fields for name in (field.json_name, field.name)}
    for key, inner in cast("dict[str, Any]", value).items():
        if (field := fields.get(key)) is None:
            inner_path = f"{path}.{_shown(key)}" if path else _shown(key)
            yield Violation(inner_path, f"is not a field of {message.type_name}")
        elif inner is not None:
            yield from _walk_field(inner, field, f"{path}.{field.name}" if path else field.name)


def _walk_field(value: Any, field: DescField, path: str) -> Iterator[Violation]:
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
                    yield from _walk_message(item, element, f"{path}[{index}]")
                elif isinstance(element, DescEnum):
                    yield from _walk_enum(item, element, f"{path}[{index}]")
                elif not isinstance(item, str):  # of scalars, messages repeat strings alone
                    yield Violation(f"{path}[{index}]", "must be a string")
        case DescFieldValueMap():
            if not isinstance(value, dict):
                yield Violation(path, "must be an object")
                return
            for key, item in cast("dict[str, Any]", value).items():
                if not isinstance(item, str):  # of maps, messages have those of strings alone
                    yield Violation(f"{path}[{json.dumps(_shown(key))}]", "must be a string")
        case _:
            if not _decodes(value, field):
                yield Violation(path, f"must be {_kind(field)}")


def _walk_enum(value: Any, enum: DescEnum, path: str) -> Iterator[Violation]:
    words = [known.name for known in enum.values]
    if isinstance(value, str):
        if value not in words:
            yield Violation(path, f'"{_shown(value)}" is not one of {", ".join(words[1:])}')
    elif not (isinstance(value, int) and -(2**31) <= value < 2**31) or isinstance(value, bool):
        yield Violation(path, f"must be one of {', '.join(words[1:])}")


def _decodes(value: Any, field: DescField) -> bool:
    """Tell whether the decoder takes a value for a field: it is the judge, asked about this one alone."""
    try:
        field.parent.type.from_json(json.dumps({field.json_name: value}))
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
