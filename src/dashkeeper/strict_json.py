"""JSON that means one thing to every reader (RFC 8259 §4 and §6, RFC 7493), and nothing else.

The standard library's decoder takes the last of two equal keys, and takes NaN, infinities, lone
surrogates and numbers that it rounds. Here each of the first is a problem with its path, and numbers
stay as they were written: what a field makes of one is for its reader to say.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dashkeeper.bounds import is_deeper
from dashkeeper.errors import MAX_VIOLATIONS, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dashkeeper.paths import Path

MAX_INTEGER = 2**53 - 1
"""The largest integer, up and down, that every JSON reader reads exactly."""

SAID_TWICE = "stands more than once in its object"

_MARK = secrets.token_hex(16)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)


class StrictJSONError(ValueError):
    """A text that isn't JSON in the strict sense: `problems` holds each with its path."""

    def __init__(self, problems: list[Violation]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(slots=True)
class Verbatim:
    """A piece of JSON as it stands in a text: every number that was read, or a whole value to be written."""

    text: str


class Ambiguous(dict[str, Any]):
    """An object that says something twice."""

    repeated: Sequence[str] = ()
    """The keys that stand in it more than once."""


class _Refused(NamedTuple):
    """Stands for a number that is refused, until its path is known."""

    description: str


def parse(text: str | bytes, *, max_depth: int) -> Any:
    """Parse a JSON text; each number in it is Verbatim.

    Its cost grows with the text alone; how large that may be is the caller's to bound.

    Raises:
        StrictJSONError: Naming all that is wrong (a hundred problems at most): a text that isn't
            UTF-8 or isn't JSON, one that nests deeper than max_depth, and in it equal keys, NaN,
            infinities, lone surrogates, U+0000.
    """
    value, is_marked = parse_marked(text, max_depth=max_depth)
    if is_marked and (problems := list(islice(_problems(value, ()), MAX_VIOLATIONS))):
        raise StrictJSONError(problems)
    return value


def parse_marked(text: str | bytes, *, max_depth: int) -> tuple[Any, bool]:
    """Parse a JSON text whose problems the caller names: objects with equal keys are Ambiguous.

    Returns:
        The value, and whether anything in it may be wrong.

    Raises:
        StrictJSONError: If it isn't UTF-8, isn't JSON or nests deeper than max_depth.
    """
    is_marked = False
    try:
        text, encoded = (text.decode(), text) if isinstance(text, bytes) else (text, text.encode())
    except UnicodeDecodeError as error:
        raise _broken(f"is not UTF-8: {error.reason} at byte {error.start}") from error
    except UnicodeEncodeError:
        encoded, is_marked = cast("str", text).encode(errors="replace"), True
        text = cast("str", text)
    if text.startswith("\ufeff"):
        raise _broken("must not begin with a byte order mark")
    if is_deeper(encoded, max_depth):
        raise _broken(f"nests deeper than {max_depth}")
    is_marked = is_marked or _UNSTORABLE_ESCAPE.search(text) is not None

    def refuse(word: str) -> _Refused:
        nonlocal is_marked
        is_marked = True
        return _Refused(f"must be a finite number, not {word}")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_marked
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        is_marked = True
        result = Ambiguous(pairs)
        counts = Counter(key for key, _ in pairs)
        result.repeated = [key for key, count in counts.items() if count > 1]
        return result

    try:
        value = json.loads(
            text,
            parse_int=Verbatim,
            parse_float=Verbatim,
            parse_constant=refuse,
            object_pairs_hook=members,
        )
    except json.JSONDecodeError as error:
        raise _broken(f"is not JSON: {error}") from error
    return value, is_marked


def dump(value: object) -> str:
    """Return a value as JSON text without white space, what is Verbatim in it as it is.

    Raises:
        ValueError: If it holds a float that JSON can't say.
        TypeError: If it holds something else that JSON can't say.
    """
    pieces: list[str] = []

    def mark(piece: object) -> str:
        if not isinstance(piece, Verbatim):
            raise TypeError(f"{type(piece).__name__} is nothing that JSON can say")
        pieces.append(piece.text)
        return _MARK

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=mark)
    if not pieces:
        return text
    between = text.split(f'"{_MARK}"')
    return "".join(part for pair in zip(between, (*pieces, ""), strict=True) for part in pair)


def _broken(description: str) -> StrictJSONError:
    return StrictJSONError([Violation((), description)])


def _problems(value: Any, path: Path) -> Iterator[Violation]:
    """Walk over a value that has something wrong in it, in the text's order."""
    if isinstance(value, _Refused):
        yield Violation(path, value.description)
    elif isinstance(value, str):
        if found := _UNSTORABLE.search(value):
            yield Violation(path, _unstorable(found[0]))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _problems(item, (*path, index))
    elif isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        for key in members:
            if found := _UNSTORABLE.search(key):
                yield Violation((*path, key), f"as a key {_unstorable(found[0])}")
        if isinstance(value, Ambiguous):
            for key in value.repeated:
                yield Violation((*path, key), SAID_TWICE)
        for key, item in members.items():
            yield from _problems(item, (*path, key))


def _unstorable(char: str) -> str:
    return "must not contain U+0000" if char == "\x00" else "must not contain a lone surrogate"
