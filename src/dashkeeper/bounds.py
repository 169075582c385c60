"""How much a body would unfold to, found out before messages are made of it.

Four MiB can hold two million empty tiles, which decode to 400 MB of objects in 1.5 s. Such a body is
refused here at the cost of a few milliseconds; one too small to be such costs next to nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, cast

from protobuf import DescFieldValueList, DescFieldValueMap, DescFieldValueMessage, DescMessage

from dashkeeper.errors import InvalidRequestError, ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ITEMS = 20_000
"""The most items that a request's repeated fields hold together."""

_MAX_PARTS = 5 * MAX_ITEMS
"""The most fields, set or unknown, that a request holds altogether."""

_MAX_FIELDS = 100
"""More than any message has."""

MAX_DEPTH = 90
"""The deepest that a JSON body nests objects and arrays."""

_HARMLESS_BYTES = 2 * MAX_ITEMS  # an item takes two bytes at least

JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string in a JSON text: what stands between strings is structure, numbers, words and white space."""

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_json(body: bytes) -> int:
    """Refuse a JSON text that could do harm if it was parsed. Return the most values that it can hold.

    Raises:
        InvalidRequestError: If it holds too much, and nests deeper than 90.
        ResourceExhaustedError: If it holds too much.
    """
    values = _marks(body)
    if values > _MAX_PARTS:
        structure = JSON_STRING.sub(b"", body)
        values = _marks(structure)
        if values > _MAX_PARTS:
            raise too_deep() if is_deeper(structure[:_MAX_PARTS], MAX_DEPTH) else _too_many()
    return values


def check_items(value: object, values: int) -> None:
    """Refuse a JSON value that holds too many items.

    Args:
        value: The value.
        values: What `check_json` returned for its text.

    Raises:
        ResourceExhaustedError: If it holds more than 20,000 items.
    """
    if values <= MAX_ITEMS:
        return
    items = 0
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            items += len(cast("list[object]", part))
            pending += cast("list[object]", part)
        elif isinstance(part, dict):
            members = cast("dict[str, object]", part).values()
            items += len(members) if len(members) > _MAX_FIELDS else 0  # an object with more is a map
            pending += members
        if items > MAX_ITEMS:
            raise _too_many()


def count_values(text: bytes) -> int:
    """Return the most values that a JSON text can hold: a comma or a bracket stands before each."""
    return _marks(JSON_STRING.sub(b"", text))


def is_deeper(text: bytes, most: int) -> bool:
    """Tell whether the brackets of a JSON text nest deeper than this."""
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    depth = 0
    for bracket in JSON_STRING.sub(b"", text).translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > most:
                return True
        else:
            depth -= 1
    return False


def too_deep() -> InvalidRequestError:
    """Make the error of a JSON text that nests too deep."""
    return InvalidRequestError(f"the body nests deeper than {MAX_DEPTH}", reason="TOO_DEEP")


def check_binary(body: bytes, message: DescMessage) -> None:
    """Refuse a binary message that holds too many items or unknown fields.

    A malformed one is left to the decoder, which names what is wrong.

    Raises:
        ResourceExhaustedError: If it holds more than 20,000 items.
    """
    if len(body) <= _HARMLESS_BYTES:
        return
    items = parts = 0
    pending = [(0, len(body), message)]
    while pending:
        position, end, message = pending.pop()
        repeated, nested = _repeated_fields(message), _nested_messages(message)
        while position < end:
            parts += 1
            tag, position = _varint(body, position, end)
            number, wire_type = tag >> 3, tag & 7
            if number in repeated:
                items += 1
            if items > MAX_ITEMS or parts > _MAX_PARTS:
                raise _too_many()
            if wire_type == 0:
                _, position = _varint(body, position, end)
            elif wire_type == 1:
                position += 8
            elif wire_type == 5:
                position += 4
            elif wire_type == 2:
                length, position = _varint(body, position, end)
                if (inner := nested.get(number)) is not None:
                    pending.append((position, min(position + length, end), inner))
                position += length


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            return value, end  # malformed
    return value, position


@cache
def _repeated_fields(message: DescMessage) -> frozenset[int]:
    return frozenset(
        field.number
        for field in message.fields
        if isinstance(field.value, DescFieldValueList | DescFieldValueMap)
    )


@cache
def _nested_messages(message: DescMessage) -> Mapping[int, DescMessage]:
    nested: dict[int, DescMessage] = {}
    for field in message.fields:
        if isinstance(field.value, DescFieldValueMessage):
            nested[field.number] = field.value.message
        elif isinstance(field.value, DescFieldValueList) and isinstance(field.value.element, DescMessage):
            nested[field.number] = field.value.element
    return nested


def _too_many() -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"the request holds more than {MAX_ITEMS} items: send fewer", reason="TOO_MANY_ITEMS"
    )
