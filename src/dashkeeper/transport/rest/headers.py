"""What a REST call says in its headers: conditions (RFC 9110 §13.1), why, and under which key."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from dashkeeper.errors import Violation
from dashkeeper.transport.rest.paths import InOwnTermsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import Headers

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SEPARATOR = re.compile(r"[ \t]*,[ \t,]*")
_OWN_TAG = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PERCENT_ENCODED = re.compile(r"(?:[\x20-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")


class Tags(NamedTuple):
    """The tags of an If-Match or If-None-Match."""

    any: bool
    """It is `*`."""
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    @property
    def own(self) -> Sequence[str]:
        """Those that can be an etag of ours. A weak one never meets If-Match (RFC 9110 §8.8.3.2)."""
        return [tag for tag in self.strong if _OWN_TAG.fullmatch(tag)]


def tags(headers: Headers, name: str) -> Tags | None:
    """Return the tags in a header, None if it isn't there.

    Raises:
        InOwnTermsError: If it is malformed.
    """
    values = headers.getlist(name)
    if not values:
        return None
    text = ", ".join(values).strip(" \t")
    if text == "*":
        return Tags(any=True)
    strong: list[str] = []
    weak: list[str] = []
    position, end = 0, len(text)
    while position < end:
        found = _ENTITY_TAG.match(text, position)
        if found is None:
            raise _malformed(name)
        (weak if found[1] else strong).append(found[2])
        position = found.end()
        if position < end:
            separator = _SEPARATOR.match(text, position)
            if separator is None:
                raise _malformed(name)
            position = separator.end()
    if not strong and not weak:
        raise _malformed(name)
    return Tags(any=False, strong=tuple(strong), weak=tuple(weak))


def change_message(headers: Headers) -> str:
    """Return what X-Change-Message says: percent-encoded UTF-8.

    Raises:
        InOwnTermsError: If it is malformed.
    """
    values = headers.getlist("x-change-message")
    try:
        if len(values) > 1 or not _PERCENT_ENCODED.fullmatch("".join(values)):
            raise ValueError("not percent-encoded")
        return unquote_to_bytes("".join(values)).decode()
    except ValueError as error:
        raise _invalid("X-Change-Message", "must be sent once, as percent-encoded UTF-8") from error


def request_id(headers: Headers) -> str:
    """Return the UUID in Idempotency-Key, bare or in double quotes; empty if there is none.

    Raises:
        InOwnTermsError: If it isn't one.
    """
    values = headers.getlist("idempotency-key")
    if not values:
        return ""
    text = values[0]
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    try:
        if len(values) > 1 or len(text) != 36:
            raise ValueError("not a UUID")
        return str(uuid.UUID(text))
    except ValueError as error:
        raise _invalid("Idempotency-Key", "must be sent once, and be a UUID") from error


def _malformed(name: str) -> InOwnTermsError:
    return _invalid(name, 'must be * or a list of entity tags such as "abc"')


def _invalid(name: str, description: str) -> InOwnTermsError:
    return InOwnTermsError.of([Violation((name,), description)])
