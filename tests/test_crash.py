"""What was acknowledged is durable: killed at any moment, nothing is lost and nothing is half.

SIGKILL leaves the operating system alive, so this shows whole transactions and their order, not
what fsync does in a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.databases.sqlite import sqlite_engine
from tests.api import Api
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.api import Reply
    from tests.server import RunningServer

KILLS = 15
WRITERS = ("grpc", "connect-json", "grpc", "connect-proto", "grpc-web")
PROJECT_ID = "crash"
# What each writer does, over and over; a "shared" dashboard is written by all of them.
STEPS = (
    ("Upsert", "own"),
    ("Create", "new"),
    ("Upsert", "shared"),
    ("Update", "own"),
    ("Upsert", "own"),
    ("Update", "shared"),
    ("Delete", "own"),
    ("Undelete", "own"),
)


@dataclass
class Attempt:
    """A write with a request id; its tag stands in the history and in each of its tiles."""

    tag: str
    method: str
    request: dict[str, Any]
    reply: Reply | None = None
    """What was acknowledged; None where the server was killed first."""


class Writer:
    """Writes one after another, until the server dies."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.attempts: list[Attempt] = []
        self._random = random.Random(number)  # noqa: S311 # the same writes at every run

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    def write(self, server: RunningServer, acknowledged: threading.Semaphore) -> None:
        """Write until a call gets no answer; release the semaphore for each that does."""
        api = Api(server, WRITERS[self.number], make_token(PROJECT_ID), PROJECT_ID)
        while True:
            attempt = self._next()
            self.attempts.append(attempt)
            try:
                reply = api.call(attempt.method, attempt.request)
            except httpx.TransportError:
                break
            if reply.code == "unavailable":
                break
            assert reply.code == "ok", (attempt, reply)
            attempt.reply = reply
            acknowledged.release()
        api.close()

    def _next(self) -> Attempt:
        method, target = STEPS[len(self.attempts) % len(STEPS)]
        tag = f"{self.number}.{len(self.attempts)}"
        request: dict[str, Any] = {"requestId": str(uuid.uuid4()), "changeMessage": tag}
        dashboard_id = f"own{self.number}" if target == "own" else "shared"
        match method:
            case "Create":
                request |= {"name": f"new {tag}", "tiles": self._tiles(tag)}
            case "Upsert":
                request |= {"dashboardId": dashboard_id, "tiles": self._tiles(tag)}
                request |= {"allowMissing": True, "name": target}
            case "Update":
                request |= {"id": dashboard_id, "name": f"name {tag}", "labels": {"tag": tag}}
            case _:
                request |= {"id": dashboard_id}
        return Attempt(tag, method, request)

    def _tiles(self, tag: str) -> list[dict[str, Any]]:
        """Return some tiles, with ids and without, from a few bytes to some pages of the file."""
        return [
            {
                "id": f"t{number}" if number % 2 else "",
                "type": "TILE_TYPE_MARKDOWN",
                "position": {"w": 12, "h": 1},
                "markdown": {"content": f"{tag} " + "x" * self._random.randrange(4_000)},
            }
            for number in range(1, self._random.randrange(2, 13))
        ]


