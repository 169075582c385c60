"""Any valid content is taken, any broken rule in it is refused at its place, and how a content is stored."""

from __future__ import annotations

import itertools
import json
import math
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from protobuf import (
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    Oneof,
    ScalarType,
)

from dashkeeper.codec import decode
from dashkeeper.errors import InvalidRequestError
from dashkeeper.gen.registrations.v1.chart_pb import Chart, ChartType
from dashkeeper.gen.registrations.v1.content_pb import Card, DashboardContent, Section
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset, Join
from dashkeeper.gen.registrations.v1.filter_pb import Filter, QueryFragment
from dashkeeper.services.contents import compacted
from dashkeeper.validation import validate
from tests.attack import field
from tests.contents import PROFILE, contents
from tests.datasets import ANALYTICS, NODES, folded
from tests.large_contents import DEEP, LARGE, OTQL, charts, deep_request, large_request, other
from tests.violations import violations, violations_of_content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protobuf import DescField, Message


@settings(PROFILE, max_examples=150)
@given(contents)
def test_any_valid_content_is_taken(content: DashboardContent) -> None:
    assert violations_of_content(content) == []


# A value that no field of a content may have, by its type.
NO_VALUES: dict[ScalarType, Any] = {
    ScalarType.STRING: "a\x00b",
    ScalarType.INT32: -1,
    ScalarType.DOUBLE: math.nan,
}


def places(message: Message, path: str = "") -> Iterator[tuple[str, Message, DescField]]:
    """Walk over all the fields of a message and of those in it that can be given a value of NO_VALUES."""
    for member in message.desc().fields:
        at = f"{path}.{member.name}" if path else member.name
        match member.value:
            case DescFieldValueMessage() if member in message:
                yield from places(message[member], at)
            case DescFieldValueList(element=element) if isinstance(element, DescMessage):
                for index, item in enumerate(message[member]):
                    yield from places(item, f"{at}[{index}]")
            case DescFieldValueEnum() | DescFieldValueList():
                yield at, message, member
            case DescFieldValueScalar(scalar=scalar) if scalar in NO_VALUES:
                yield at, message, member
            case _:
                pass


@settings(PROFILE, max_examples=200)
@given(contents, st.data())
def test_any_field_with_a_value_that_it_cannot_have_is_refused_at_its_place(
    content: DashboardContent, data: st.DataObject
) -> None:
    found = list(places(content))
    assume(found)
    path, message, member = data.draw(st.sampled_from(found))
    match member.value:
        case DescFieldValueEnum():
            message[member] = 99
        case DescFieldValueScalar(scalar=scalar):
            message[member] = NO_VALUES[scalar]
        case _:
            message[member] = [*message[member], "a\x00b"]
            path += f"[{len(message[member]) - 1}]"
    assert path in dict(violations_of_content(content))


@settings(PROFILE, max_examples=40)
@given(contents, st.data())
def test_any_repeated_technical_name_is_refused(content: DashboardContent, data: st.DataObject) -> None:
    assume(content.available_filters)
    again = deepcopy(data.draw(st.sampled_from(content.available_filters)))
    content.available_filters.append(again)
    place = len(content.available_filters) - 1
    assert dict(violations_of_content(content)).keys() == {f"available_filters[{place}].technical_name"}


# Names of types


@st.composite
def misspelt(draw: st.DrawFn, name: str) -> str:
    """Return a name with its letters in any case, and any `-` and `_` in it."""
    plain = name.replace("_", "")
    cases = [draw(st.sampled_from((letter.lower(), letter.upper()))) for letter in plain]
    gaps = [draw(st.sampled_from(("", "", "", "-", "_", "--"))) for _ in range(len(plain) + 1)]
    return "".join(itertools.chain.from_iterable(zip(gaps, [*cases, ""], strict=True)))


@settings(PROFILE, max_examples=100)
@given(st.sampled_from(NODES).flatmap(lambda name: st.tuples(st.just(name), misspelt(name))))
def test_any_spelling_of_a_known_type_is_refused_as_another_source(names: tuple[str, str]) -> None:
    known, name = names
    ((path, text),) = violations_of_content(charts(OTQL, other(name=name)))
    assert path == "sections[0].cards[0].charts[1].dataset.other.type"
    assert text.endswith(f"write it as {known}")


