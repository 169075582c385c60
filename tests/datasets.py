"""Hypothesis strategies for datasets that break no rule, and for the values that they are made of."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import strategies as st
from protobuf import Oneof

from dashkeeper.gen.registrations.v1 import dataset_pb, report_request_pb, source_pb
from dashkeeper.gen.registrations.v1 import transformation_options_pb as transformation_pb
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset

if TYPE_CHECKING:
    from enum import IntEnum

    from hypothesis.strategies import SearchStrategy
    from protobuf import Message

Kind = Literal["number", "key/value", "key/values", "buckets"]

KINDS: tuple[Kind, ...] = ("number", "key/value", "key/values", "buckets")
MAX_INT32 = 2**31 - 1
MAX_JSON_INT = 2**53 - 1
MAX_DEPTH = 16
_GROWN_DEPTH = 4  # of a tree that isn't wrapped further

ANALYTICS = ("activities_analytics", "collection_volumes", "resources_usage", "data_ingestion")
NODES = (
    "otql",
    *ANALYTICS,
    "data_file",
    *("to_list", "join", "to_percentages", "ratio", "index", "reduce", "format_dates", "get_decorators"),
)

ODD_TEXTS = (
    " ",
    "0",
    "null",
    "é",
    "e\u0301",  # the same to look at
    "İstanbul ß ŉ",
    "中文",
    "עִבְרִית \u202eabc",  # from right to left
    "👩\u200d👩\u200d👧 🏳️",
    "\ufeff\u2028\u2029\u200b",
    "\uffff\U0010ffff\ufdd0",
    "\"'\\/\\u0000 <b>&amp;</b> %s {} ${x} `",
)

characters = st.characters(exclude_categories=("Cs", "Cc"))
flags = st.booleans()
doubles = st.sampled_from((0.0, -0.0, 1.0, 0.1, -2.5, 1e308, -1e308, 5e-324, 2.0**53, 1e16)) | st.floats(
    allow_nan=False, allow_infinity=False
)
positive_doubles = st.sampled_from((5e-324, 0.5, 120.0, 1e308)) | st.floats(
    min_value=0, exclude_min=True, allow_infinity=False
)


def maybe(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Return a strategy for a field with presence: None leaves it absent."""
    return st.none() | strategy


def tagged(name: str, values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Return a strategy for a oneof in which this field is set."""
    return st.builds(Oneof, st.just(name), values)


def texts(
    min_size: int = 0, max_size: int = 8, alphabet: SearchStrategy[str] = characters
) -> SearchStrategy[str]:
    """Return a strategy for texts, odd ones among them."""
    return st.sampled_from(ODD_TEXTS) | st.text(alphabet, min_size=min_size, max_size=max_size)


titles = texts() | st.just("t" * 200) | st.just("\U0001d495" * 200)
names = texts(min_size=1)
ids = st.sampled_from(("1", "701", "007", "x" * 128)) | names
query_texts = st.sampled_from(
    ("SELECT {id} FROM UserPoint", "SELECT @count{}\n\tFROM UserPoint\r\n")
) | texts(min_size=1, alphabet=characters | st.sampled_from("\t\r\n"))


def words(enum: type[IntEnum], *excluded: IntEnum) -> SearchStrategy[Any]:
    """Return a strategy for an enum's values other than 0."""
    return st.sampled_from([word for word in enum if word and word not in excluded])


def folded(name: str) -> str:
    """Return a name without what doesn't tell two names apart."""
    return re.sub("[-_]", "", name).casefold()


KNOWN_NAMES = frozenset(map(folded, NODES))

# Sources

json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | flags
    | st.integers(-MAX_JSON_INT, MAX_JSON_INT)
    | doubles
    | texts(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=6,
)


def _deep(levels: int) -> Any:
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": value}
    return {"deep": value}


json_objects = st.dictionaries(
    texts().filter(lambda key: key not in {"type", "series_title", "sources"}), json_values, max_size=3
) | st.just(_deep(31))


def _json_text(value: Any, indent: int | None, *, ascii_only: bool) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only)


json_texts = st.sampled_from(("", "{}", ' {\n"a" :\t[ ] , "b":1.0, "c":1e2, "d":-0, "\\u00e9":"\\/"} ')) | (
    st.builds(_json_text, json_objects, st.sampled_from((None, 0, 2)), ascii_only=flags)
)