class Stored:
    """What the database file holds, and that it fits together."""

    def __init__(self, path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
            conn.row_factory = sqlite3.Row
            self.dashboards = conn.execute("SELECT * FROM dashboards").fetchall()
            self.labels = conn.execute("SELECT * FROM dashboard_labels").fetchall()
            self.revisions = conn.execute(
                "SELECT * FROM revisions ORDER BY dashboard_id, revision"
            ).fetchall()
            self.requests = conn.execute("SELECT * FROM requests").fetchall()
            states = conn.execute("SELECT resource_id, hash, body FROM bodies").fetchall()
        self.tiles = {(row["resource_id"], row["hash"]): row["body"] for row in states}

    def state(self, row: sqlite3.Row) -> Dashboard:
        """Return the whole dashboard of a row of dashboards or revisions."""
        dashboard_id = row["id"] if "id" in row.keys() else row["dashboard_id"]  # noqa: SIM118 # a Row
        return Dashboard.from_binary(row["header"] + self.tiles[dashboard_id, row["body_hash"]])

    def check_whole(self) -> None:
        """Fail if anything is half."""
        for (_, body_hash), tiles in self.tiles.items():
            assert hashlib.sha256(tiles).digest() == body_hash
        pointed_at = {(row["dashboard_id"], row["body_hash"]) for row in self.revisions}
        assert {*self.tiles} == pointed_at
        answered = {(row["dashboard_id"], row["body_hash"]) for row in self.requests if row["body_hash"]}
        assert answered <= pointed_at
        assert len({self.state(row).etag for row in self.revisions}) == len(self.revisions)
        for row in self.revisions:
            self._check_revision(row)
        for row in self.dashboards:
            self._check_dashboard(row)

    def _check_revision(self, row: sqlite3.Row) -> None:
        state = self.state(row)
        assert (state.id, state.revision) == (row["dashboard_id"], row["revision"])
        assert state.tile_count == len(state.tiles)
        if row["kind"] in {"CREATE", "UPSERT"}:
            for tile in state.tiles:
                assert tile.markdown is not None
                assert tile.markdown.content.startswith(f"{row['change_message']} ")
        if row["kind"] == "UPDATE":
            assert state.name == f"name {row['change_message']}"
            assert state.labels == {"tag": row["change_message"]}

    def _check_dashboard(self, row: sqlite3.Row) -> None:
        state = self.state(row)
        history = [other for other in self.revisions if other["dashboard_id"] == row["id"]]
        assert (history[-1]["header"], history[-1]["body_hash"]) == (row["header"], row["body_hash"])
        # Without gaps, down to the first, or as many as are kept.
        assert all(after["revision"] == before["revision"] + 1 for before, after in pairwise(history))
        assert history[0]["revision"] == 1 or len(history) >= 100
        for before, after in pairwise(history):
            assert (after["body_hash"] == before["body_hash"]) == (after["kind"] != "UPSERT")
        assert (row["name"], row["revision"]) == (state.name, state.revision)
        assert row["deleted"] == (state.deleted_at is not None)
        labels = {other["key"]: other["value"] for other in self.labels if other["dashboard_id"] == row["id"]}
        assert labels == state.labels


def read_tags(path: Path) -> list[str]:
    """Return the tag of every change there is."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return [tag for (tag,) in conn.execute("SELECT change_message FROM revisions")]


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    return json.loads(dashboard.to_json())


def check_acknowledged(stored: Stored, attempts: Sequence[Attempt]) -> None:
    """Fail unless every acknowledged write is there as it was answered, and none twice."""
    by_tag = {row["change_message"]: row for row in stored.revisions}
    assert len(by_tag) == len(stored.revisions)
    newest = {row["id"]: row["revision"] for row in stored.dashboards}
    for attempt in attempts:
        if attempt.reply is None:
            continue
        if attempt.method == "Delete":
            assert by_tag[attempt.tag]["kind"] == "DELETE"
            continue
        answered = attempt.reply.dashboard
        revision = int(answered["revision"])
        if attempt.tag in by_tag or newest[answered["id"]] - revision < 100:  # else no longer kept
            assert as_json(stored.state(by_tag[attempt.tag])) == answered


def check_answers_again(server: RunningServer, writers: Sequence[Writer]) -> None:
    """Repeat calls under their request ids: those answered answer the same, those not are done once."""
    api = Api(server, "connect-proto", make_token(PROJECT_ID), PROJECT_ID)
    for writer in writers:
        for attempt in writer.attempts[-6:]:
            before = read_tags(server.database_path)
            again = api.call(attempt.method, attempt.request)
            assert again.code == "ok", (attempt, again)
            if attempt.reply is not None:
                assert again.body == attempt.reply.body
            added = [] if attempt.reply is not None or attempt.tag in before else [attempt.tag]
            assert sorted(read_tags(server.database_path)) == sorted([*before, *added])
            attempt.reply = again
    api.close()


def write_until_killed(server: RunningServer, writers: Sequence[Writer], acknowledgements: int) -> None:
    """Let all write at once; kill the server as soon as so many writes are acknowledged."""
    acknowledged = threading.Semaphore(0)
    with ThreadPoolExecutor(len(writers)) as threads:
        writing = [threads.submit(writer.write, server, acknowledged) for writer in writers]
        for _ in range(acknowledgements):
            assert acknowledged.acquire(timeout=30)
        server.kill()
        for future in writing:
            future.result(timeout=30)


def check_everything(server: RunningServer, writers: Sequence[Writer]) -> None:
    stored = Stored(server.database_path)
    stored.check_whole()
    check_acknowledged(stored, [attempt for writer in writers for attempt in writer.attempts])
    check_answers_again(server, writers)
    Stored(server.database_path).check_whole()


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
