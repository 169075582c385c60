"""Paths and texts of violations, from the message's terms to the body's."""

from __future__ import annotations

from typing import Any

import pytest

from dashkeeper.gen.registrations.v1.contents_pb import UpdateContentRequest
from dashkeeper.gen.registrations.v1.dataset_pb import Dataset
from dashkeeper.paths import Key, Path, written
from dashkeeper.transport.rest.paths import in_words, translated

FIRST_CHART = "sections[0].cards[0].charts[0]"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("content",), ""),
        (("content", "sections", 0, "cards", 1, "w"), "sections[0].cards[1].w"),
        (
            ("content", "sections", 0, "cards", 1, "charts", 2, "pie_options", "legend"),
            "sections[0].cards[1].charts[2].options.legend",
        ),
        (
            ("content", "sections", 0, "cards", 1, "charts", 2, "options"),
            "sections[0].cards[1].charts[2].options",
        ),
        (
            ("content", "sections", 0, "cards", 1, "charts", 2, "dataset", "node"),
            "sections[0].cards[1].charts[2].dataset.type",
        ),
        (
            ("content", "sections", 0, "cards", 1, "charts", 2, "dataset", "otql", "query"),
            "sections[0].cards[1].charts[2].dataset.query_id",
        ),
        (
            ("content", "available_filters", 0, "query_fragments", 1, "filters", "filters", 2, "operator"),
            "available_filters[0].query_fragments[1].fragment[2].operator",
        ),
        (
            ("content", "available_filters", 0, "query_fragments", 1, "text"),
            "available_filters[0].query_fragments[1].fragment",
        ),
        (("etag",), "If-Match"),
        (("change_message",), "X-Change-Message"),
        (("x-project-id",), "x-project-id"),
    ],
)
def test_a_path_of_the_message_becomes_one_of_the_body(path: Path, expected: str) -> None:
    assert written(translated(path, UpdateContentRequest.desc())) == expected


@pytest.mark.parametrize("field", [field for field in Dataset.desc().fields if field.name != "series_title"])
def test_the_node_of_a_dataset_is_no_part_of_a_path(field: Any) -> None:
    source = ("content", "sections", 0, "cards", 0, "charts", 0, "dataset", "join", "sources", 3)
    inner = [inner.name for inner in field.value.message.fields]
    for name in inner:
        expected = {"json_path": ".JSON_path", "json": ""}.get(name, f".{name}")
        path = translated((*source, field.name, name), UpdateContentRequest.desc())
        assert written(path) == f"{FIRST_CHART}.dataset.sources[3]{expected}"


def test_an_odd_key_stands_in_brackets_and_a_long_one_is_cut() -> None:
    assert written(("labels", Key("team"))) == 'labels["team"]'
    assert written(("labels", Key("é\n"))) == r'labels["é\n"]'
    assert written(("tiles", 0, "a b")) == 'tiles[0]["a b"]'
    assert written(("\ud800é",)) == r'["\ud800\u00e9"]'
    assert written(("k" * 10_000,)) == f'["{"k" * 100}"]'


def test_texts_of_errors_are_in_the_words_of_the_seed() -> None:
    assert in_words("must not be CHART_TYPE_PIE") == 'must not be "Pie"'
    assert in_words("INVALID_ARGUMENT stays") == "INVALID_ARGUMENT stays"
