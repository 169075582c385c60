"""Upsert's full reconcile: pure rules that turn the tiles of a request into those to store.

"The saved payload is the source of truth. Omitting a tile ID from the array deletes that tile."
(the seed). Tiles are compared by their bytes, so that fields of a newer client count too.
"""

from __future__ import annotations

from collections import defaultdict, deque
from copy import copy
from typing import TYPE_CHECKING

from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dashkeeper.gen.dashboards.v1.tile_pb import Tile


def reconcile(
    stored: Sequence[Tile], wanted: Sequence[Tile], new_id: Callable[[], str]
) -> tuple[list[Tile], TileChanges]:
    """Return the tiles to store, each with an id, and what that does to the stored ones.

    Args:
        stored: The dashboard's present tiles.
        wanted: The request's tiles; ids are unique, and may be empty.
        new_id: Makes an id for a tile that matches no stored one.
    """
    tiles = _with_ids(stored, wanted, new_id)
    return tiles, compare(stored, tiles)


def _with_ids(stored: Sequence[Tile], wanted: Sequence[Tile], new_id: Callable[[], str]) -> list[Tile]:
    """Give each tile without an id the id of an equal stored tile, or a new id.

    Tiles equal in all but id come first, over the whole request, then those equal in all but id
    and position; each time in the request's order over the stored order.
    """
    tiles = list(wanted)
    nameless = [index for index, tile in enumerate(tiles) if not tile.id]
    free = {tile.id: tile for tile in stored} if nameless else {}
    for tile in wanted:
        free.pop(tile.id, None)
    for but_position in (False, True):
        ids_by_content: defaultdict[bytes, deque[str]] = defaultdict(deque)
        for tile in free.values():
            ids_by_content[_content(tile, but_position=but_position)].append(tile.id)
        for index in nameless:
            tile = tiles[index]
            ids = ids_by_content.get(_content(tile, but_position=but_position)) if not tile.id else None
            if ids:
                tiles[index] = _with_id(tile, ids.popleft())
                del free[tiles[index].id]
    for index in nameless:
        if not tiles[index].id:
            tiles[index] = _with_id(tiles[index], new_id())
    return tiles


def compare(stored: Sequence[Tile], tiles: Sequence[Tile]) -> TileChanges:
    """Return what it does to the stored tiles to replace them by these, each of which has an id."""
    changes = TileChanges()
    old = {tile.id: tile for tile in stored}
    new_ids = {tile.id for tile in tiles}
    # Places are counted among the tiles of both arrays: what comes or goes moves no other tile.
    kept = [tile.id for tile in stored if tile.id in new_ids]
    places = {tile_id: place for place, tile_id in enumerate(kept)}
    place = 0
    for tile in tiles:
        before = old.get(tile.id)
        if before is None:
            changes.created.append(tile.id)
            continue
        has_place = places[tile.id] == place
        place += 1
        if before.to_binary() == tile.to_binary():
            (changes.unchanged if has_place else changes.moved).append(tile.id)
        elif _content(before, but_position=True) == _content(tile, but_position=True):
            changes.moved.append(tile.id)
        else:
            changes.updated.append(tile.id)
    changes.deleted = [tile.id for tile in stored if tile.id not in new_ids]
    return changes


def _content(tile: Tile, *, but_position: bool) -> bytes:
    """Return the bytes of all but the tile's id and, if so asked, its position."""
    rest = copy(tile)
    rest.id = ""
    if but_position:
        rest.position = None
    return rest.to_binary()


def _with_id(tile: Tile, tile_id: str) -> Tile:
    named = copy(tile)
    named.id = tile_id
    return named
