"""How much a body would unfold to, found out on its raw bytes, before anything is decoded.

Four MiB can hold two million empty tiles, which decode to 400 MB of objects in 1.5 s, and the JSON
decoder of protobuf-py 0.7 ends the process with a segmentation fault at some 20,000 nested
brackets. Both are refused here at the cost of a few milliseconds; a body too small to be either
costs next to nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

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
_HARMLESS_BRACKETS = 1_000  # no decoder is in danger below this depth

_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))


def check_json(body: bytes) -> None:
    """Refuse a JSON text that nests too deep or holds too many items.

    One too small to do harm is left to the decoder, which knows how deep the message goes.

    Raises:
        InvalidRequestError: If it nests deeper than 90.
        ResourceExhaustedError: If it holds more than 20,000 items.
    """
    small = len(body) <= _HARMLESS_BYTES
    if small and body.count(b"[") + body.count(b"{") <= _HARMLESS_BRACKETS:
        return
    # For each open bracket: the values it holds so far.
    counts: list[int] = []
    is_array: list[bool] = []
    items = parts = 0
    for char in _JSON_STRING.sub(b"", body).translate(None, _NOT_STRUCTURE):
        if char in b"]}":
            if not counts:
                return  # malformed: the decoder says so at once
            counts.pop()
            is_array.pop()
            continue
        if char in b"[{":
            counts.append(0)
            is_array.append(char == ord("["))
            if len(counts) > MAX_DEPTH:
                raise InvalidRequestError(f"the body nests deeper than {MAX_DEPTH}", reason="TOO_DEEP")
        # A comma stands before each value but the first, which its bracket stands for.
        parts += 1
        if counts:
            counts[-1] += 1
            if is_array[-1] or counts[-1] > _MAX_FIELDS:  # an object with more is a map
                items += 1
        if items > MAX_ITEMS or parts > _MAX_PARTS:
            raise _too_many()


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
