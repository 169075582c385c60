"""One order for every map: by key.

A map of protobuf has no order, and protobuf-py writes one as it was filled, in binary form from its end:
what is read and written again would come out otherwise each time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from protobuf import DescFieldValueList, DescFieldValueMap

from dashkeeper.descriptors import message_of, messages_within
from dashkeeper.gen.google.rpc.error_details_pb import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protobuf import DescField, DescMessage, Message

_IS_WRITTEN_BACKWARDS = ErrorInfo(metadata={"a": "", "b": ""}).to_binary() > (
    ErrorInfo(metadata={"b": "", "a": ""}).to_binary()
)


def sort_maps(message: Message, *, for_binary: bool = False) -> None:
    """Put the entries of every map in a message, however deep, into the order of their keys.

    Args:
        message: What is changed.
        for_binary: Sort so that the entries stand in this order where the message is serialised.
    """
    _sort(message, is_backwards=for_binary and _IS_WRITTEN_BACKWARDS)


def _sort(message: Message, *, is_backwards: bool) -> None:
    for field in _fields_with_maps(message.desc()):
        match field.value:
            case DescFieldValueMap():
                entries: dict[Any, Any] = getattr(message, field.local_name)
                if len(entries) > 1:
                    setattr(message, field.local_name, dict(sorted(entries.items(), reverse=is_backwards)))
            case DescFieldValueList():
                for inner in getattr(message, field.local_name):
                    _sort(inner, is_backwards=is_backwards)
            case _:
                if field in message:
                    _sort(message[field], is_backwards=is_backwards)


@cache
def _fields_with_maps(message: DescMessage) -> Sequence[DescField]:
    """Return the fields of a message that are maps, or messages that may hold some."""
    return [
        field
        for field in message.fields
        if isinstance(field.value, DescFieldValueMap)
        or ((inner := message_of(field)) is not None and may_hold_maps(inner))
    ]


def may_hold_maps(message: DescMessage) -> bool:
    """Tell whether a message has a map, or holds one that has, however deep."""
    return any(
        isinstance(field.value, DescFieldValueMap)
        for inner in messages_within(message)
        for field in inner.fields
    )
