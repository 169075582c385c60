"""One order for every map: by key.

A map of protobuf has no order, and protobuf-py writes one as it was filled, in binary form from its end:
what is read and written again would come out otherwise each time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from protobuf import DescFieldValueMap

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
    _sort([message], message.desc(), is_backwards=for_binary and _IS_WRITTEN_BACKWARDS)


def _sort(messages: Sequence[Any], kind: DescMessage, *, is_backwards: bool) -> None:
    maps, nested = _where_maps_are(kind)
    for name in maps:
        for message in messages:
            keys = list(getattr(message, name))
            if len(keys) > 1 and keys != (ordered := sorted(keys, reverse=is_backwards)):
                entries = getattr(message, name)
                setattr(message, name, {key: entries[key] for key in ordered})
    for field, inner in nested:
        for message in messages:
            if field in message:
                held: Any = message[field]
                inners = cast("list[Any]", held) if isinstance(held, list) else [held]
                _sort(inners, inner, is_backwards=is_backwards)


@cache
def _where_maps_are(message: DescMessage) -> tuple[Sequence[str], Sequence[tuple[DescField, DescMessage]]]:
    """Return the names of a message's maps, and the fields whose messages may hold some."""
    maps = [field.local_name for field in message.fields if isinstance(field.value, DescFieldValueMap)]
    nested = [(field, inner) for field in message.fields if (inner := message_of(field)) is not None]
    return maps, [(field, inner) for field, inner in nested if may_hold_maps(inner)]


def may_hold_maps(message: DescMessage) -> bool:
    """Tell whether a message has a map, or holds one that has, however deep."""
    return any(
        isinstance(field.value, DescFieldValueMap)
        for inner in messages_within(message)
        for field in inner.fields
    )
