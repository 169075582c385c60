"""Fills a database with many dashboards and their history, and says how large its tables are.

    python -m tests.bulk_load sqlite:////tmp/large.db --dashboards 100000

The service itself writes a few dashboards to a database of their own; their rows are copied under other
ids, names and etags. So what is loaded is what the service would have stored, whatever its encoding is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from dashkeeper.gen.dashboards.v1.changes_pb import CreateRequest, DeleteRequest
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.tile_pb import Tile, TileType
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.services.ids import new_dashboard_id, new_etag
from dashkeeper.store.tables import bodies, dashboard_labels, dashboards, revisions
from tests.stores import CTX, made, make_store, migrate, service
from tests.tiles import payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Table

    from dashkeeper.services.dashboards import Dashboards

PATTERNS = 64
TILES = [5 + number % 16 * (number // 16 + 1) // 4 for number in range(PATTERNS)]
"""A quarter of the dashboards has 5 to 8 tiles, one 5 to 12, one 5 to 16, one 5 to 20: 9.4 on average."""
REVISIONS = 10
ONE_IN_DELETED = 21
PURGE_AFTER = timedelta(days=36_500)
START = 1_700_000_000_000_000
"""Of the ids, in microseconds: they sort as the dashboards were made."""

_AT_ONCE = 5_000
_KEY = ("project_id", "dashboard_id")
_COLUMNS = {
    dashboards: (
        *("project_id", "id", "name", "folded_name", "deleted", "created_at", "updated_at"),
        *("purge_at", "revision", "body_hash", "header"),
    ),
    dashboard_labels: (*_KEY, "key", "value"),
    bodies: ("project_id", "resource_id", "hash", "body"),
    revisions: (
        *_KEY,
        *("revision", "kind", "created_at", "created_by", "change_message", "tile_changes", "body_hash"),
        "header",
    ),
}
"""In an order that puts what differs between copies first and last."""

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A dashboard as the service stored it: its rows, to be copied."""

    dashboard_id: str
    name: str
    etags: Sequence[str]
    """Of its revisions, oldest first."""
    rows: dict[Table, Rows]
    """Of the revisions too, oldest first; the last one's header is the dashboard's own."""

    def copy(self, project_id: str, dashboard_id: str, name: str) -> dict[Table, Rows]:
        """Return its rows under another id and name, which must be as long as its own, and other etags."""
        key = project_id, dashboard_id
        changes = (self.dashboard_id.encode(), dashboard_id.encode()), (self.name.encode(), name.encode())
        history: Rows = []
        header = b""
        for row, etag in zip(self.rows[revisions], self.etags, strict=True):
            header = row[-1].replace(etag.encode(), new_etag().encode())
            for old, new in changes:
                header = header.replace(old, new)
            history.append((*key, *row[2:-1], header))
        (row,) = self.rows[dashboards]
        return {
            dashboards: [(*key, name, name.casefold(), *row[4:-1], header)],
            dashboard_labels: [(*key, *row[2:]) for row in self.rows[dashboard_labels]],
            bodies: [(*key, *row[2:]) for row in self.rows[bodies]],
            revisions: history,
        }


def name_of(number: int) -> str:
    return f"Weekly goals {number:08}"


def project_of(number: int, projects: int) -> str:
    return f"project-{number % projects:05}"


def new_tiles(count: int) -> list[Tile]:
    """Return tiles without ids: those of two payloads, over and over."""
    samples = [
        sample for name in ("seed", "rich") for sample in payload(f"dashboards-upsert-{name}")["tiles"]
    ]
    found = [Tile.from_json(json.dumps(samples[number % len(samples)])) for number in range(count)]
    for number, tile in enumerate(found):
        tile.id = ""
        assert tile.position is not None
        tile.position.y = number * 4
    return found


def edit(tile: Tile, revision: int) -> None:
    """Change a tile a little."""
    if tile.type == TileType.MARKDOWN:
        assert tile.markdown is not None
        tile.markdown.content += f"\n- Seen in week {revision}"
    else:
        tile.title = f"Week {revision} against the week before"


