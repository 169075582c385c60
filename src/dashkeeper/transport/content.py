"""What headers say of a body: its type and its coding, in whatever case (RFC 9110 §8.3.1, §8.4.1).

Each function takes a header's values as RFC 9110 §5.3 joins those of several lines: by commas.
"""

from __future__ import annotations

import re

_REFUSES = re.compile(r"q=0(?:\.0{0,3})?")


def media_type(content_type: str) -> str:
    """Return the content type without its parameters; empty if they name another charset than UTF-8."""
    found, _, parameters = content_type.lower().partition(";")
    if parameters:
        for parameter in parameters.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
                return ""
    return found.strip()


def coding(encoding: str) -> str:
    """Return the coding that a header names; `identity` where there is none."""
    text = encoding.strip(" \t,").lower()
    return {"": "identity", "x-gzip": "gzip"}.get(text, text)


def takes_gzip(accepted: str) -> bool:
    """Tell whether a header of accepted codings (RFC 9110 §12.5.3) names gzip."""
    for member in accepted.lower().split(","):
        found, _, parameters = member.partition(";")
        if found.strip() in {"gzip", "x-gzip"}:
            return not any(_REFUSES.fullmatch(parameter.strip()) for parameter in parameters.split(";"))
    return False
