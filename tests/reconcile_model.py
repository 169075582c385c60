"""What a full reconcile does, told naively from the specification ("Upsert: full reconcile").

Only tuples and lists, every question asked of the whole list again: slow, and plain enough to be
compared with the text line by line. Nothing here is taken from the implementation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Place(NamedTuple):
    """Where a tile stands."""

    x: int
    y: int


class ModelTile(NamedTuple):
    """A tile: its id (empty: none yet), its place, and all the rest of it."""

    id: str
    place: Place
    rest: tuple[object, ...]


@dataclass
class ModelChanges:
    """The ids of the tiles, by what was done to them."""

    created: list[str] = field(default_factory=list[str])
    updated: list[str] = field(default_factory=list[str])
    moved: list[str] = field(default_factory=list[str])
    deleted: list[str] = field(default_factory=list[str])
    unchanged: list[str] = field(default_factory=list[str])


def model_reconcile(
    stored: Sequence[ModelTile], sent: Sequence[ModelTile], new_ids: Iterator[str]
) -> tuple[list[ModelTile], ModelChanges]:
    """Return the tiles after an Upsert, and what it changed."""
    result = _with_ids(stored, sent, new_ids)
    return result, _changes(stored, result)


def _with_ids(
    stored: Sequence[ModelTile], sent: Sequence[ModelTile], new_ids: Iterator[str]
) -> list[ModelTile]:
    named = [tile.id for tile in sent if tile.id != ""]
    given: dict[int, str] = {}  # index in the request → id

    # Pass 1: a stored tile equal in all but id.
    for index, tile in enumerate(sent):
        if tile.id == "":
            for other in stored:
                if other.id in named or other.id in given.values():
                    continue
                if (other.place, other.rest) == (tile.place, tile.rest):
                    given[index] = other.id
                    break

    # Pass 2: equal in all but id and position.
    for index, tile in enumerate(sent):
        if tile.id == "" and index not in given:
            for other in stored:
                if other.id in named or other.id in given.values():
                    continue
                if other.rest == tile.rest:
                    given[index] = other.id
                    break

    # The rest get new ids.
    for index, tile in enumerate(sent):
        if tile.id == "" and index not in given:
            given[index] = next(new_ids)

    return [tile._replace(id=given.get(index, tile.id)) for index, tile in enumerate(sent)]


def _changes(stored: Sequence[ModelTile], result: Sequence[ModelTile]) -> ModelChanges:
    old_ids = [tile.id for tile in stored]
    new_ids = [tile.id for tile in result]
    # The tiles that are in both arrays, in the order of each.
    old_common = [tile_id for tile_id in old_ids if tile_id in new_ids]
    new_common = [tile_id for tile_id in new_ids if tile_id in old_ids]

    changes = ModelChanges()
    for tile in result:
        before = [other for other in stored if other.id == tile.id]
        if not before:
            changes.created.append(tile.id)
        elif before[0].rest != tile.rest:
            changes.updated.append(tile.id)
        elif before[0].place != tile.place or old_common.index(tile.id) != new_common.index(tile.id):
            changes.moved.append(tile.id)
        else:
            changes.unchanged.append(tile.id)
    for tile in stored:
        if tile.id not in new_ids:
            changes.deleted.append(tile.id)
    return changes
