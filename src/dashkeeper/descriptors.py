"""What descriptors say of a message's fields, and how a name in a request is compared with theirs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from protobuf import DescFieldValueList, DescFieldValueMessage, DescMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protobuf import DescField


def message_of(field: DescField) -> DescMessage | None:
    """Return the message that a field holds, one or a list of them."""
    match field.value:
        case DescFieldValueMessage(message=inner):
            return inner
        case DescFieldValueList(element=DescMessage() as inner):
            return inner
        case _:
            return None


@cache
def messages_within(message: DescMessage) -> Sequence[DescMessage]:
    """Return the message itself and all that it may hold, however deep, each once."""
    found = {message.type_name: message}
    pending = [message]
    while pending:
        for field in pending.pop().fields:
            inner = message_of(field)
            if inner is not None and inner.type_name not in found:
                found[inner.type_name] = inner
                pending.append(inner)
    return [*found.values()]


def folded(name: str) -> str:
    """Return a name without that in which two spellings of it may differ: case, `-` and `_`."""
    return name.casefold().replace("-", "").replace("_", "")
