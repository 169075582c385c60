"""What kind of data each dataset gives, and which datasets can't be drawn.

A dataset is a tree: its leaves are data sources, its inner nodes transformations of what lies below.
The two tables say which kinds of data a transformation takes and gives, and which a chart shows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from dashkeeper.errors import Violation, counted
from dashkeeper.gen.registrations.v1.chart_pb import ChartType
from dashkeeper.gen.registrations.v1.dataset_pb import FormatDates, GetDecorators
from dashkeeper.gen.registrations.v1.source_pb import (
    AnalyticsSource,
    DataFileSource,
    OtherSource,
    OtqlSource,
)
from dashkeeper.services import dates

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from dashkeeper.gen.registrations.v1.chart_pb import Chart
    from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
    from dashkeeper.gen.registrations.v1.report_request_pb import ReportRequest
    from dashkeeper.gen.registrations.v1.transformation_options_pb import DateOptions, DecoratorsOptions
    from dashkeeper.paths import Path

MAX_DEPTH = 16
"""The most nodes from a dataset down to a leaf, both counted."""

MAX_BUCKETS = 4
"""The deepest that `buckets` nest."""


class Kind(StrEnum):
    """What a dataset gives."""

    NUMBER = "a number"
    KEY_VALUE = "key/value"
    KEY_VALUES = "key/values"
    BUCKETS = "buckets"
    UNKNOWN = "unknown"
    """Known to the data source alone: fits anywhere."""


class Transformation(NamedTuple):
    """What a transformation takes and gives."""

    least: int
    """How many sources it takes at least."""
    most: int | None
    """How many it takes at most; None stands for as many as there may be."""
    takes: frozenset[Kind]
    gives: Kind | None
    """None: what it takes."""


_ANY = frozenset(Kind) - {Kind.UNKNOWN}
_NUMBER = frozenset({Kind.NUMBER})
_KEY_VALUE = frozenset({Kind.KEY_VALUE})
_SERIES = _KEY_VALUE | {Kind.KEY_VALUES}
_KEYS = _KEY_VALUE | {Kind.BUCKETS}
_KEYS_OR_SERIES = _SERIES | {Kind.BUCKETS}

TRANSFORMATIONS: Mapping[str, Transformation] = {
    "to_list": Transformation(1, None, _NUMBER, Kind.KEY_VALUE),
    "join": Transformation(1, None, _KEY_VALUE, Kind.KEY_VALUES),
    "to_percentages": Transformation(1, 1, _KEYS_OR_SERIES, None),
    "ratio": Transformation(2, 2, _NUMBER, Kind.NUMBER),
    "index": Transformation(2, 2, _KEY_VALUE, Kind.KEY_VALUE),
    "reduce": Transformation(1, 1, _ANY, Kind.NUMBER),
    "format_dates": Transformation(1, 1, _KEYS_OR_SERIES, None),
    "get_decorators": Transformation(1, 1, _KEYS_OR_SERIES, None),
}
"""By the field of a Dataset that holds it."""

CHARTS: Mapping[ChartType, tuple[str, frozenset[Kind]]] = {
    ChartType.PIE: ("a Pie", _KEYS),
    ChartType.BARS: ("Bars", _KEYS_OR_SERIES),
    ChartType.RADAR: ("a Radar", _SERIES),
    ChartType.METRIC: ("a Metric", _NUMBER),
    ChartType.AREA: ("an Area", _SERIES),
}
"""What each type of chart is called, and the kinds that it can show."""


def problems(chart: Chart, path: Path) -> Iterator[Violation]:
    """Find what keeps a chart's dataset from being drawn, each problem once and at its node.

    No node below the sixteenth is looked at, so that no depth does harm.
    """
    if chart.dataset is None:
        return
    path = (*path, "dataset")
    kind = yield from _examine(chart.dataset, path, 1)
    if chart.type in CHARTS:
        name, shown = CHARTS[chart.type]
        if not _fits(kind, shown):
            verb = "show" if name == "Bars" else "shows"
            yield Violation(path, f"is {kind}: {name} {verb} {_in_words(shown)}")


def nodes(dataset: Dataset, path: Path) -> Iterator[tuple[Path, Dataset]]:
    """Walk over the nodes of a tree with their paths, from the top, not deeper than sixteen of them."""
    pending = [(path, dataset, 1)]
    while pending:
        path, dataset, depth = pending.pop()
        yield path, dataset
        if depth < MAX_DEPTH:
            sources = _sources(dataset, path)
            pending += [(inner, source, depth + 1) for inner, source in reversed(sources)]


def _examine(dataset: Dataset, path: Path, depth: int) -> Generator[Violation, None, Kind]:
    """Yield what is wrong in a tree; return its kind."""
    if depth > MAX_DEPTH:
        yield Violation(path, f"nests too deep: a dataset has at most {MAX_DEPTH} levels")
        return Kind.UNKNOWN
    if dataset.node is None:
        return Kind.UNKNOWN
    value = dataset.node.value
    if isinstance(value, AnalyticsSource):
        return (yield from _examine_query(value.query_json, (*path, dataset.node.field, "query_json")))
    if isinstance(value, OtqlSource | DataFileSource | OtherSource):
        return Kind.UNKNOWN
    if isinstance(value, FormatDates):
        yield from _bucket_problems(value.date_options, (*path, dataset.node.field, "date_options"))
    elif isinstance(value, GetDecorators):
        yield from _bucket_problems(
            value.decorators_options, (*path, dataset.node.field, "decorators_options")
        )

    name = dataset.node.field.replace("_", "-")
    transformation = TRANSFORMATIONS[dataset.node.field]
    sources = _sources(dataset, path)
    if wanted := _wanted_count(transformation, len(sources)):
        held = counted(len(sources), "source")
        yield Violation((*path, dataset.node.field, "sources"), f"holds {held}: {name} takes {wanted}")
    kinds: list[Kind] = []
    for source_path, source in sources:
        kind = yield from _examine(source, source_path, depth + 1)
        if not _fits(kind, transformation.takes):
            yield Violation(source_path, f"is {kind}: {name} takes {_in_words(transformation.takes)}")
            kind = Kind.UNKNOWN
        kinds.append(kind)
    if transformation.gives is not None:
        return transformation.gives
    return kinds[0] if len(kinds) == 1 else Kind.UNKNOWN


def _sources(dataset: Dataset, path: Path) -> Sequence[tuple[Path, Dataset]]:
    """Return the sources of a node with their paths; a leaf has none."""
    if dataset.node is None:
        return ()
    value = dataset.node.value
    if isinstance(value, AnalyticsSource | OtqlSource | DataFileSource | OtherSource):
        return ()
    path = (*path, dataset.node.field, "sources")
    return [((*path, index), source) for index, source in enumerate(value.sources)]


def _examine_query(query: ReportRequest | None, path: Path) -> Generator[Violation, None, Kind]:
    """Yield what is wrong in an analytics query; return the kind of its results."""
    if query is None:
        return Kind.UNKNOWN
    yield from dates.problems(query, path)
    match len(query.dimensions), len(query.metrics):
        case 0, 1:
            return Kind.NUMBER
        case 1, 1:
            return Kind.KEY_VALUE
        case 1, metrics if metrics > 1:
            return Kind.KEY_VALUES
        case dimensions, _ if dimensions > 1:
            return Kind.BUCKETS
        case _:
            return Kind.UNKNOWN


def _fits(kind: Kind, wanted: frozenset[Kind]) -> bool:
    return kind is Kind.UNKNOWN or kind in wanted


def _wanted_count(transformation: Transformation, count: int) -> str:
    """Say how many sources are needed, if there are more or fewer."""
    least, most = transformation.least, transformation.most
    if count >= least and (most is None or count <= most):
        return ""
    return "at least one" if most is None else ("one", "two")[most - 1]


def _in_words(kinds: frozenset[Kind]) -> str:
    *others, last = [kind for kind in Kind if kind in kinds]
    return f"{', '.join(others)} or {last}" if others else last


def _bucket_problems(options: DateOptions | DecoratorsOptions | None, path: Path) -> Iterator[Violation]:
    depth = 0
    while options is not None and options.buckets is not None:
        options, path, depth = options.buckets, (*path, "buckets"), depth + 1
        if depth > MAX_BUCKETS:
            yield Violation(path, f"nests too deep: buckets have at most {MAX_BUCKETS} levels")
            return
