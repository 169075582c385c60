from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashkeeper.paths import written
from dashkeeper.strict_json import StrictJSONError, Verbatim, dump, parse

if TYPE_CHECKING:
    from dashkeeper.errors import Violation


def problems(text: str | bytes, max_depth: int = 90) -> list[Violation]:
    with pytest.raises(StrictJSONError) as caught:
        parse(text, max_depth=max_depth)
    return caught.value.problems


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans())
def test_what_is_strict_is_read_as_it_is(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse(text, max_depth=90) == parse(text.encode(), max_depth=90)
    assert dump(parse(text, max_depth=90)) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(st.text('[]{}":,\\0123456789eE+-.uaNIfty nl') | st.text() | st.binary())
def test_any_text_is_a_value_or_a_strict_json_error(text: str | bytes) -> None:
    with suppress(StrictJSONError):
        parse(text, max_depth=90)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ('{"a": 1, "b": [{"c": 1, "c": 1}]}', "b[0].c", "more than once"),
        ('{"a": 1, "\\u0061": 2}', "a", "more than once"),
        ('{"sections": [{"cards": [{"x": 0}, {"w": NaN}]}]}', "sections[0].cards[1].w", "finite"),
        ("[Infinity]", "[0]", "finite"),
        ('{"a b": -Infinity}', '["a b"]', "finite"),
        ('{"a": "\\ud800"}', "a", "lone surrogate"),
        ('{"a": ["x", "\\uDC00\\ud800"]}', "a[1]", "lone surrogate"),
        ('{"a": "\ud800"}', "a", "lone surrogate"),
        ('{"\\udfff": 1}', r'["\udfff"]', "lone surrogate"),
        ('{"a": "x\\u0000"}', "a", "U+0000"),
        ('{"\\u0000": 1}', r'["\u0000"]', "U+0000"),
        ("", "", "is not JSON"),
        ("{", "", "is not JSON"),
        ("[1] []", "", "is not JSON"),
        ("[1,]", "", "is not JSON"),
        ("{'a': 1}", "", "is not JSON"),
        ('"\n"', "", "is not JSON"),
        ("[01]", "", "is not JSON"),
        ("\ufeff{}", "", "byte order mark"),
        (b"\xef\xbb\xbf{}", "", "byte order mark"),
        (b'{"a": "\xff"}', "", "is not UTF-8"),
        (b'"\xed\xa0\x80"', "", "is not UTF-8"),  # a lone surrogate in bytes
        (b"\xff\xfe1\x00", "", "is not UTF-8"),
        ("[" * 91 + "]" * 91, "", "nests deeper than 90"),
        ("[" * 1_000_000, "", "nests deeper than 90"),
        ('{"a":' * 91 + "1" + "}" * 91, "", "nests deeper than 90"),
    ],
)
def test_a_problem_is_told_with_its_path(text: str | bytes, path: str, said: str) -> None:
    (problem,) = problems(text)
    assert written(problem.path) == path
    assert said in problem.description


def test_all_problems_come_at_once_in_the_text_s_order() -> None:
    text = '{"b": [NaN, {"c": "\\ud800", "d": 1, "d": 2}], "a": Infinity, "e": "\\u0000"}'
    assert [written(problem.path) for problem in problems(text)] == ["b[0]", "b[1].d", "b[1].c", "a", "e"]


NUMBERS = ["-0", "0.0", "1.0", "1e3", "1E+400", "-1e-400", "0.10", "1234567890123456789", "9" * 100_000]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_stay_as_they_were_written(number: str) -> None:
    assert parse(number, max_depth=1) == Verbatim(number)
    text = f'{{"a":[{number},"{number}",{{"b":{number}}}]}}'
    assert dump(parse(text, max_depth=90)) == text


def test_what_is_written_verbatim_stands_among_the_rest() -> None:
    value = {"a": [Verbatim('{"x":1.0}'), "b", Verbatim("[]")], "c": 1.5}
    assert dump(value) == '{"a":[{"x":1.0},"b",[]],"c":1.5}'


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_a_float_that_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump(value)


def test_a_hundred_problems_are_told_at_most() -> None:
    assert len(problems("[" + ",".join(["NaN"] * 20_000) + "]")) == 100


def test_surrogate_pairs_and_escaped_backslashes_are_no_lone_surrogates() -> None:
    assert parse(r'["\ud83d\ude00", "\\ud800", "\\u0000"]', max_depth=1) == ["😀", r"\ud800", r"\u0000"]


def test_brackets_in_strings_do_not_nest() -> None:
    text = json.dumps(["[" * 100, '\\"[{' * 100])
    assert parse(text, max_depth=1) == json.loads(text)


def test_the_deepest_that_is_allowed_is_read() -> None:
    assert problems("[[[]]]", max_depth=2)[0].description == "nests deeper than 2"
    assert parse("[[[]]]", max_depth=3) == [[[]]]
    assert parse("[" * 90 + "]" * 90, max_depth=90)


def test_a_long_key_is_shortened_in_its_path() -> None:
    (problem,) = problems('{"' + "k" * 10_000 + '": NaN}')
    assert len(written(problem.path)) < 120


@pytest.mark.parametrize(
    "text",
    [
        "[" * 4_000_000,
        '"' * 4_000_000,
        '"\\' * 2_000_000,
        '["' + "\\" * 4_000_000,
        "9" * 4_000_000,
        "0." + "1" * 4_000_000,
        "1" * 400 + "e-" + "9" * 3_000_000,
        "[" + "[]," * 1_000_000 + "[]]",
        '{"":' * 90 + "1" + "}" * 90 + " " * 4_000_000,
        "{" + ",".join(f'"{n}":1' for n in range(300_000)) + "}",
        "{" + ",".join(['"k":1'] * 500_000) + "}",
    ],
    ids=range(11),
)
def test_no_text_of_four_mib_takes_long(text: str) -> None:
    started = time.process_time()
    with suppress(StrictJSONError):
        parse(text, max_depth=90)
    assert time.process_time() - started < 5
