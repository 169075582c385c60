"""What headers say of a body: its type and its coding, in whatever case (RFC 9110 §8.3.1, §8.4.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.datastructures import Headers

_REFUSES = re.compile(r"q=0(?:\.0{0,3})?")


def media_type(headers: Headers) -> str:
    """Return the content type without its parameters; empty if they name another charset than UTF-8."""
    text = ", ".join(headers.getlist("content-type")).lower()
    found, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
            return ""
    return found


def coding(headers: Headers, name: str) -> str:
    """Return the coding that a header names; `identity` where there is none."""
    text = ",".join(headers.getlist(name)).strip(" \t,").lower()
    return {"": "identity", "x-gzip": "gzip"}.get(text, text)


def takes_gzip(headers: Headers, name: str) -> bool:
    """Tell whether a header of accepted codings (RFC 9110 §12.5.3) names gzip."""
    for member in ",".join(headers.getlist(name)).lower().split(","):
        found, *parameters = (part.strip() for part in member.split(";"))
        if found in {"gzip", "x-gzip"}:
            return not any(_REFUSES.fullmatch(parameter) for parameter in parameters)
    return False
