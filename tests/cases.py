"""What tables of broken requests are made of."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

Request = dict[str, Any]


class Case(NamedTuple):
    """A request to one RPC, and the paths that must be reported for it, and no others."""

    id: str
    method: str
    request: Request
    fields: frozenset[str] = frozenset()


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""Stands for a value that is to be taken out."""

_STEP = re.compile(r'\.?(?P<name>\w+)|\[(?P<index>\d+)\]|\[(?P<key>".*")\]')


def altered(request: Request, changes: dict[str, Any]) -> Request:
    """Return a request in ProtoJSON with other values at some places, written as violations name them."""
    # Not copy.deepcopy, to which the parts that stand there twice would be one.
    request = json.loads(json.dumps(request))
    for path, value in changes.items():
        *parents, last = _steps(path)
        at: Any = request
        for step in parents:
            at = at[step]
        if value is ABSENT:
            del at[last]
        else:
            at[last] = value
    return request


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for step in _STEP.finditer(path):
        if step["name"]:
            steps.append(re.sub(r"_(\w)", lambda letter: letter[1].upper(), step["name"]))
        else:
            steps.append(int(step["index"]) if step["index"] else json.loads(step["key"]))
    return steps


def name_of(value: object) -> str:
    """Return a test's name for a value."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 160 else f"{text[:60]}...{len(text)}"