FRAGMENTS = ("OTQL", "data_file", *ANALYTICS)


def one_fragment(name: str) -> DashboardContent:
    fragment = QueryFragment(type=name, fragment=Oneof("text", "a IN $values"))
    return DashboardContent(
        available_filters=[Filter(technical_name="a", values_query="SELECT", query_fragments=[fragment])]
    )


@settings(PROFILE, max_examples=100)
@given(st.sampled_from(FRAGMENTS).flatmap(lambda name: st.tuples(st.just(name), misspelt(name))))
def test_any_spelling_of_a_known_fragment_type_but_the_right_one_is_refused(names: tuple[str, str]) -> None:
    known, name = names
    found = violations_of_content(one_fragment(name))
    assert found == (
        []
        if name == known
        else [("available_filters[0].query_fragments[0].type", f"must be written as {known}")]
    )


@pytest.mark.parametrize("name", [*NODES, "to-list", "toList", "OTQL", "Data_File", "tolist", "FORMAT-DATES"])
def test_known_name_is_no_other_source(name: str) -> None:
    ((path, text),) = violations_of_content(charts(other(name=name)))
    assert path.endswith(".other.type")
    assert folded(text.rpartition(" ")[2]) == folded(name)


@pytest.mark.parametrize("name", ["other", "to list", "otql2", "user_points", "tolists", "-1", "ÖTQL"])
def test_name_that_differs_from_the_known_ones_is_another_source(name: str) -> None:
    assert violations_of_content(charts(other(name=name))) == []


@pytest.mark.parametrize("name", ["-", "_", "-_-"])
def test_name_without_anything_that_tells_it_from_another_is_refused(name: str) -> None:
    ((path, text),) = violations_of_content(charts(other(name=name)))
    assert path.endswith(".other.type")
    assert text == "must not be only - and _: name the data source"


# The JSON of other sources