other_names = st.sampled_from(("my_source", "user-points", "otql2", "to-lists", "x" * 128)) | names.filter(
    lambda name: folded(name) not in KNOWN_NAMES
)
other_sources = st.builds(source_pb.OtherSource, type=other_names, json=json_texts)

otql_sources = st.builds(
    source_pb.OtqlSource,
    query=tagged("query_id", ids) | tagged("query_text", query_texts),
    precision=maybe(words(source_pb.Precision)),
    adapt_to_scope=maybe(flags),
    datamart_id=maybe(ids),
)
data_file_sources = st.builds(source_pb.DataFileSource, uri=names, json_path=maybe(texts()))

expressions = st.lists(st.just("$values") | texts(), max_size=2)
dimension_filters = st.builds(
    report_request_pb.DimensionFilter,
    dimension_name=names,
    operator=maybe(words(report_request_pb.DimensionFilterOperator)),
    expressions=expressions,
    not_=maybe(flags),
    case_sensitive=maybe(flags),
)
metric_filters = st.builds(
    report_request_pb.MetricFilter,
    metric_name=names,
    operator=maybe(words(report_request_pb.MetricFilterOperator)),
    expressions=expressions,
    not_=maybe(flags),
)
times = st.sampled_from(
    (
        "now",
        "now/d",
        "now-7d/d",
        "now-1M+2d/M",
        "2026-01-31",
        "2026-01-31T10:00",
        "2026-01-31T10:00:00.123Z",
        "2026-01-31T10:00:00+0200",
    )
)


def _counts(kind: Kind | None) -> tuple[SearchStrategy[int], SearchStrategy[int]]:
    """Return how many dimensions and metrics a query of a kind has; None stands for one that isn't known."""
    one, several = st.just(1), st.integers(2, 3)
    match kind:
        case "number":
            return st.just(0), one
        case "key/value":
            return one, one
        case "key/values":
            return one, several
        case "buckets":
            return several, one | several
        case None:
            return st.just(0), several


@cache
def report_requests(kind: Kind | None) -> SearchStrategy[Any]:
    """Return a strategy for analytics queries of a kind."""
    dimensions, metrics = _counts(kind)
    dimension = st.builds(report_request_pb.ReportDimension, name=names)
    metric = st.builds(report_request_pb.ReportMetric, expression=names, alias=maybe(texts()))
    return st.builds(
        report_request_pb.ReportRequest,
        dimensions=dimensions.flatmap(lambda count: st.lists(dimension, min_size=count, max_size=count)),
        metrics=metrics.flatmap(lambda count: st.lists(metric, min_size=count, max_size=count)),
        date_ranges=st.lists(
            st.builds(report_request_pb.DateRange, start_date=times, end_date=times), max_size=2
        ),
        dimension_filter_clauses=maybe(
            st.builds(
                report_request_pb.DimensionFilterClauses,
                operator=maybe(words(report_request_pb.BooleanOperator)),
                filters=st.lists(dimension_filters, min_size=1, max_size=2),
            )
        ),
        metric_filter_clauses=maybe(
            st.builds(
                report_request_pb.MetricFilterClauses,
                operator=maybe(words(report_request_pb.BooleanOperator)),
                filters=st.lists(metric_filters, min_size=1, max_size=2),
            )
        ),
        order_by=maybe(
            st.builds(
                report_request_pb.ReportOrder,
                field_name=names,
                sort_order=maybe(words(report_request_pb.SortOrder)),
            )
        ),
        sample_factor=maybe(
            st.sampled_from((5e-324, 0.1, 1.0)) | st.floats(min_value=0, max_value=1, exclude_min=True)
        ),
        first_result=maybe(st.sampled_from((0, 1, MAX_INT32))),
        max_result=maybe(st.sampled_from((0, 10, MAX_INT32))),
    )


@cache
def analyticstagged(kind: Kind | None) -> SearchStrategy[Any]:
    """Return a strategy for the node of an analytics source that gives a kind."""
    sources = st.builds(
        source_pb.AnalyticsSource,
        query_json=report_requests(kind),
        adapt_to_scope=maybe(flags),
        datamart_id=maybe(ids),
    )
    return st.builds(Oneof, st.sampled_from(ANALYTICS), sources)


