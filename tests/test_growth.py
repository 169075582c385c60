"""How a database grows: with what is kept, not with how often something is saved."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.tile_pb import MarkdownTile, Position, Tile, TileType
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from tests.database import migrate
from tests.stores import CTX, create, made, make_store, service

if TYPE_CHECKING:
    from pathlib import Path

SAVES = 2_000
STATES = 50
KEPT = 100
PAGES_OF_OTHER_THINGS = 64 * 1024
"""Room for the pages of a few tables and indexes, whatever stands in them."""


def state(number: int) -> list[Tile]:
    return [
        Tile(
            id=f"tile_{index}",
            type=TileType.MARKDOWN,
            position=Position(y=index, w=12, h=1),
            markdown=MarkdownTile(content=f"state {number}, tile {index}: " + "x" * 500),
        )
        for index in range(20)
    ]


def used_bytes(path: Path) -> int:
    """Return what is in use of a file: its pages but the free ones."""
    conn = sqlite3.connect(path)
    (pages,), (free,), (size,) = (
        conn.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    conn.close()
    return (pages - free) * size


async def test_dashboard_saved_2000_times_takes_what_its_states_and_revisions_do(tmp_path: Path) -> None:
    path = tmp_path / "dashkeeper.db"
    await migrate(f"sqlite:///{path}")
    store = make_store(f"sqlite:///{path}", revisions_kept=KEPT)
    dashboards = service(store, "growth")
    await create(dashboards, "a")
    before = used_bytes(path)
    last = 0
    for number in range(SAVES):
        request = UpsertRequest(dashboard_id="a", tiles=state(number % STATES))
        last = made((await dashboards.upsert(request, CTX)).dashboard).revision
    await store.close()
    assert last == SAVES + 1
    states = STATES * len(Dashboard(tiles=state(0)).to_binary())
    revisions = KEPT * 1_000  # a header, the ids of 20 tiles, who, when
    grown = used_bytes(path) - before
    assert states < grown < 1.5 * (states + revisions) + PAGES_OF_OTHER_THINGS, (grown, states)
    print(f"grown by {grown} bytes: {STATES} states take {states}")  # noqa: T201 # shown by pytest -s
