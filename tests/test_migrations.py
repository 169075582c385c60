"""The migrations: what they make is what the store expects, however they are run."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dashkeeper.errors import ConfigError
from dashkeeper.store import migrations
from dashkeeper.store.databases.sqlite import sqlite_engine
from dashkeeper.store.migrations import SCHEMA
from dashkeeper.store.tables import metadata
from tests import forks
from tests.api import Api
from tests.database import migrate_sqlite, sqlite_schema_version
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.server import RunningServer


def tables_of(path: Path) -> Sequence[tuple[str, str]]:
    """Return the names of tables and indexes with what made them."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        query = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        # SQLite quotes the name of a table that was renamed.
        return [(name, " ".join(sql.replace('"', "").split())) for name, sql in conn.execute(query)]


def test_migrate_new_file_makes_the_tables_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    migrate_sqlite(str(path))
    engine = sqlite_engine(str(path), begin=None)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    # And in what compare_metadata doesn't see: keys, constraints, collations.
    other = tmp_path / "other.db"
    engine = sqlite_engine(str(other), begin=None)
    metadata.create_all(engine)
    engine.dispose()
    made = [row for row in tables_of(path) if row[0] != "alembic_version"]
    assert made == tables_of(other)


def test_migrations_newest_version_is_the_one_the_store_needs() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [SCHEMA]
    assert scripts.get_bases() == ["0001"]


def test_migrate_from_the_first_schema_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    migrate_sqlite(str(path), "0001")
    text, blob = "'a'", "x'00'"
    rows = {
        "dashboards": f"{text}, {text}, 0, {text}, {text}, 1, 2, NULL, 3, {blob}, {blob}",
        "dashboard_labels": f"{text}, {text}, {text}, {text}",
        "tile_states": f"{text}, {text}, {blob}, {blob}",
        "revisions": f"{text}, {text}, 3, 'CREATE', 1, {text}, {text}, {blob}, {blob}, {blob}",
        "requests": f"{text}, {text}, {text}, {text}, 1, {blob}, {blob}, {text}, NULL",
    }

    def read(**renamed: str) -> list[list[tuple[Any, ...]]]:
        with contextlib.closing(sqlite3.connect(path)) as conn:
            tables = [renamed.get(table, table) for table in rows]
            return [conn.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608

    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        for table, values in rows.items():
            conn.execute(f"INSERT INTO {table} VALUES ({values})")  # noqa: S608
    before = read()
    assert all(before)
    migrate_sqlite(str(path))
    assert sqlite_schema_version(str(path)) == SCHEMA
    after = read(tile_states="bodies")
    after[0] = [row[: len(before[0][0])] for row in after[0]]  # dashboards: a column was added
    assert after == before


def test_migrate_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "again.db"
    migrate_sqlite(str(path))
    before = tables_of(path)
    migrate_sqlite(str(path))
    assert tables_of(path) == before
    assert sqlite_schema_version(str(path)) == SCHEMA


def test_migrate_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    migrate_sqlite(str(path))
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    before = tables_of(path)
    with pytest.raises(ConfigError, match="newer version"):
        migrate_sqlite(str(path))
    assert tables_of(path) == before
    assert sqlite_schema_version(str(path)) == "9999"


def test_migrate_twice_at_once_on_one_new_file_succeeds(tmp_path: Path) -> None:
    path = str(tmp_path / "both.db")
    with ThreadPoolExecutor(2) as threads:
        commands = [
            threads.submit(forks.run, ["migrate"], tmp_path, DATABASE_URL=f"sqlite:///{path}")
            for _ in range(2)
        ]
    assert [command.result().returncode for command in commands] == [0] * 2, commands[0].result().stderr
    assert sqlite_schema_version(path) == SCHEMA


def test_migrate_killed_midway_can_be_run_again(tmp_path: Path) -> None:
    """Killed as soon as the file, or its log, begins to grow."""
    reference = tmp_path / "reference.db"
    migrate_sqlite(str(reference))
    for number, suffix in enumerate(("", "-wal")):
        path = tmp_path / f"killed{number}.db"
        process = forks.Fork(
            ["migrate"],
            tmp_path,
            forks.environment(DATABASE_URL=f"sqlite:///{path}"),
            stderr=tmp_path / "errors",
            stdout=tmp_path / "output",
        )
        while not Path(f"{path}{suffix}").exists() and process.poll() is None:
            time.sleep(0.0005)  # between two looks
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert sqlite_schema_version(str(path)) in {None, SCHEMA}
        migrate_sqlite(str(path))
        assert tables_of(path) == tables_of(reference)


def test_serve_two_at_once_on_one_new_file_both_come_up(tmp_path: Path, project_id: str) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"

    def start(name: str) -> RunningServer:
        return stack.enter_context(running_server(tmp_path / name, DATABASE_URL=url))

    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(2) as threads:
            servers = list(threads.map(start, ("one", "two")))
        one, two = (Api(server, "grpc", make_token(project_id), project_id) for server in servers)
        created = one.call("Create", {"name": "Shared"})
        assert two.call("Get", {"id": created.dashboard["id"]}).body == created.body
        one.close()
        two.close()