unknown_nodes = (
    tagged("otql", otql_sources)
    | tagged("data_file", data_file_sources)
    | tagged("other", other_sources)
    | analyticstagged(None)
)

# Transformations

index_options = st.builds(
    transformation_pb.IndexOptions,
    minimum_percentage=maybe(
        st.sampled_from((0.0, -0.0, 5e-324, 100.0)) | st.floats(min_value=0, max_value=100)
    ),
    sort=maybe(words(transformation_pb.IndexSort)),
    limit=maybe(st.sampled_from((1, 10, MAX_INT32))),
)
reduce_options = st.builds(transformation_pb.ReduceOptions, type=words(transformation_pb.ReduceType))


@cache
def _bucketed(message: type[Message], field: str, values: SearchStrategy[Any], below: int) -> Any:
    """Return a strategy for options that go some levels of buckets down, each level saying something."""
    said = st.builds(message, **{field: values})
    if not below:
        return said
    further = _bucketed(message, field, values, below - 1)
    return said | st.builds(message, **{field: maybe(values)}, buckets=further)


date_options = _bucketed(
    transformation_pb.DateOptions, "format", st.sampled_from(("YYYY-MM", "x" * 100)) | names, 4
)
decorators_options = _bucketed(
    transformation_pb.DecoratorsOptions, "model_type", words(transformation_pb.ModelType), 4
)


def _dataset(nodes: SearchStrategy[Any]) -> SearchStrategy[Dataset]:
    return st.builds(Dataset, series_title=maybe(titles), node=nodes)


def _taking(
    name: str, message: type[Message], sources: SearchStrategy[Any], counts: tuple[int, int], **own: Any
) -> SearchStrategy[Any]:
    least, most = counts
    lists = st.lists(sources, min_size=least, max_size=most)
    return tagged(name, st.builds(message, sources=lists, **own))


@cache
def datasets(kind: Kind, levels: int = _GROWN_DEPTH) -> SearchStrategy[Dataset]:
    """Return a strategy for datasets that can be shown as a kind, of some levels at most."""
    leaves = analyticstagged(kind) | unknown_nodes
    if levels == 1:
        return _dataset(leaves)
    below = levels - 1
    same = datasets(kind, below)
    percentages = _taking("to_percentages", dataset_pb.ToPercentages, same, (1, 1))
    dates = _taking("format_dates", dataset_pb.FormatDates, same, (1, 1), date_options=date_options)
    decorators = _taking(
        "get_decorators", dataset_pb.GetDecorators, same, (1, 1), decorators_options=decorators_options
    )
    match kind:
        case "number":
            any_kind = st.sampled_from(KINDS).flatmap(lambda taken: datasets(taken, below))
            inner = _taking("ratio", dataset_pb.Ratio, same, (2, 2)) | _taking(
                "reduce", dataset_pb.Reduce, any_kind, (1, 1), reduce_options=reduce_options
            )
        case "key/value":
            inner = (
                _taking("to_list", dataset_pb.ToList, datasets("number", below), (1, 3))
                | _taking("index", dataset_pb.Index, same, (2, 2), options=maybe(index_options))
                | percentages
                | dates
                | decorators
            )
        case "key/values":
            joined = _taking("join", dataset_pb.Join, datasets("key/value", below), (1, 3))
            inner = joined | percentages | dates | decorators
        case "buckets":
            inner = percentages | dates | decorators
    return _dataset(leaves | inner)


def _wrapped(dataset: Dataset, times: int, kind: Kind) -> Dataset:
    """Put a dataset some levels down: the kind stays the same."""
    for _ in range(times):
        sources = [dataset]
        if kind == "number":
            options = transformation_pb.ReduceOptions(type=transformation_pb.ReduceType.SUM)
            dataset = Dataset(
                node=Oneof("reduce", dataset_pb.Reduce(sources=sources, reduce_options=options))
            )
        else:
            dataset = Dataset(node=Oneof("to_percentages", dataset_pb.ToPercentages(sources=sources)))
    return dataset


@cache
def deep_datasets(kind: Kind) -> SearchStrategy[Dataset]:
    """Return a strategy for datasets like `datasets`, some of them as deep as is allowed."""
    times = st.sampled_from((*[0] * 9, MAX_DEPTH - _GROWN_DEPTH))
    return st.builds(_wrapped, datasets(kind), times, st.just(kind))
