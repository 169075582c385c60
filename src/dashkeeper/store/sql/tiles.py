"""The tiles of dashboards' states: stored once for each content, and dropped when nothing refers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select

from dashkeeper.store.tables import dashboards, requests, revisions, tile_states

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection, Table

    from dashkeeper.store.base import Write


def refers_to_tiles(table: Table, dashboard_id: Column[str]) -> ColumnElement[bool]:
    """Return the condition that a row of the table refers to a row of tile_states."""
    return and_(
        tile_states.c.project_id == table.c.project_id,
        tile_states.c.dashboard_id == dashboard_id,
        tile_states.c.hash == table.c.tiles_hash,
    )


# Locked, so that nobody drops them before what is about to refer to them is committed.
_FIND_TILES = (
    select(tile_states.c.hash)
    .where(
        tile_states.c.project_id == bindparam("project_id"),
        tile_states.c.dashboard_id == bindparam("dashboard_id"),
        tile_states.c.hash == bindparam("hash"),
    )
    .with_for_update(read=True, key_share=True)
)
_INSERT_TILES = insert(tile_states)
_ARE_TILES = and_(
    tile_states.c.project_id == bindparam("project_id"),
    tile_states.c.dashboard_id == bindparam("dashboard_id"),
    tile_states.c.hash.in_(bindparam("hashes", expanding=True)),
)
_LOCK_TILES = select(tile_states.c.hash).where(_ARE_TILES).order_by(tile_states.c.hash).with_for_update()
_DELETE_UNREFERENCED_TILES = delete(tile_states).where(
    _ARE_TILES,
    ~or_(
        exists().where(refers_to_tiles(dashboards, dashboards.c.id)),
        exists().where(refers_to_tiles(revisions, revisions.c.dashboard_id)),
        exists().where(refers_to_tiles(requests, requests.c.dashboard_id)),
    ),
)


def insert_tiles(conn: Connection, write: Write, tiles_hash: bytes, tiles: bytes) -> None:
    """Store the tiles of a state, unless an earlier state of the dashboard had the same."""
    if not has_tiles(conn, write, tiles_hash):
        conn.execute(_INSERT_TILES, {**_tiles_key(write, tiles_hash), "tiles": tiles})


def has_tiles(conn: Connection, write: Write, tiles_hash: bytes) -> bool:
    """Whether these tiles are stored; if so, they stay until the transaction ends."""
    return conn.execute(_FIND_TILES, _tiles_key(write, tiles_hash)).first() is not None


def _tiles_key(write: Write, tiles_hash: bytes) -> dict[str, object]:
    return {"project_id": write.project_id, "dashboard_id": write.dashboard_id, "hash": tiles_hash}


def drop_unreferenced_tiles(conn: Connection, project_id: str, dashboard_id: str, hashes: set[bytes]) -> None:
    """Delete those of a dashboard's stored tiles that no state, revision or answer refers to."""
    which = {"project_id": project_id, "dashboard_id": dashboard_id, "hashes": sorted(hashes)}
    # First wait for those who are about to refer to them: the next statement then sees that they do.
    conn.execute(_LOCK_TILES, which)
    conn.execute(_DELETE_UNREFERENCED_TILES, which)