BAD_JSON = {
    "array": "[]",
    "text": '"a"',
    "null": "null",
    "white-space": " ",
    "nothing-closed": '{"a":1',
    "two": "{}{}",
    "comma": '{"a":1,}',
    "single-quotes": "{'a':1}",
    "comment": "{/**/}",
    "byte-order-mark": "\ufeff{}",
    "key-twice": '{"a":1,"a":1}',
    "key-twice-below": '{"a":[{"b":1,"\\u0062":2}]}',
    "nan": '{"a":NaN}',
    "infinity": '{"a":[-Infinity]}',
    "number-with-a-zero": '{"a":01}',
    "number-without-a-fraction": '{"a":1.}',
    "plus": '{"a":+1}',
    "lone-surrogate": '{"a":"\\ud800"}',
    "lone-surrogate-in-key": '{"\\udc00":1}',
    "raw-control": '{"a":"\t"}',
    "33-deep": '{"a":' + "[" * 32 + "]" * 32 + "}",
    "100000-deep": "[" * 99_999,
    "key-type": '{"type":"a"}',
    "key-series-title": '{"series_title":1}',
    "key-sources": '{"sources":[]}',
    "key-escaped": '{"\\u0074ype":"a"}',
    "too-long": '{"a":"' + "x" * 100_000 + '"}',
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_json_of_another_source_that_is_bad_is_refused_at_its_place(text: str) -> None:
    below = Dataset(node=Oneof("join", Join(sources=[OTQL, other(text)])))
    found = violations_of_content(charts(below))
    assert {path for path, _ in found} == {
        "sections[0].cards[0].charts[0].dataset.join.sources[1].other.json"
    }


def test_all_problems_of_a_json_are_told_with_their_paths_in_it() -> None:
    found = violations_of_content(charts(other('{"a":NaN,"b":[{"c":1,"c":2},"\\ud800"]}')))
    assert [text.partition(": ")[0] for _, text in found] == ["a", "b[0].c", "b[1]"]


STORED = {
    "": "{}",
    "{}": "{}",
    ' {\n\t"b" : [ 1.0 , 1e2,\r -0 , 0.10 ] , "a" : { } } ': '{"b":[1.0,1e2,-0,0.10],"a":{}}',
    '{"a b" : " \\" : , \\\\" , "\\u00e9\\/" : " é " }': '{"a b":" \\" : , \\\\","\\u00e9\\/":" é "}',
    '{"n" : 1234567890123456789012, "m": -1E+400}': '{"n":1234567890123456789012,"m":-1E+400}',
    '{"a":' + " [" * 31 + " ]" * 31 + "}": '{"a":' + "[" * 31 + "]" * 31 + "}",
}


@pytest.mark.parametrize(("sent", "stored"), STORED.items())
def test_json_is_stored_without_white_space_and_otherwise_as_it_was_sent(sent: str, stored: str) -> None:
    content = charts(OTQL, Dataset(node=Oneof("join", Join(sources=[other(sent)]))))
    assert violations_of_content(content) == []
    before = content.to_binary()
    assert compacted(content) == charts(OTQL, Dataset(node=Oneof("join", Join(sources=[other(stored)]))))
    assert content.to_binary() == before, "the request itself is left alone"


@settings(PROFILE, max_examples=100)
@given(contents)
def test_stored_content_is_valid_and_means_the_same(content: DashboardContent) -> None:
    stored = compacted(content)
    assert violations_of_content(stored) == []
    assert compacted(stored) is stored

    def texts(of: DashboardContent) -> list[str]:
        return [message[member] for _, message, member in places(of) if member.name == "json"]

    for sent, kept in zip(texts(content), texts(stored), strict=True):
        assert json.dumps(json.loads(sent or "{}")) == json.dumps(json.loads(kept))
        assert len(kept) <= max(len(sent), 2)


def test_unknown_fields_are_stored() -> None:
    unknown = b"\x98\x06\x01"
    source = field(1, b"mine") + field(2, b"{ }") + unknown
    body = (
        field(2, field(2, field(6, b"\x10\x02" + field(4, field(8, source) + unknown)) + unknown)) + unknown
    )
    stored = compacted(DashboardContent.from_binary(body)).to_binary()
    assert stored.count(unknown) == 4
    assert len(stored) == len(body) - 1


# Numbers and depth


def test_more_than_1000_charts_are_refused() -> None:
    card = Card(w=1, h=1, charts=[Chart(type=ChartType.BARS, dataset=OTQL)] * 500)
    sections = [Section(cards=[card]), Section(cards=[card])]
    assert violations_of_content(DashboardContent(sections=sections)) == []
    sections[0].cards.append(Card(w=1, h=1, charts=card.charts[:1]))
    ((path, text),) = violations_of_content(DashboardContent(sections=sections))
    assert (path, "1001" in text) == ("sections", True)


def test_json_of_more_than_20000_values_in_all_is_refused() -> None:
    half = '{"a":[' + "0," * 9_997 + "0]}"
    assert violations_of_content(charts(other(half), other(half))) == []
    ((path, _),) = violations_of_content(charts(other(half), other(half), other('{"a":[1,2]}'), other("[")))
    assert path == "sections[0].cards[0].charts[2].dataset.other.json"


@pytest.mark.parametrize("times", [17, 25, 46, 47, 48, 49, 100, 2_000, 10_000])
@pytest.mark.parametrize("name", DEEP)
def test_content_however_deep_is_refused(name: str, times: int) -> None:
    with pytest.raises(InvalidRequestError):
        validate(decode(deep_request(name, times), "proto", UpdateContentRequest, max_bytes=4 << 20))


@pytest.mark.parametrize("name", LARGE)
def test_large_content_is_checked_in_little_time(name: str) -> None:
    request, valid = large_request(name), LARGE[name][1]
    started = time.process_time()
    decoded = decode(request, "proto", UpdateContentRequest, max_bytes=4 << 20)
    found = violations(decoded)
    if valid:
        assert decoded.content is not None
        compacted(decoded.content)
    assert time.process_time() - started < 1.5
    assert (found == []) is valid
    assert len(found) <= 100