async def make_patterns() -> list[Pattern]:
    """Have the service write the dashboards that are copied."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patterns.db"
        await migrate(f"sqlite:///{path}")
        store = make_store(f"sqlite:///{path}")
        try:
            api = service(store, "patterns", purge_after=PURGE_AFTER)
            ids = [await save(api, number) for number in range(PATTERNS)]
        finally:
            await store.close()
        with contextlib.closing(sqlite3.connect(path)) as conn:
            return [read(conn, dashboard_id) for dashboard_id in ids]


async def save(api: Dashboards, number: int) -> str:
    """Save a dashboard's revisions, each with one tile changed, the last a delete for some; return its id."""
    request = CreateRequest(
        name=name_of(number),
        description="What marketing and product look at on Mondays.",
        labels={"team": f"team-{number % 10}", "env": "production" if number % 2 else "staging"},
        tiles=new_tiles(TILES[number]),
    )
    current = made((await api.create(request, CTX)).dashboard)
    is_deleted = number % ONE_IN_DELETED == ONE_IN_DELETED - 1
    for revision in range(2, REVISIONS + 1 - is_deleted):
        edit(current.tiles[revision * 7 % len(current.tiles)], revision)
        upsert = UpsertRequest(
            dashboard_id=current.id, tiles=current.tiles, change_message="Compare with the last week"
        )
        current = made((await api.upsert(upsert, CTX)).dashboard)
    if is_deleted:
        await api.delete(DeleteRequest(id=current.id), CTX)
    return current.id


def read(conn: sqlite3.Connection, dashboard_id: str) -> Pattern:
    """Return a dashboard with its rows, those of a table in the order of its primary key."""
    rows: dict[Table, Rows] = {
        table: conn.execute(
            f"SELECT {', '.join(columns)} FROM {table.name} WHERE {columns[1]} = ? ORDER BY 3",  # noqa: S608 # our own names
            [dashboard_id],
        ).fetchall()
        for table, columns in _COLUMNS.items()
    }
    headers = [Dashboard.from_binary(row[-1]) for row in rows[revisions]]
    return Pattern(dashboard_id, headers[0].name, [header.etag for header in headers], rows)


async def load(url: str, count: int, projects: int) -> None:
    """Put dashboards into a database that has the schema: one after another, each in the next project."""
    patterns = await make_patterns()
    if url.startswith("sqlite:///"):
        load_sqlite(url.removeprefix("sqlite:///"), batches(patterns, count, projects))
    else:
        await load_postgresql(url, batches(patterns, count, projects))


def batches(patterns: Sequence[Pattern], count: int, projects: int) -> Iterator[dict[Table, Rows]]:
    """Make the rows of some dashboards at a time."""
    chance = random.Random(count)  # noqa: S311 # the same every time
    for first in range(0, count, _AT_ONCE):
        batch: dict[Table, Rows] = {table: [] for table in _COLUMNS}
        for number in range(first, min(first + _AT_ONCE, count)):
            pattern = chance.choice(patterns)
            ids = project_of(number, projects), new_dashboard_id(START + number)
            for table, rows in pattern.copy(*ids, name_of(number)).items():
                batch[table] += rows
        yield batch


def load_sqlite(path: str, made_batches: Iterator[dict[Table, Rows]]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")  # a load that fails is begun again
        conn.execute("PRAGMA cache_size = -1000000")
        for batch in made_batches:
            with conn:
                for table, rows in batch.items():
                    columns = _COLUMNS[table]
                    places = ", ".join("?" * len(columns))
                    conn.executemany(
                        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608 # our own names
                        rows,
                    )


async def load_postgresql(url: str, made_batches: Iterator[dict[Table, Rows]]) -> None:
    conn = await asyncpg.connect(url)
    try:
        for batch in made_batches:
            async with conn.transaction():
                for table, rows in batch.items():
                    await conn.copy_records_to_table(table.name, records=rows, columns=_COLUMNS[table])
        await conn.execute("VACUUM ANALYZE")  # as autovacuum does in its own time
    finally:
        await conn.close()


async def sizes(url: str) -> dict[str, int]:
    """Return the bytes of each table, of each index, and of everything."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as conn:
            found = dict(conn.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
        return {**found, "everything": sum(found.values())}
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch(
            "SELECT relname,"
            " CASE relkind WHEN 'r' THEN pg_table_size(oid) ELSE pg_relation_size(oid) END AS bytes"
            " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
        )
        everything = await conn.fetchval("SELECT pg_database_size(current_database())")
        return {row["relname"]: row["bytes"] for row in rows} | {"everything": everything}
    finally:
        await conn.close()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bulk_load", description=__doc__)
    parser.add_argument("url", help="the database, which `dashkeeper migrate` has made")
    parser.add_argument("--dashboards", type=int, default=100_000)
    parser.add_argument("--projects", type=int, default=1_000)
    arguments = parser.parse_args()
    await load(arguments.url, arguments.dashboards, arguments.projects)
    for name, size in sorted((await sizes(arguments.url)).items(), key=lambda item: -item[1]):
        print(f"{size:>15,} {name}")  # noqa: T201 # what it is for


if __name__ == "__main__":
    asyncio.run(main())
