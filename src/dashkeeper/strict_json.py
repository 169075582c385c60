"""JSON that means one thing to every reader (RFC 8259 §4 and §6, RFC 7493), and nothing else.

The standard library's decoder takes the last of two equal keys, and takes NaN, infinities, lone
surrogates and integers that other readers round. Here each is a problem with its path.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from math import isinf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from dashkeeper.errors import MAX_VIOLATIONS, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INTEGER = 2**53 - 1
"""The largest integer, up and down, that every JSON reader reads exactly."""

STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string in a JSON text: what stands between strings is structure, numbers, words and white space."""

_MAX_KEY_LENGTH = 100

_NOT_BRACKET = re.compile(r"[^\[\]{}]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)

_Path: TypeAlias = "tuple[_Path, str | int] | None"


class StrictJSONError(ValueError):
    """A text that isn't JSON in the strict sense: `problems` holds each with its path."""

    def __init__(self, problems: list[Violation]) -> None:
        super().__init__("; ".join(f"{field}: {text}" if field else text for field, text in problems))
        self.problems = problems


class _Refused(NamedTuple):
    """Stands for a number that is refused, until its path is known."""

    description: str


class _Ambiguous(dict[str, Any]):
    """An object with equal keys, until its path is known."""

    repeated: tuple[str, ...] = ()


def parse(text: str | bytes, *, max_depth: int) -> Any:
    """Parse a JSON text.

    Its cost grows with the text alone; how large that may be is the caller's to bound.

    Raises:
        StrictJSONError: Naming all that is wrong (a hundred problems at most): a text that isn't
            UTF-8 or isn't JSON, one that nests deeper than max_depth, and in it equal keys, NaN,
            infinities, integers beyond ±(2^53-1), numbers beyond a double, lone surrogates, U+0000.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise _broken(f"is not UTF-8: {error.reason} at byte {error.start}") from error
    if text.startswith("\ufeff"):
        raise _broken("must not begin with a byte order mark")
    if _depth(text, max_depth) > max_depth:
        raise _broken(f"nests deeper than {max_depth}")
    marked = _UNSTORABLE.search(text) is not None or _UNSTORABLE_ESCAPE.search(text) is not None

    def refuse(description: str) -> _Refused:
        nonlocal marked
        marked = True
        return _Refused(description)

    def integer(digits: str) -> int | _Refused:
        # The length first: reading an integer costs the square of it.
        if len(digits) > 17 or abs(number := int(digits)) > MAX_INTEGER:
            return refuse(f"must be an integer from -{MAX_INTEGER} to {MAX_INTEGER}")
        return number

    def double(digits: str) -> float | _Refused:
        return refuse("is a number beyond a double") if isinf(number := float(digits)) else number

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal marked
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        marked = True
        result = _Ambiguous(pairs)
        seen: set[str] = set()
        result.repeated = tuple(key for key, _ in pairs if key in seen or seen.add(key))
        return result

    try:
        value = json.loads(
            text,
            parse_int=integer,
            parse_float=double,
            parse_constant=lambda word: refuse(f"must be a finite number, not {word}"),
            object_pairs_hook=members,
        )
    except json.JSONDecodeError as error:
        raise _broken(f"is not JSON: {error}") from error
    if marked and (problems := list(islice(_problems(value), MAX_VIOLATIONS))):
        raise StrictJSONError(problems)
    return value


def member(path: str, key: str) -> str:
    """Return the path of an object's member: `sections.cards`, or `options["a b"]` for an odd key."""
    if len(key) > _MAX_KEY_LENGTH or not _NAME.fullmatch(key):
        return f"{path}[{json.dumps(key[:_MAX_KEY_LENGTH])}]"
    return f"{path}.{key}" if path else key


def _broken(description: str) -> StrictJSONError:
    return StrictJSONError([Violation("", description)])


def _depth(text: str, enough: int) -> int:
    """Return how deep the brackets nest, or the first depth beyond `enough`."""
    if text.count("[") + text.count("{") <= enough:
        return 0
    deepest = depth = 0
    for bracket in _NOT_BRACKET.sub("", STRING.sub("", text)):
        if bracket in "[{":
            depth += 1
            deepest = max(depth, deepest)
            if deepest > enough:
                break
        else:
            depth -= 1
    return deepest


def _problems(root: Any) -> Iterator[Violation]:
    """Walk over a value that has something wrong in it, in the text's order."""
    pending: list[tuple[_Path, Any]] = [(None, root)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, _Refused):
            yield Violation(_written(path), value.description)
        elif isinstance(value, str):
            if found := _UNSTORABLE.search(value):
                yield Violation(_written(path), _unstorable(found[0]))
        elif isinstance(value, list):
            items = enumerate(cast("list[Any]", value))
            pending += [((path, index), item) for index, item in items][::-1]
        elif isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            for key in members:
                if found := _UNSTORABLE.search(key):
                    yield Violation(_written((path, key)), f"as a key {_unstorable(found[0])}")
            if isinstance(value, _Ambiguous):
                for key in value.repeated:
                    yield Violation(_written((path, key)), "stands more than once in its object")
            pending += [((path, key), item) for key, item in members.items()][::-1]


def _unstorable(char: str) -> str:
    return "must not contain U+0000" if char == "\x00" else "must not contain a lone surrogate"


def _written(path: _Path) -> str:
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    text = ""
    for step in reversed(steps):
        text = f"{text}[{step}]" if isinstance(step, int) else member(text, step)
    return text
