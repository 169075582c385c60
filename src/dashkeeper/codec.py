"""From bytes to messages and back: the only place that decodes a request.

Stricter than the libraries' codecs: unknown JSON keys and enum words are errors with their paths,
and what a body would unfold to is bounded first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from protobuf import (
    DescEnum,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescMessage,
    Message,
    ScalarType,
)

from dashkeeper.bounds import check_binary, check_json
from dashkeeper.errors import MAX_VIOLATIONS, InvalidRequestError, ResourceExhaustedError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protobuf import DescFieldValue

M = TypeVar("M", bound=Message)
Encoding = Literal["proto", "json"]

_WELL_KNOWN = "google.protobuf."
_MAX_REASON_LENGTH = 200


def decode(body: bytes, encoding: Encoding, message: type[M], *, max_bytes: int) -> M:
    """Decode a request's body.

    Raises:
        ResourceExhaustedError: If it is larger than max_bytes, or holds too many items.
        InvalidRequestError: If it is malformed, nests too deep, or (JSON) has keys or enum words
            that the message doesn't know.
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
    try:
        return message.from_json(body or b"{}")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if unknown := _unknown_parts(body, message.desc()):
            raise InvalidRequestError.of(unknown) from error
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


def _malformed(message: DescMessage, form: str, error: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f"the body is not a {message.type_name} {form}: {_shown(str(error), _MAX_REASON_LENGTH)}",
        reason="MALFORMED_REQUEST",
    )


def _shown(text: str, length: int = 100) -> str:
    """Return a piece of the request that can be shown: not too long, and without lone surrogates."""
    return text[:length].encode(errors="replace").decode()


def _unknown_parts(body: bytes, message: DescMessage) -> list[Violation]:
    """Return every key and enum word of a JSON text that the message doesn't know.

    The decoder stops at the first, and names the message type instead of the path.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    violations: list[Violation] = []
    for violation in _walk_message(value, message, ""):
        violations.append(violation)
        if len(violations) == MAX_VIOLATIONS:
            break
    return violations


def _walk_message(value: Any, message: DescMessage, path: str) -> Iterator[Violation]:
    if not isinstance(value, dict) or message.type_name.startswith(_WELL_KNOWN):
        return
    fields = {name: field for field in message.fields for name in (field.json_name, field.name)}
    for key, inner in cast("dict[str, Any]", value).items():
        inner_path = f"{path}.{_shown(key)}" if path else _shown(key)
        if (field := fields.get(key)) is None:
            yield Violation(inner_path, f"is not a field of {message.type_name}")
        else:
            yield from _walk_field(inner, field.value, f"{path}.{field.name}" if path else field.name)


def _walk_field(value: Any, field: DescFieldValue, path: str) -> Iterator[Violation]:
    match field:
        case DescFieldValueMessage():
            yield from _walk_message(value, field.message, path)
        case DescFieldValueEnum():
            yield from _walk_element(value, field.enum, path)
        case DescFieldValueList():
            items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
            for index, item in enumerate(items):
                yield from _walk_element(item, field.element, f"{path}[{index}]")
        case DescFieldValueMap():
            entries: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
            for key, item in entries.items():
                yield from _walk_element(item, field.value, f"{path}[{json.dumps(_shown(key))}]")
        case _:
            return


def _walk_element(value: Any, element: DescMessage | DescEnum | ScalarType, path: str) -> Iterator[Violation]:
    if isinstance(element, DescMessage):
        yield from _walk_message(value, element, path)
    elif isinstance(element, DescEnum) and isinstance(value, str):
        words = [known.name for known in element.values]
        if value not in words:
            yield Violation(path, f'"{_shown(value)}" is not one of {", ".join(words[1:])}')
