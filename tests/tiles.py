"""Tiles for tests, as ProtoJSON, and what answers say of them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, cast

Json = dict[str, Any]

PAYLOADS = Path(__file__).parent / "payloads"


def payload(name: str) -> Json:
    """Return a request of `payloads/`, by its file's name without the ending."""
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(
    tile_id: str = "", content: str = "text", *, x: int = 0, y: int = 0, w: int = 6, h: int = 2
) -> Json:
    """Return a Markdown tile; without an id, it says none."""
    tile: Json = {
        "type": "TILE_TYPE_MARKDOWN",
        "position": {"x": x, "y": y, "w": w, "h": h},
        "markdown": {"content": content},
    }
    return {"id": tile_id, **tile} if tile_id else tile


def insight(tile_id: str = "", event: str = "signup", *, x: int = 0, y: int = 0) -> Json:
    """Return an insight tile; without an id, it says none."""
    tile: Json = {
        "type": "TILE_TYPE_INSIGHT",
        "position": {"x": x, "y": y, "w": 6, "h": 4},
        "insight": {
            "query": {
                "events": [{"name": event}],
                "granularity": "GRANULARITY_DAY",
                "aggregation": "AGGREGATION_COUNT",
            },
            "visualization": "VISUALIZATION_LINE",
        },
    }
    return {"id": tile_id, **tile} if tile_id else tile


def as_answered(value: Any) -> Any:
    """Return a request's part as ProtoJSON answers it: numbers that are 0 and empty texts left out."""
    match value:
        case dict():
            items = cast("Json", value).items()
            return {key: as_answered(inner) for key, inner in items if inner not in (0, "")}
        case list():
            return [as_answered(inner) for inner in cast("list[Any]", value)]
        case _:
            return value


def time(text: str) -> datetime:
    """Return the time of a Timestamp as JSON, to be compared."""
    return datetime.fromisoformat(text)


def ids(tiles: list[Json]) -> list[str]:
    """Return the tiles' ids (or any items'), in their order."""
    return [tile["id"] for tile in tiles]
