"""Projects of many dashboards, and what SQLite does to list them."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from dashkeeper import times
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.tables import bodies, dashboard_labels, dashboards, revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from sqlalchemy import Table

COUNT = 100_000
BIG, SMALL, EQUAL, CHANGING = "big", "small", "equal", "changing"
SMALL_COUNT = 2_000
START = 1_700_000_000_000_000
NO_TILES = hashlib.sha256(b"").digest()
REVISION = {
    "kind": "CREATE",
    "created_by": "loader",
    "change_message": "",
    "tile_changes": b"",
    "body_hash": NO_TILES,
    "revision": 1,
    "created_at": START,
}


def make_dashboard(project_id: str, number: int) -> Dashboard:
    """Make dashboard number so and so: with equal names and times among them, one in ten deleted."""
    place = 0 if project_id == EQUAL else number
    created_at = START + place // 3
    updated_at = START + (place * 7919) % COUNT // 2 * 1_000_000
    dashboard = Dashboard(
        id=f"{project_id}-{number * 37 % COUNT:06}",
        name=f"{'Ops' if place % 2 else 'Öps'} {place % 5_000:05}",
        labels={"team": f"t{number % 10}", "env": "prod" if number % 2 else "dev"}
        | ({"owner": f"o{number}"} if number % 3 else {}),
        created_at=times.to_timestamp(created_at),
        created_by="loader",
        updated_at=times.to_timestamp(updated_at),
        updated_by="loader",
        etag=uuid.UUID(int=number).hex[:16],
        revision=1,
    )
    if number % 10 == 3:
        dashboard.deleted_at = times.to_timestamp(updated_at)
        dashboard.purge_at = times.to_timestamp(updated_at + 100 * 31_557_600_000_000)  # no server purges it
    return dashboard


def load(path: Path, project_id: str, count: int) -> None:
    """Put dashboards straight into the tables; with a history unless there are very many."""
    made = [make_dashboard(project_id, number) for number in range(count)]
    rows: dict[Table, list[dict[str, Any]]] = {
        dashboards: [dashboard_row(project_id, dashboard) for dashboard in made],
        dashboard_labels: [
            {"project_id": project_id, "dashboard_id": dashboard.id, "key": name, "value": value}
            for dashboard in made
            for name, value in dashboard.labels.items()
        ],
    }
    if count < COUNT:
        keys = [{"project_id": project_id, "dashboard_id": dashboard.id} for dashboard in made]
        rows[bodies] = [
            {"project_id": project_id, "resource_id": dashboard.id, "hash": NO_TILES, "body": b""}
            for dashboard in made
        ]
        rows[revisions] = [
            key | REVISION | {"header": dashboard.to_binary()}
            for key, dashboard in zip(keys, made, strict=True)
        ]
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        for table, values in rows.items():
            names = ", ".join(values[0])
            places = ", ".join(f":{name}" for name in values[0])
            statement = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 # our own names
            conn.executemany(statement, values)


def dashboard_row(project_id: str, dashboard: Dashboard) -> dict[str, Any]:
    assert dashboard.created_at is not None
    assert dashboard.updated_at is not None
    return {
        "project_id": project_id,
        "id": dashboard.id,
        "deleted": int(dashboard.deleted_at is not None),
        "name": dashboard.name,
        "folded_name": dashboard.name.casefold(),
        "created_at": times.to_microseconds(dashboard.created_at),
        "updated_at": times.to_microseconds(dashboard.updated_at),
        "purge_at": times.to_microseconds(dashboard.purge_at) if dashboard.purge_at else None,
        "revision": 1,
        "header": dashboard.to_binary(),
        "body_hash": NO_TILES,
    }


def key_of(column: str) -> Callable[[Dashboard], tuple[str | int, str]]:
    def key(dashboard: Dashboard) -> tuple[str | int, str]:
        if column == "name":
            return dashboard.name, dashboard.id
        return times.to_microseconds(getattr(dashboard, column)), dashboard.id

    return key


@dataclass
class Statement:
    """A statement that the store sent to SQLite."""

    sql: str
    parameters: tuple[Any, ...]

    def plan(self, conn: sqlite3.Connection) -> list[str]:
        """Return the lines of EXPLAIN QUERY PLAN."""
        return [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {self.sql}", self.parameters)]

    def steps(self, conn: sqlite3.Connection) -> int:
        """Run it; return how many instructions SQLite's virtual machine needed."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        conn.set_progress_handler(step, 1)
        try:
            conn.execute(self.sql, self.parameters).fetchall()
        finally:
            conn.set_progress_handler(None, 1)
        return count


@contextlib.contextmanager
def captured_statements() -> Generator[list[Statement]]:
    """Collect what goes to the databases of this process, transactions' own statements left out."""
    statements: list[Statement] = []

    def collect(*arguments: Any) -> None:
        _, _, sql, parameters, _, _ = arguments
        if not sql.startswith(("BEGIN", "PRAGMA")):
            statements.append(Statement(sql, tuple(parameters)))

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", collect)
