"""Datasets that can't be drawn are refused, each problem once and at its node; all others are taken."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
from tests.contents import PROFILE
from tests.violations import violations_of_content

Json = dict[str, Any]

# The tables of the specification, written out once more. "?" stands for a kind that isn't known.
NUMBER, KEY_VALUE, KEY_VALUES, BUCKETS, UNKNOWN = "a number", "key/value", "key/values", "buckets", "?"
KINDS = (NUMBER, KEY_VALUE, KEY_VALUES, BUCKETS)
MANY = 100
TAKES: dict[str, tuple[range, set[str], str | None]] = {
    "to_list": (range(1, MANY + 1), {NUMBER}, KEY_VALUE),
    "join": (range(1, MANY + 1), {KEY_VALUE}, KEY_VALUES),
    "to_percentages": (range(1, 2), {KEY_VALUE, KEY_VALUES, BUCKETS}, None),
    "ratio": (range(2, 3), {NUMBER}, NUMBER),
    "index": (range(2, 3), {KEY_VALUE}, KEY_VALUE),
    "reduce": (range(1, 2), {NUMBER, KEY_VALUE, KEY_VALUES, BUCKETS}, NUMBER),
    "format_dates": (range(1, 2), {KEY_VALUE, KEY_VALUES, BUCKETS}, None),
    "get_decorators": (range(1, 2), {KEY_VALUE, KEY_VALUES, BUCKETS}, None),
}
SHOWS = {
    "METRIC": {NUMBER},
    "PIE": {KEY_VALUE, BUCKETS},
    "BARS": {KEY_VALUE, KEY_VALUES, BUCKETS},
    "RADAR": {KEY_VALUE, KEY_VALUES},
    "AREA": {KEY_VALUE, KEY_VALUES},
}
# How many dimensions and metrics a query has, and what it gives.
QUERIES = {
    (0, 1): NUMBER,
    (1, 1): KEY_VALUE,
    (1, 2): KEY_VALUES,
    (1, 100): KEY_VALUES,
    (2, 1): BUCKETS,
    (2, 2): BUCKETS,
    (100, 1): BUCKETS,
    (0, 2): UNKNOWN,
    (0, 100): UNKNOWN,
}
ANALYTICS = ("activities_analytics", "collection_volumes", "resources_usage", "data_ingestion")
OPTIONS: dict[str, Json] = {
    "reduce": {"reduceOptions": {"type": "REDUCE_TYPE_SUM"}},
    "format_dates": {"dateOptions": {"format": "YYYY"}},
    "get_decorators": {"decoratorsOptions": {"modelType": "MODEL_TYPE_CHANNELS"}},
}


def query(dimensions: int, metrics: int, name: str = ANALYTICS[0]) -> Json:
    request = {"dimensions": [{"name": "day"}] * dimensions, "metrics": [{"expression": "users"}] * metrics}
    return {name: {"query_json": request}}


LEAVES: dict[str, list[Json]] = {
    NUMBER: [query(0, 1, name) for name in ANALYTICS],
    KEY_VALUE: [query(1, 1, name) for name in ANALYTICS],
    KEY_VALUES: [query(1, 3, name) for name in ANALYTICS],
    BUCKETS: [query(2, 1, name) for name in ANALYTICS],
    UNKNOWN: [
        {"otql": {"query_id": "701"}},
        {"data_file": {"uri": "a.json"}},
        {"other": {"type": "mine"}},
        query(0, 2),
    ],
}


def node(name: str, *sources: Json) -> Json:
    return {name: {"sources": sources, **OPTIONS.get(name, {})}}


def chart(chart_type: str, dataset: Json) -> Json:
    return {"type": f"CHART_TYPE_{chart_type}", "dataset": dataset}


def problems(*charts: Json) -> list[tuple[str, str]]:
    """Return what is wrong with charts, with paths that begin at `charts`."""
    card = {"x": 0, "y": 0, "w": 1, "h": 1, "charts": charts}
    content = DashboardContent.from_json(json.dumps({"sections": [{}, {"cards": [card]}]}))
    start = "sections[1].cards[0]."
    found = violations_of_content(content)
    assert all(path.startswith(start) for path, _ in found)
    return [(path.removeprefix(start), text) for path, text in found]


def chart_that_shows(kind: str | None) -> str:
    return "METRIC" if kind == NUMBER else "RADAR" if kind == KEY_VALUES else "BARS"


@pytest.mark.parametrize(("counts", "kind"), QUERIES.items())
@pytest.mark.parametrize("chart_type", SHOWS)
@pytest.mark.parametrize("name", ANALYTICS)
def test_query_by_its_dimensions_and_metrics_fits_a_chart_or_is_refused(
    counts: tuple[int, int], kind: str, chart_type: str, name: str
) -> None:
    found = problems(chart(chart_type, query(*counts, name)))
    assert [path for path, _ in found] == (
        [] if kind in SHOWS[chart_type] | {UNKNOWN} else ["charts[0].dataset"]
    )
    assert all(text.startswith(f"is {kind}: ") for _, text in found)


@pytest.mark.parametrize("leaf", LEAVES[UNKNOWN])
@pytest.mark.parametrize("chart_type", SHOWS)
def test_source_of_an_unknown_kind_fits_any_chart(leaf: Json, chart_type: str) -> None:
    assert problems(chart(chart_type, leaf)) == []


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("kind", [*KINDS, UNKNOWN])
@pytest.mark.parametrize("chart_type", SHOWS)
def test_transformation_of_each_kind_fits_each_chart_or_is_refused(
    name: str, kind: str, chart_type: str
) -> None:
    counts, takes, gives = TAKES[name]
    for leaf in LEAVES[kind]:
        expected = [f"charts[0].dataset.{name}.sources[{index}]" for index in range(counts[0])]
        if kind in takes | {UNKNOWN}:
            expected = []
        # Of a source that doesn't fit, nothing follows but what the transformation always gives.
        given = gives or (UNKNOWN if expected else kind)
        if given not in SHOWS[chart_type] | {UNKNOWN}:
            expected.append("charts[0].dataset")
        found = problems(chart(chart_type, node(name, *[leaf] * counts[0])))
        assert [path for path, _ in found] == expected


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 99, 100])
def test_transformation_takes_its_number_of_sources_alone(name: str, count: int) -> None:
    counts, takes, gives = TAKES[name]
    kind = KEY_VALUE if KEY_VALUE in takes else NUMBER
    found = problems(chart(chart_that_shows(gives or kind), node(name, *LEAVES[kind][:1] * count)))
    assert [path for path, _ in found] == ([] if count in counts else [f"charts[0].dataset.{name}.sources"])


@pytest.mark.parametrize("name", TAKES)
def test_more_sources_than_can_be_are_refused(name: str) -> None:
    found = problems(chart("BARS", node(name, *LEAVES[UNKNOWN][:1] * 101)))
    assert f"charts[0].dataset.{name}.sources" in dict(found)


@pytest.mark.parametrize("name", ["index", "ratio"])
@pytest.mark.parametrize("place", [0, 1])
def test_source_that_does_not_fit_is_reported_at_its_own_place(name: str, place: int) -> None:
    sources = [LEAVES[UNKNOWN][0]] * 2
    sources[place] = LEAVES[BUCKETS][0]
    found = problems(chart(chart_that_shows(TAKES[name][2]), node(name, *sources)))
    assert [path for path, _ in found] == [f"charts[0].dataset.{name}.sources[{place}]"]


def test_texts_say_what_is_there_and_what_is_wanted() -> None:
    found = problems(
        chart("METRIC", LEAVES[KEY_VALUE][0]),
        chart("BARS", LEAVES[NUMBER][0]),
        chart("PIE", node("index", LEAVES[KEY_VALUE][0])),
        chart("RADAR", node("to_percentages", LEAVES[NUMBER][0])),
        chart("AREA", node("join")),
    )
    assert found == [
        ("charts[0].dataset", "is key/value: a Metric shows a number"),
        ("charts[1].dataset", "is a number: Bars show key/value, key/values or buckets"),
        ("charts[2].dataset.index.sources", "holds 1 source: index takes two"),
        (
            "charts[3].dataset.to_percentages.sources[0]",
            "is a number: to-percentages takes key/value, key/values or buckets",
        ),
        ("charts[4].dataset.join.sources", "holds no sources: join takes at least one"),
    ]


def test_all_problems_of_a_content_come_at_once_and_none_twice() -> None:
    bad_ratio = node("ratio", LEAVES[KEY_VALUE][0], node("index", LEAVES[NUMBER][0]), LEAVES[BUCKETS][0])
    found = problems(
        chart("METRIC", bad_ratio),
        chart("METRIC", node("format_dates", LEAVES[NUMBER][0])),
        chart("PIE", node("join", node("to_percentages", LEAVES[NUMBER][0]))) | {"title": "x" * 201},
        chart("AREA", node("to_list", bad_ratio)),
    )
    ratio = ["ratio.sources", *(f"ratio.sources[{place}]" for place in range(3))]
    ratio += ["ratio.sources[1].index.sources", "ratio.sources[1].index.sources[0]"]
    assert sorted(path for path, _ in found) == sorted(
        [
            *(f"charts[0].dataset.{path}" for path in ratio),
            "charts[1].dataset.format_dates.sources[0]",
            "charts[2].dataset.join.sources[0].to_percentages.sources[0]",
            "charts[2].dataset",
            "charts[2].title",
            *(f"charts[3].dataset.to_list.sources[0].{path}" for path in ratio),
        ]
    )


def test_no_more_than_a_hundred_problems_are_told() -> None:
    assert len(problems(*[chart("METRIC", LEAVES[BUCKETS][0])] * 150)) == 100


# Depth


def chain(levels: int, leaf: Json) -> Json:
    for _ in range(levels - 1):
        leaf = node("to_percentages", leaf)
    return leaf


@pytest.mark.parametrize("levels", [17, 18, 30, 40])
def test_dataset_of_more_than_16_levels_is_refused_at_its_17th(levels: int) -> None:
    assert problems(chart("BARS", chain(16, LEAVES[KEY_VALUE][0]))) == []
    found = problems(chart("BARS", chain(levels, LEAVES[KEY_VALUE][0])))
    assert [path for path, _ in found] == ["charts[0].dataset" + ".to_percentages.sources[0]" * 16]


@pytest.mark.parametrize("name", ["format_dates", "get_decorators"])
@pytest.mark.parametrize("levels", [5, 6, 30])
def test_options_of_more_than_4_levels_of_buckets_are_refused_at_the_5th(name: str, levels: int) -> None:
    ((field_name, options),) = OPTIONS[name].items()

    def found(levels: int) -> list[tuple[str, str]]:
        nested = options
        for _ in range(levels):
            nested = options | {"buckets": nested}
        dataset = {name: {"sources": LEAVES[BUCKETS][:1], field_name: nested}}
        return problems(chart("BARS", dataset))

    snake = {"dateOptions": "date_options", "decoratorsOptions": "decorators_options"}[field_name]
    assert found(4) == []
    assert [path for path, _ in found(levels)] == [f"charts[0].dataset.{name}.{snake}" + ".buckets" * 5]


# Any tree, against the tables above


@dataclass
class Tree:
    """A tree of datasets with the problems that it has, by paths from its own node, and its kind."""

    dataset: Json
    kind: str
    problems: list[str] = field(default_factory=list[str])


def grown(name: str, sources: list[Tree]) -> Tree:
    counts, takes, gives = TAKES[name]
    found = [] if len(sources) in counts else [f".{name}.sources"]
    kinds: list[str] = []
    for index, source in enumerate(sources):
        path = f".{name}.sources[{index}]"
        found += [f"{path}{problem}" for problem in source.problems]
        fits = source.kind in takes | {UNKNOWN}
        found += [] if fits else [path]
        kinds.append(source.kind if fits else UNKNOWN)
    kind = gives or (kinds[0] if len(kinds) == 1 else UNKNOWN)
    return Tree(node(name, *(source.dataset for source in sources)), kind, found)


leaves = st.sampled_from([Tree(leaf, kind) for kind in LEAVES for leaf in LEAVES[kind]])
trees = st.recursive(
    leaves,
    lambda inner: st.builds(grown, st.sampled_from(list(TAKES)), st.lists(inner, max_size=3)),
    max_leaves=12,
)


@settings(PROFILE, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(list(SHOWS)), trees), min_size=1, max_size=3))
def test_any_dataset_is_refused_exactly_where_the_tables_say(drawn: list[tuple[str, Tree]]) -> None:
    found = problems(*(chart(chart_type, tree.dataset) for chart_type, tree in drawn))
    expected = [
        *itertools.chain.from_iterable(
            [f"charts[{index}].dataset{problem}" for problem in tree.problems]
            for index, (_, tree) in enumerate(drawn)
        ),
        *(
            f"charts[{index}].dataset"
            for index, (chart_type, tree) in enumerate(drawn)
            if tree.kind not in SHOWS[chart_type] | {UNKNOWN}
        ),
    ]
    assert sorted(path for path, _ in found) == sorted(expected)
