"""From the seed's JSON to messages and back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings

from dashkeeper.errors import DashkeeperError
from dashkeeper.gen.registrations.v1.chart_pb import Chart
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration, Scope
from dashkeeper.paths import written
from dashkeeper.strict_json import dump
from dashkeeper.transport.rest import dialect, writer
from dashkeeper.transport.rest.reader import read
from dashkeeper.validation import validate
from tests.contents import contents

if TYPE_CHECKING:
    from protobuf import Message

PAYLOADS = Path(__file__).parent / "payloads"
FIRST_CHART = "sections[0].cards[0].charts[0]"


def as_the_spec_compares(value: Any, key: str = "") -> Any:
    """Return JSON as the spec compares it: without empty lists, query_id as a string."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {k: as_the_spec_compares(v, k) for k, v in items.items() if v != []}
    if isinstance(value, list):
        every = cast("list[Any]", value)
        return [as_the_spec_compares(item) for item in every]
    return str(value) if key == "query_id" else value


def content_of(*, chart: Any = None, dataset: Any = None, **keys: Any) -> dict[str, Any]:
    """Return a content that holds one chart, or has these keys."""
    if dataset is not None:
        chart = {"type": "Metric", "dataset": dataset}
    if chart is None:
        return keys
    return {"sections": [{"cards": [{"x": 0, "y": 0, "w": 1, "h": 1, "charts": [chart]}]}]}


def write(message: Message) -> dict[str, Any]:
    """Return what is written of a message, as its reader has it."""
    return json.loads(dump(writer.write(message)))


def read_content(content: object) -> DashboardContent:
    return read(json.dumps(content).encode(), DashboardContent)


def problems(body: object, message: type[Message] = DashboardContent) -> dict[str, str]:
    with pytest.raises(DashkeeperError) as caught:
        read(body if isinstance(body, bytes) else json.dumps(body).encode(), message)
    return {written(path): description for path, description in caught.value.violations}


@pytest.mark.parametrize("name", ["registrations-content", "registrations-content-radar"])
def test_an_example_comes_out_as_it_went_in(name: str) -> None:
    sent = json.loads((PAYLOADS / f"{name}.json").read_text())
    message = read_content(sent)
    validate(UpdateContentRequest(id="reg_1", content=message))
    assert as_the_spec_compares(write(message)) == as_the_spec_compares(sent)
    assert read_content(write(message)) == message


def test_an_example_of_a_registration_comes_out_as_it_went_in() -> None:
    sent = json.loads((PAYLOADS / "registrations-list-response.json").read_text())["data"][0]
    body = json.dumps(sent).encode()
    message = read(body, DashboardRegistration, mandatory=dialect.WRITABLE, ignored=dialect.READ_ONLY)
    assert message.scopes == [Scope.HOME, Scope.SEGMENTS]
    written = write(message)
    assert {key: written[key] for key in sent if key not in dialect.READ_ONLY} == {
        key: value for key, value in sent.items() if key not in dialect.READ_ONLY
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents)
def test_any_content_survives_json_and_any_json_a_message(content: DashboardContent) -> None:
    written = write(content)
    again = read_content(written)
    assert write(again) == written
    assert normal(again) == normal(content)


