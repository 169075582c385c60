"""Page tokens: where the next page begins, bound to the list they came from.

A token says nothing its holder has not seen, the last item's sort value and id, and gives no right:
project and permission always come from the call's own headers. So it needs no secret: with a made-up
one, the page only begins somewhere else.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, urlsafe_b64encode
from typing import Any

from dashkeeper.errors import InvalidRequestError, Violation

MAX_PAGE_BYTES = 3_670_016 - 4_096
"""What the items of a page take at most: 3.5 MiB less the longest token."""

NEWEST = 2**63 - 1
"""Above every number in a history: a list that gives the newest first begins here."""

_MAX_INTEGER = 2**63 - 1


def encode_page_token(list_identity: object, value: str | int, item_id: str) -> str:
    """Return the token of the page after the item with this sort value and id.

    Args:
        list_identity: Project, method, filters and order, as JSON can have it.
        value: The item's value in the sort column.
        item_id: The item's id.
    """
    content = json.dumps([_digest(list_identity), value, item_id], ensure_ascii=False, separators=(",", ":"))
    return urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode_page_token(
    token: str, list_identity: object, value_type: type[str | int]
) -> tuple[str | int, str]:
    """Return the sort value and id that a token holds.

    Raises:
        InvalidRequestError: If it isn't a token of this very list.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        content: Any = json.loads(b64decode(padded, altchars=b"-_", validate=True))
        digest, value, item_id = content
        if digest != _digest(list_identity):
            raise _invalid("belongs to another list: repeat the filters and the order that it came with")
        if type(value) is not value_type or not isinstance(item_id, str):
            raise ValueError("wrong types")
        for text in (value, item_id):
            if isinstance(text, str) and b"\0" in text.encode():  # which refuses lone surrogates
                raise ValueError("a zero character")
        if isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise ValueError("out of range")
    except (ValueError, TypeError, RecursionError) as error:
        raise _invalid(
            "is not a page token: send next_page_token as it came, or none to begin anew"
        ) from error
    return value, item_id


def _digest(list_identity: object) -> str:
    text = json.dumps(list_identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _invalid(description: str) -> InvalidRequestError:
    return InvalidRequestError.of([Violation(("page_token",), description)], reason="INVALID_PAGE_TOKEN")
