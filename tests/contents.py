"""Hypothesis strategies for contents of registrations that break no rule: all that the schema can say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from dashkeeper.gen.registrations.v1 import chart_options_pb as options_pb
from dashkeeper.gen.registrations.v1.chart_pb import Chart, ChartType
from dashkeeper.gen.registrations.v1.content_pb import Card, DashboardContent, Section
from dashkeeper.gen.registrations.v1.filter_pb import (
    DimensionFilterList,
    Filter,
    QueryFragment,
    ValuesRetrieveMethod,
)
from dashkeeper.gen.registrations.v1.layout_pb import Layout
from tests.datasets import (
    ANALYTICS,
    deep_datasets,
    dimension_filters,
    doubles,
    flags,
    folded,
    maybe,
    names,
    other_names,
    positive_doubles,
    query_texts,
    tagged,
    titles,
    words,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from protobuf import Message

    from tests.datasets import Kind


# The same examples at every run: a failure in CI is the same failure everywhere.
PROFILE = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow,),
)

F = options_pb.ChartFormat
heights = st.sampled_from((1, 300, 10_000))
legends = st.builds(
    options_pb.Legend,
    enabled=maybe(flags),
    position=maybe(words(options_pb.LegendPosition)),
    layout=maybe(words(Layout)),
)
tooltips = st.builds(options_pb.Tooltip, format=maybe(words(F, F.FLOAT)))
data_labels = st.builds(
    options_pb.DataLabels,
    enabled=maybe(flags),
    format=maybe(words(F, F.FLOAT)),
    distance=maybe(doubles),
    filter=maybe(
        st.builds(
            options_pb.DataLabelsFilter,
            property=names,
            operator=st.sampled_from((">", "<", ">=", "<=", "==", "===", "!=")),
            value=doubles,
        )
    ),
)
x_keys = st.builds(options_pb.XKey, key=maybe(names), mode=maybe(words(options_pb.XKeyMode)))


def _options(message: type[Message], **own: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.builds(message, **{name: maybe(strategy) for name, strategy in own.items()})


drawn = {"height": heights, "legend": legends, "tooltip": tooltips}
CHARTS: dict[ChartType, tuple[str, tuple[Kind, ...], SearchStrategy[Any]]] = {
    ChartType.PIE: (
        "pie_options",
        ("key/value", "buckets"),
        _options(
            options_pb.PieOptions,
            **drawn,
            format=words(F, F.INDEX, F.FLOAT),
            data_labels=data_labels,
            inner_radius=flags,
            is_half=flags,
            size=positive_doubles,
            drilldown=flags,
        ),
    ),
    ChartType.BARS: (
        "bars_options",
        ("key/value", "key/values", "buckets"),
        _options(
            options_pb.BarsOptions,
            **drawn,
            format=words(F, F.FLOAT),
            drilldown=flags,
            big_bars=flags,
            stacking=flags,
            plot_line_value=doubles,
            type=words(options_pb.BarsType),
            hide_x_axis=flags,
            hide_y_axis=flags,
            x_key=x_keys,
        ),
    ),
    ChartType.RADAR: (
        "radar_options",
        ("key/value", "key/values"),
        _options(
            options_pb.RadarOptions,
            **drawn,
            format=words(F, F.INDEX, F.FLOAT),
            data_labels=data_labels,
            x_key=x_keys,
        ),
    ),
    ChartType.METRIC: (
        "metric_options",
        ("number",),
        _options(options_pb.MetricOptions, format=words(F, F.INDEX)),
    ),
    ChartType.AREA: (
        "area_options",
        ("key/value", "key/values"),
        _options(
            options_pb.AreaOptions,
            **drawn,
            format=words(F, F.FLOAT),
            stacking=flags,
            plot_line_value=doubles,
            type=words(options_pb.AreaType),
            hide_x_axis=flags,
            hide_y_axis=flags,
            double_y_axis=flags,
            x_key=x_keys,
        ),
    ),
}


def _charts(chart_type: ChartType) -> SearchStrategy[Chart]:
    field, kinds, options = CHARTS[chart_type]
    return st.builds(
        Chart,
        title=maybe(titles),
        type=st.just(chart_type),
        colors=st.lists(st.sampled_from(("#00A1DF", "#ffffff", "#fD7c12")), max_size=2),
        dataset=st.sampled_from(kinds).flatmap(deep_datasets),
        options=maybe(tagged(field, options)),
    )


charts = st.sampled_from(list(CHARTS)).flatmap(_charts)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    """Return a card that lies on the grid."""
    x = draw(st.integers(0, 11))
    return Card(
        x=x,
        y=draw(st.sampled_from((0, 1, 10_000))),
        w=draw(st.integers(1, 12 - x)),
        h=draw(st.sampled_from((1, 4, 1_000))),
        layout=draw(maybe(words(Layout))),
        charts=draw(st.lists(charts, max_size=2)),
    )


# Filters

texts_of_fragments = tagged("text", st.just("channel_id IN $values") | query_texts)
lists_of_fragments = tagged(
    "filters",
    st.builds(DimensionFilterList, filters=st.lists(dimension_filters, min_size=1, max_size=2)),
)
KNOWN_FRAGMENT_NAMES = frozenset(map(folded, ("OTQL", "data_file", *ANALYTICS)))
other_fragment_names = other_names.filter(lambda name: folded(name) not in KNOWN_FRAGMENT_NAMES)
query_fragments = (
    st.builds(
        QueryFragment,
        type=st.just("OTQL"),
        starting_object_type=maybe(names),
        fragment=texts_of_fragments,
    )
    | st.builds(QueryFragment, type=st.just("data_file"), fragment=texts_of_fragments)
    | st.builds(
        QueryFragment,
        type=st.sampled_from(ANALYTICS) | other_fragment_names,
        fragment=texts_of_fragments | lists_of_fragments,
    )
)
values_queries = query_texts.filter(lambda text: not re.fullmatch(r"[ \t\r\n]*[0-9]*[ \t\r\n]*", text))
filters = st.builds(
    Filter,
    technical_name=st.sampled_from(("channels", "compartments", "segments", "Channels")) | names,
    title=maybe(titles),
    values_retrieve_method=maybe(words(ValuesRetrieveMethod)),
    values_query=values_queries,
    query_fragments=st.lists(query_fragments, max_size=2),
    multi_select=maybe(flags),
)

contents = st.builds(
    DashboardContent,
    available_filters=st.lists(filters, max_size=2, unique_by=lambda one: one.technical_name),
    sections=st.lists(
        st.builds(Section, title=maybe(titles), cards=st.lists(cards(), max_size=2)), max_size=2
    ),
)
