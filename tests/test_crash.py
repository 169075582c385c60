"""What was acknowledged is durable: killed at any moment, nothing is lost and nothing is half.

SIGKILL leaves the operating system alive, so this shows whole transactions and their order, not
what fsync does in a power cut.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from dashkeeper.store.databases.sqlite import sqlite_engine
from tests.load import ORDERED, WRITERS, Stored, Writer
from tests.server import running_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.api import Api
    from tests.load import Attempt
    from tests.server import RunningServer

KILLS = 15


def read(path: Path) -> Stored:
    """Return what the file holds."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        conn.row_factory = sqlite3.Row
        return Stored(
            {
                table: conn.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()  # noqa: S608
                for table, order in ORDERED.items()
            }
        )


def read_tags(path: Path) -> list[str]:
    """Return the tag of every change there is."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return [tag for (tag,) in conn.execute("SELECT change_message FROM revisions")]


def check_answers_again(api: Api, attempts: Sequence[Attempt], path: Path) -> None:
    """Repeat calls under their request ids: those answered answer the same, those not are done once."""
    for attempt in attempts:
        before = read_tags(path)
        again = api.call(attempt.method, attempt.request)
        assert again.code == "ok", (attempt, again)
        if attempt.reply is not None:
            assert again.body == attempt.reply.body
        added = [] if attempt.reply is not None or attempt.tag in before else [attempt.tag]
        assert sorted(read_tags(path)) == sorted([*before, *added])
        attempt.reply = again


def write(writer: Writer, server: RunningServer, acknowledged: threading.Semaphore) -> None:
    """Write until a call gets no answer; release the semaphore for each that does."""
    with contextlib.closing(writer.api(server)) as api:
        while True:
            attempt = writer.begin()
            try:
                reply = api.call(attempt.method, attempt.request)
            except httpx.TransportError:
                return
            if reply.code == "unavailable":
                return
            assert reply.code == "ok", (attempt, reply)
            attempt.reply = reply
            acknowledged.release()


def write_until_killed(server: RunningServer, writers: Sequence[Writer], acknowledgements: int) -> None:
    """Let all write at once; kill the server as soon as so many writes are acknowledged."""
    acknowledged = threading.Semaphore(0)
    with ThreadPoolExecutor(len(writers)) as threads:
        writing = [threads.submit(write, writer, server, acknowledged) for writer in writers]
        for _ in range(acknowledgements):
            assert acknowledged.acquire(timeout=30)
        server.kill()
        for future in writing:
            future.result(timeout=30)


def check_everything(server: RunningServer, writers: Sequence[Writer]) -> None:
    path = server.database_path
    stored = read(path)
    stored.check_whole()
    stored.check_acknowledged([attempt for writer in writers for attempt in writer.attempts])
    with contextlib.closing(Writer(3).api(server)) as api:
        for writer in writers:
            check_answers_again(api, writer.attempts[-6:], path)
    read(path).check_whole()


def test_kill_during_writes_loses_and_halves_nothing(tmp_path: Path) -> None:
    moments = random.Random(0)  # noqa: S311
    writers = [Writer(number) for number in range(len(WRITERS))]
    for kills in range(KILLS + 1):
        with running_server(tmp_path, REVISIONS_KEPT="1000000") as server:
            check_everything(server, writers)
            if kills < KILLS:
                write_until_killed(server, writers, moments.randrange(1, 120))
                assert all(writer.last.reply is None for writer in writers)


def test_sqlite_engine_any_connection_writes_through_to_the_disk(tmp_path: Path) -> None:
    """What a kill can't show: in a power cut only what was flushed is there."""
    for begin in (None, "BEGIN", "BEGIN IMMEDIATE"):
        engine = sqlite_engine(str(tmp_path / "a.db"), begin=begin)
        with engine.connect() as conn:
            assert conn.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert conn.exec_driver_sql("PRAGMA synchronous").scalar_one() >= 2  # FULL
            assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        engine.dispose()