def normal(content: DashboardContent) -> Any:
    """Return a content as ProtoJSON, the JSON of other sources parsed: what it means."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value)
            if set(items) <= {"type", "json"} and "type" in items:
                return {"type": items["type"], "json": json.loads(items.get("json") or "{}")}
            return {key: walk(inner) for key, inner in items.items()}
        if isinstance(value, list):
            every = cast("list[Any]", value)
            return [walk(item) for item in every]
        return value

    return walk(json.loads(content.to_json()))


ENUMS = {
    value.enum
    for name, module in __import__("sys").modules.items()
    if name.startswith("dashkeeper.gen.registrations.v1.") and hasattr(module, "desc")
    for message in module.desc().messages
    for field in message.fields
    if (value := field.value) is not None and hasattr(value, "enum")
}


def test_the_words_are_those_of_the_seed() -> None:
    spelt = {enum.name: list(dialect.words(enum).values()) for enum in ENUMS}
    assert spelt == {
        "AreaType": ["area", "line"],
        "BarsType": ["column", "bar"],
        "BooleanOperator": ["AND", "OR"],
        "ChartFormat": ["percentage", "count", "index", "float"],
        "ChartType": ["Pie", "Bars", "Radar", "Metric", "Area"],
        "DimensionFilterOperator": [
            "EXACT",
            "IN_LIST",
            "NUMERIC_EQUAL",
            "NUMERIC_GREATER_THAN",
            "NUMERIC_LESS_THAN",
        ],
        "IndexSort": ["descending", "ascending"],
        "Layout": ["vertical", "horizontal"],
        "LegendPosition": ["bottom", "right"],
        "MetricFilterOperator": ["EQUAL", "GREATER_THAN", "LESS_THAN"],
        "ModelType": ["CHANNELS", "SEGMENTS", "COMPARTMENTS"],
        "Precision": ["FULL_PRECISION", "MEDIUM_PRECISION", "LOWER_PRECISION"],
        "ReduceType": ["max", "min", "sum", "avg", "count", "first", "last"],
        "Scope": ["home", "segments", "builders"],
        "SortOrder": ["ASCENDING", "DESCENDING"],
        "ValuesRetrieveMethod": ["Query"],
        "XKeyMode": ["DEFAULT", "DAY", "HOUR"],
    }


@pytest.mark.parametrize("spell", [str.upper, str.lower, str.swapcase])
def test_words_are_read_in_any_case(spell: Any) -> None:
    for field in (field for chart in [Chart.desc()] for field in chart.fields if field.name == "type"):
        for number, word in dialect.words(field.value.enum).items():  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess, reportUnknownMemberType, reportUnknownArgumentType]
            content = content_of(chart={"type": spell(word), "dataset": {"type": "x"}})
            message = read_content(content).sections[0].cards[0].charts[0]
            assert message.type == number
            assert write(message)["type"] == word


@pytest.mark.parametrize(
    "word", ["p\N{LATIN SMALL LETTER DOTLESS I}e", "bar\N{LATIN SMALL LETTER LONG S}", "Pie ", ""]
)
def test_word_of_other_letters_is_refused(word: str) -> None:
    found = problems(content_of(chart={"type": word, "dataset": {"type": "x"}}))
    assert found == {f"{FIRST_CHART}.type": 'must be one of "Pie", "Bars", "Radar", "Metric", "Area"'}


@pytest.mark.parametrize("word", [*dialect.NODE_TYPES.values()])
def test_names_of_datasets_are_read_but_for_case_and_dashes(word: str) -> None:
    spellings = [word, word.upper(), word.lower(), word.replace("-", "_"), word.replace("_", "-")]
    for spelling in [*spellings, word.replace("-", "").replace("_", "")]:
        dataset = {"type": spelling, **OWN.get(word, {})}
        assert write(read_content(content_of(dataset=dataset)))["sections"][0]["cards"][0]["charts"][0][
            "dataset"
        ] == as_written({**dataset, "type": word})


OWN: dict[str, dict[str, Any]] = {
    **{
        word: {"query_json": {"metrics": [{"expression": "users"}]}}
        for word in ("activities_analytics", "collection_volumes", "resources_usage", "data_ingestion")
    },
    "OTQL": {"query_id": "1"},
    "data_file": {"uri": "a", "JSON_path": "$.b"},
    "reduce": {"reduce_options": {"type": "sum"}},
    "format-dates": {"date_options": {"format": "YYYY"}},
    "get-decorators": {"decorators_options": {"model_type": "CHANNELS"}},
}


def as_written(dataset: dict[str, Any]) -> dict[str, Any]:
    if dataset["type"] in dialect.TRANSFORMATIONS.values():
        return {**dataset, "sources": []}
    if "query_json" in dataset:
        return {**dataset, "query_json": {**dataset["query_json"], "dimensions": [], "date_ranges": []}}
    return dataset


def test_an_unknown_source_is_kept_as_it_is_in_the_order_of_its_keys() -> None:
    source = {"type": "My-Source", "z": [1, 2.5, {"b": None, "a": "é"}], "a": 9007199254740991, "e": []}
    message = read_content(content_of(dataset={**source, "series_title": "S"}))
    dataset = message.sections[0].cards[0].charts[0].dataset
    assert dataset is not None
    assert dataset.series_title == "S"
    assert dataset.node is not None
    assert dataset.node.value.json == '{"z":[1,2.5,{"b":null,"a":"é"}],"a":9007199254740991,"e":[]}'  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    written = write(message.sections[0].cards[0].charts[0])["dataset"]
    assert list(written.items())[2:] == list(source.items())[1:]
    assert written == {**source, "series_title": "S"}


def test_a_query_id_is_read_as_a_number_or_a_string_and_written_as_a_string() -> None:
    for query_id in (311, "311"):
        message = read_content(content_of(dataset={"type": "OTQL", "query_id": query_id}))
        written = write(message.sections[0].cards[0].charts[0])["dataset"]
        assert written == {"type": "OTQL", "query_id": "311"}


def test_absent_stays_absent_and_a_default_that_was_written_stays() -> None:
    options = {"drilldown": True, "legend": {"enabled": False}, "tooltip": {}, "size": 100}
    chart = {"type": "Pie", "dataset": {"type": "x"}, "options": options}
    written = write(read_content(content_of(chart=chart)))["sections"][0]["cards"][0]["charts"][0]
    assert written == {**chart, "colors": []}
    assert isinstance(written["options"]["size"], int)
    empty = {**chart, "options": {}}
    assert (
        write(read_content(content_of(chart=empty)))["sections"][0]["cards"][0]["charts"][0]["options"] == {}
    )


METRIC = {"type": "Metric", "dataset": {"type": "x"}}
QUERY = {"metrics": [{"expression": "users"}]}
FILTER = {"technical_name": "a", "values_query": "SELECT"}


REFUSED: list[tuple[object, str, str]] = [
    ([], "", "must be an object"),
    ({"sections": None}, "sections", "must not be null"),
    ({"sections": {}}, "sections", "must be a list"),
    ({"sections": [[]]}, "sections[0]", "must be an object"),
    ({"section": []}, "section", "is not a key here"),
    ({"availableFilters": []}, "availableFilters", "is not a key here"),
    ({"a.b": []}, '["a.b"]', "is not a key here"),
    ({"sections": [{"title": 1}]}, "sections[0].title", "must be a string"),
    (
        {"sections": [{"cards": [{"x": 0, "y": 0, "h": 1}]}]},
        "sections[0].cards[0].w",
        "is missing",
    ),
    (
        {"sections": [{"cards": [{"x": 0, "y": 0, "w": 1.5, "h": 1}]}]},
        "sections[0].cards[0].w",
        "must be an integer",
    ),
    (
        {"sections": [{"cards": [{"x": 0, "y": 0, "w": "1", "h": 1}]}]},
        "sections[0].cards[0].w",
        "must be an integer",
    ),
    (
        {"sections": [{"cards": [{"x": True, "y": 0, "w": 1, "h": 1}]}]},
        "sections[0].cards[0].x",
        "must be an integer",
    ),
    (
        {"sections": [{"cards": [{"x": 0, "y": 2**31, "w": 1, "h": 1}]}]},
        "sections[0].cards[0].y",
        "must be an integer from",
    ),
    (
        {"sections": [{"cards": [{"x": 0, "y": 0, "w": 1, "h": 1, "layout": "diagonal"}]}]},
        "sections[0].cards[0].layout",
        'must be one of "vertical", "horizontal"',
    ),
    (content_of(chart={"dataset": {"type": "x"}}), f"{FIRST_CHART}.type", "is missing"),
    (content_of(chart={"type": "Metric"}), f"{FIRST_CHART}.dataset", "is missing"),
    (content_of(chart={**METRIC, "type": "Donut"}), f"{FIRST_CHART}.type", 'must be one of "Pie"'),
    (content_of(chart={**METRIC, "type": ""}), f"{FIRST_CHART}.type", "must be one of"),
    (
        content_of(chart={**METRIC, "type": "CHART_TYPE_METRIC"}),
        f"{FIRST_CHART}.type",
        "must be one of",
    ),
    (content_of(chart={**METRIC, "colors": "red"}), f"{FIRST_CHART}.colors", "must be a list"),
    (content_of(chart={**METRIC, "colors": [1]}), f"{FIRST_CHART}.colors[0]", "must be a string"),
    (content_of(chart={**METRIC, "options": None}), f"{FIRST_CHART}.options", "must not be null"),
    (content_of(chart={**METRIC, "options": []}), f"{FIRST_CHART}.options", "must be an object"),
    (
        content_of(chart={**METRIC, "options": {"height": 1}}),
        f"{FIRST_CHART}.options.height",
        "is not a key here",
    ),
    (
        content_of(chart={**METRIC, "options": {"format": "index"}}),
        f"{FIRST_CHART}.options.format",
        'must be one of "percentage", "count", "float"',
    ),
    (
        content_of(chart={**METRIC, "metric_options": {}}),
        f"{FIRST_CHART}.metric_options",
        "is not a key here",
    ),
    (content_of(dataset=[]), f"{FIRST_CHART}.dataset", "must be an object"),
    (content_of(dataset={}), f"{FIRST_CHART}.dataset.type", "is missing"),
    (content_of(dataset={"type": ""}), f"{FIRST_CHART}.dataset.type", "must be the name"),
    (content_of(dataset={"type": "-_"}), f"{FIRST_CHART}.dataset.type", "must be the name"),
    (content_of(dataset={"type": 1}), f"{FIRST_CHART}.dataset.type", "must be the name"),
    (
        content_of(dataset={"type": "jion", "sources": []}),
        f"{FIRST_CHART}.dataset.type",
        '"jion" is not a transformation',
    ),
    (
        content_of(dataset={"type": "x", "series_title": 1}),
        f"{FIRST_CHART}.dataset.series_title",
        "must be a string",
    ),
    (
        content_of(dataset={"type": "OTQL", "query_id": 1.5}),
        f"{FIRST_CHART}.dataset.query_id",
        "must be a string",
    ),
    (
        content_of(dataset={"type": "OTQL", "query_id": 1, "query_text": "a"}),
        f"{FIRST_CHART}.dataset.query_text",
        "must not stand beside query_id",
    ),
    (
        content_of(dataset={"type": "OTQL", "query_id": 1, "precision": "FULL"}),
        f"{FIRST_CHART}.dataset.precision",
        'must be one of "FULL_PRECISION"',
    ),
    (
        content_of(dataset={"type": "data_file", "uri": "a", "json_path": "$"}),
        f"{FIRST_CHART}.dataset.json_path",
        "is not a key here",
    ),
    (
        content_of(dataset={"type": "activities_analytics"}),
        f"{FIRST_CHART}.dataset.query_json",
        "is missing",
    ),
    (
        content_of(dataset={"type": "join", "sources": [{"type": "OTQL", "query_id": []}]}),
        f"{FIRST_CHART}.dataset.sources[0].query_id",
        "must be a string",
    ),
    (
        content_of(dataset={"type": "data_ingestion", "query_json": {**QUERY, "sample_factor": "1"}}),
        f"{FIRST_CHART}.dataset.query_json.sample_factor",
        "must be a number",
    ),
    (
        content_of(dataset={"type": "OTQL", "query_id": 1, "adapt_to_scope": "true"}),
        f"{FIRST_CHART}.dataset.adapt_to_scope",
        "must be true or false",
    ),
    (
        {"available_filters": [{"technical_name": "a"}]},
        "available_filters[0].values_query",
        "is missing",
    ),
    (
        {"available_filters": [{**FILTER, "values_retrieve_method": "List"}]},
        "available_filters[0].values_retrieve_method",
        'must be "Query"',
    ),
    (
        {"available_filters": [{**FILTER, "query_fragments": [{"type": "OTQL"}]}]},
        "available_filters[0].query_fragments[0].fragment",
        "is missing",
    ),
    (
        {"available_filters": [{**FILTER, "query_fragments": [{"type": "x", "fragment": {}}]}]},
        "available_filters[0].query_fragments[0].fragment",
        "must be a string or a list",
    ),
    (
        {"available_filters": [{**FILTER, "query_fragments": [{"type": "x", "fragment": [{}]}]}]},
        "available_filters[0].query_fragments[0].fragment[0].dimension_name",
        "is missing",
    ),
]


@pytest.mark.parametrize(("content", "path", "said"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_path(content: object, path: str, said: str) -> None:
    found = problems(content)
    assert list(found) == [path]
    assert said in found[path]


def test_what_strict_json_refuses_is_refused_with_its_path() -> None:
    assert list(problems(b'{"sections": [{"title": "a", "title": "b"}]}')) == ["sections[0].title"]
    assert list(problems(b'{"sections": [{"title": NaN}]}')) == ["sections[0].title"]
    assert problems(b"\xff") == {"": "is not UTF-8: invalid start byte at byte 0"}
    assert problems(b"[" * 91 + b"]" * 91) == {"": "nests deeper than 90"}


def test_all_problems_come_at_once() -> None:
    card = {"x": "0", "y": 0, "w": 1, "h": 1, "charts": [METRIC, {**METRIC, "type": "Donut"}]}
    found = problems({"a": 1, "sections": [{"title": None, "cards": [card, {}]}]})
    assert list(found) == [
        "a",
        "sections[0].title",
        "sections[0].cards[0].x",
        "sections[0].cards[0].charts[1].type",
        *(f"sections[0].cards[1].{key}" for key in "hwxy"),
    ]


def test_the_type_of_a_fragment_is_written_as_the_known_one() -> None:
    fragments = [{"type": name, "fragment": "a"} for name in ("otql", "ACTIVITIES-ANALYTICS", "Mine")]
    content = read_content({"available_filters": [{**FILTER, "query_fragments": fragments}]})
    written = write(content)["available_filters"][0]["query_fragments"]
    assert [one["type"] for one in written] == ["OTQL", "activities_analytics", "Mine"]


def test_read_only_keys_of_a_registration_are_ignored_whatever_they_hold() -> None:
    body = {"title": "a", "scopes": ["HOME"], "segment_ids": [], "builder_ids": []}
    read_only = "id etag created_ts created_by last_modified_ts last_modified_by deleted_at purge_at"
    body |= dict.fromkeys(read_only.split())
    message = read(
        json.dumps(body).encode(),
        DashboardRegistration,
        mandatory=dialect.WRITABLE,
        ignored=dialect.READ_ONLY,
    )
    assert message == DashboardRegistration(title="a", scopes=[Scope.HOME])


def test_the_largest_content_is_read_and_written_in_time() -> None:
    cards = [{"x": 0, "y": n, "w": 1, "h": 1, "charts": [METRIC]} for n in range(1_000)]
    body = json.dumps({"sections": [{"cards": cards}]}).encode()
    started = time.process_time()
    message = read(body, DashboardContent)
    write(message)
    assert time.process_time() - started < 2
