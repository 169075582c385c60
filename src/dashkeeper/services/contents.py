"""The rules across the items of a content, and the form in which it is stored."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING

from dashkeeper.bounds import JSON_STRING, MAX_ITEMS, count_values
from dashkeeper.descriptors import folded
from dashkeeper.errors import Violation
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.gen.registrations.v1.source_pb import OtherSource
from dashkeeper.services import datasets
from dashkeeper.strict_json import StrictJSONError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dashkeeper.gen.registrations.v1.chart_pb import Chart
    from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
    from dashkeeper.gen.registrations.v1.filter_pb import Filter
    from dashkeeper.paths import Path

_MAX_CHARTS = 1_000
_MAX_JSON_DEPTH = 32

_OWN_KEYS = ("type", "series_title", "sources")
"""Keys that the JSON of an unknown source can't have: the dataset itself has them."""

_SPACE_BETWEEN = re.compile(rb"(%b)|[ \t\n\r]+" % JSON_STRING.pattern, re.DOTALL)


NODE_NAMES = {
    folded(field.name): field.name for field in Dataset.desc().oneofs[0].fields if field.name != "other"
}
"""The fields of a Dataset for the sources and transformations that are known, by their folded names."""

FRAGMENT_NAMES = {
    folded(name): name
    for name in (
        "OTQL",
        "activities_analytics",
        "collection_volumes",
        "resources_usage",
        "data_ingestion",
        "data_file",
    )
}
"""The types of a QueryFragment that are known, by their folded names."""


def problems(content: DashboardContent, path: Path) -> Iterator[Violation]:
    """Find every broken rule across the items of a content, each with its path."""
    yield from _filter_problems(content.available_filters, (*path, "available_filters"))
    count = 0
    for chart_path, chart in _charts(content, path):
        count += 1
        yield from datasets.problems(chart, chart_path)
    if count > _MAX_CHARTS:
        yield Violation((*path, "sections"), f"hold {count} charts: a content has at most {_MAX_CHARTS}")
    values = 0
    for source_path, source in _other_sources(content, path):
        if known := NODE_NAMES.get(folded(source.type)):
            yield Violation((*source_path, "type"), f"has a field of its own in Dataset: write it as {known}")
        elif source.type and not folded(source.type):
            yield Violation((*source_path, "type"), "must not be only - and _: name the data source")
        values += count_values(source.json.encode(errors="replace"))
        if values > MAX_ITEMS:
            text = f"is too much: the JSON of a content's sources holds at most {MAX_ITEMS} values"
            yield Violation((*source_path, "json"), text)
            return
        for problem in _json_problems(source.json):
            yield Violation((*source_path, "json"), str(problem))


def compacted(content: DashboardContent) -> DashboardContent:
    """Return a valid content as it is stored: the JSON of unknown sources without white space.

    All else stays as it was written, numbers and the order of keys too. The given content is left
    alone.
    """
    if all(source.json == _compacted_json(source.json) for _, source in _other_sources(content, ())):
        return content
    content = deepcopy(content)
    for _, source in _other_sources(content, ()):
        source.json = _compacted_json(source.json)
    return content


def _charts(content: DashboardContent, path: Path) -> Iterator[tuple[Path, Chart]]:
    for i, section in enumerate(content.sections):
        for j, card in enumerate(section.cards):
            for k, chart in enumerate(card.charts):
                yield (*path, "sections", i, "cards", j, "charts", k), chart


def _other_sources(content: DashboardContent, path: Path) -> Iterator[tuple[Path, OtherSource]]:
    for chart_path, chart in _charts(content, path):
        if chart.dataset is not None:
            for node_path, node in datasets.nodes(chart.dataset, (*chart_path, "dataset")):
                if node.node is not None and isinstance(node.node.value, OtherSource):
                    yield (*node_path, "other"), node.node.value


def _filter_problems(filters: Sequence[Filter], path: Path) -> Iterator[Violation]:
    first_with: dict[str, int] = {}
    for i, one in enumerate(filters):
        name = one.technical_name
        if name and (first := first_with.setdefault(name, i)) != i:
            yield Violation(
                (*path, i, "technical_name"),
                f"is also that of available_filters[{first}]: technical names must be unique",
            )
        for j, fragment in enumerate(one.query_fragments):
            known = FRAGMENT_NAMES.get(folded(fragment.type), fragment.type)
            if known != fragment.type:
                yield Violation((*path, i, "query_fragments", j, "type"), f"must be written as {known}")


def _json_problems(text: str) -> Iterator[Violation]:
    """Find what is wrong with the JSON of an unknown source, with paths within it."""
    if not text:
        return
    try:
        value = parse(text, max_depth=_MAX_JSON_DEPTH)
    except StrictJSONError as error:
        yield from error.problems
        return
    if not isinstance(value, dict):
        yield Violation((), "must be a JSON object")
        return
    for key in _OWN_KEYS:
        if key in value:
            yield Violation((key,), "is a field of the dataset or of a transformation: no key for this JSON")


def _compacted_json(text: str) -> str:
    return _SPACE_BETWEEN.sub(rb"\1", text.encode()).decode() or "{}"
