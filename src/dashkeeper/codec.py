"""From bytes to messages and back: the only place that decodes a request.

Stricter than the libraries' codecs: JSON that says something twice, and keys, enum words and values
that a message can't have, are errors with their paths, all at once, and what a body would unfold to is
bounded first. What is encoded has its maps in one order.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeVar

import jiter
from protobuf import DescFieldValueMessage, DescMessage, Message

from dashkeeper.bounds import MAX_DEPTH, check_binary, check_items, check_json, is_deeper, too_deep
from dashkeeper.errors import InvalidRequestError, ResourceExhaustedError
from dashkeeper.maps import sort_maps
from dashkeeper.proto_json import problems, says_twice, shown

M = TypeVar("M", bound=Message)
Encoding = Literal["proto", "json"]

_MAX_REASON_LENGTH = 200
_MAX_MASKED_BYTES = 256 * 1024
"""Of a JSON text with a FieldMask in it, which a comma a path can make unfold to millions."""


def decode(body: bytes, encoding: Encoding, message: type[M], *, max_bytes: int) -> M:
    """Decode a request's body.

    Raises:
        ResourceExhaustedError: If it is larger than max_bytes, or holds too many items.
        InvalidRequestError: If it is malformed, nests too deep, or (JSON) says something twice, or
            has keys, enum words or values that the message can't have.
    """
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    if encoding == "proto":
        check_binary(body, message.desc())
        try:
            return message.from_binary(body)
        except (ValueError, RecursionError) as error:
            raise _malformed(message.desc(), "in binary form", error) from error
    body = body or b"{}"
    values = check_json(body)
    if len(body) > _MAX_MASKED_BYTES and _has_mask(message.desc()):
        raise too_large(_MAX_MASKED_BYTES)
    try:
        # The message's own decoder takes the last of what is said twice, and at some 20,000 nested
        # brackets ends the process: jiter refuses equal keys, and more than 200 brackets.
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="none")
        check_items(value, values)
        if says_twice(value, message.desc()):
            raise ValueError("something stands in it twice")
        return message.from_json(body)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if is_deeper(body, MAX_DEPTH):
            raise too_deep() from error
        if found := problems(body, message.desc()):
            raise InvalidRequestError.of(found) from error
        raise _malformed(message.desc(), "as JSON", error) from error


def encode(message: Message, encoding: Encoding) -> bytes:
    """Encode an answer, which may put the entries of its maps into another order."""
    sort_maps(message, for_binary=encoding == "proto")
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
        f"the body is not a {message.type_name} {form}: {shown(str(error), _MAX_REASON_LENGTH)}",
        reason="MALFORMED_REQUEST",
    )
