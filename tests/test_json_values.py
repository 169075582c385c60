"""JSON values that a field can't have: all are told at once, each with its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.api import Api

TILE = '"position":{"w":1,"h":1},"type":"TILE_TYPE_MARKDOWN","markdown":{"content":"a"}'
WRONG: dict[str, tuple[str, str, set[str]]] = {
    "text-number": ("Create", '{"name":5}', {"name"}),
    "flag-as-text": ("Create", '{"name":"a","validateOnly":"true"}', {"validate_only"}),
    "number-fraction": ("Create", '{"name":"a","tiles":[{"position":{"w":1.5}}]}', {"tiles[0].position.w"}),
    "number-too-large": (
        "Create",
        '{"name":"a","tiles":[{"position":{"w":99999999999}}]}',
        {"tiles[0].position.w"},
    ),
    "tile-null": ("Create", f'{{"name":"a","tiles":[{{{TILE}}},null]}}', {"tiles[1]"}),
    "tiles-an-object": ("Upsert", '{"dashboardId":"a","tiles":{}}', {"tiles"}),
    "labels-an-array": ("Create", '{"name":"a","labels":[]}', {"labels"}),
    "label-null": ("Create", '{"name":"a","labels":{"team":null}}', {'labels["team"]'}),
    "time": (
        "Upsert",
        '{"dashboardId":"a","tiles":[{"insight":{"query":{"timeRange":{"start":"2024-13-01T00:00:00Z"}}}}]}',
        {"tiles[0].insight.query.time_range.start"},
    ),
    "duration": (
        "Upsert",
        '{"dashboardId":"a","tiles":[{"insight":{"query":{"conversionWindow":"1h"}}}]}',
        {"tiles[0].insight.query.conversion_window"},
    ),
    "mask": ("Update", '{"id":"a","updateMask":{"paths":["name"]}}', {"update_mask"}),
    "enum-fraction": ("Create", '{"name":"a","tiles":[{"type":1.5}]}', {"tiles[0].type"}),
    "several": (
        "Create",
        '{"name":[],"nam":1,"tiles":[{"title":1,"type":"TILE","position":[]}]}',
        {"name", "nam", "tiles[0].title", "tiles[0].type", "tiles[0].position"},
    ),
}


@pytest.mark.parametrize(("method", "body", "paths"), WRONG.values(), ids=WRONG)
def test_json_value_of_the_wrong_kind_is_refused_with_its_path(
    one_api: Api, method: str, body: str, paths: set[str]
) -> None:
    reply = one_api.send(method, body.encode())
    assert reply.code == "invalid_argument"
    assert set(reply.violations) == paths
    assert "class" not in reply.message, "words of Python's"


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**63, 2**64])
def test_enum_number_beyond_32_bits_is_refused(one_api: Api, number: int) -> None:
    tile = TILE.replace('"TILE_TYPE_MARKDOWN"', str(number))
    body = f'{{"name":"a","tiles":[{{{tile}}}]}}'
    assert one_api.send("Create", body.encode()).code == "invalid_argument"


def test_update_mask_of_a_million_paths_is_refused_before_it_is_decoded(one_api: Api) -> None:
    reply = one_api.send("Update", b'{"id":"a","updateMask":"' + b"," * 1_000_000 + b'"}')
    assert reply.code == "resource_exhausted"
