"""Where in a request something stands: as steps within the server, as text only for who reads it."""

from __future__ import annotations

import json
import re
from typing import TypeAlias

_MAX_KEY_LENGTH = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Key(str):
    """The key of a map's entry; a step that is a plain string is the name of a field."""

    __slots__ = ()


Path: TypeAlias = tuple[str | int, ...]
"""The steps from a request to a part of it: names of fields, indices of lists, keys of maps."""


def written(path: Path) -> str:
    """Write a path as `tiles[3].position.w`, `labels["team"]`, or `options["a b"]` for an odd name."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, Key) or len(step) > _MAX_KEY_LENGTH or not _NAME.fullmatch(step):
            text += f"[{_quoted(step[:_MAX_KEY_LENGTH])}]"
        else:
            text += f".{step}" if text else step
    return text


def _quoted(key: str) -> str:
    """Quote a key. One with lone surrogates, which UTF-8 can't hold, is written with escapes."""
    return json.dumps(key, ensure_ascii=any("\ud800" <= char <= "\udfff" for char in key))
