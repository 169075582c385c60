"""Writes under load, and whether what is stored afterwards is what was acknowledged, whole."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from tests.api import Api
from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.api import Reply
    from tests.server import RunningServer

WRITERS = ("grpc", "connect-json", "grpc", "connect-proto", "grpc-web")
PROJECT_ID = "load"
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
ORDERED = {
    "dashboards": "project_id, id",
    "dashboard_labels": "project_id, dashboard_id, key",
    "bodies": "project_id, resource_id, hash",
    "revisions": "project_id, dashboard_id, revision",
    "requests": "project_id, subject, method, request_id",
}
"""The tables that Stored is made of, and in which order."""

Row = Any
"""Columns by name: of sqlite3 or of asyncpg."""


@dataclass
class Attempt:
    """A write with a request id; its tag stands in the history and in each of its tiles."""

    tag: str
    method: str
    request: dict[str, Any]
    reply: Reply | None = None
    """What was acknowledged; None where nothing was."""


@dataclass
class Writer:
    """Makes one write after another."""

    number: int
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    def __post_init__(self) -> None:
        self._random = random.Random(self.number)  # noqa: S311 # the same writes at every run

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    def api(self, server: RunningServer) -> Api:
        """Connect by the writer's transport."""
        return Api(server, WRITERS[self.number], make_token(PROJECT_ID), PROJECT_ID)

    def begin(self) -> Attempt:
        """Return the next write, which isn't acknowledged yet."""
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
        self.attempts.append(Attempt(tag, method, request))
        return self.last

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
    """What a database holds, and that it fits together."""

    def __init__(self, tables: Mapping[str, Sequence[Row]]) -> None:
        """Take the rows of the tables that ORDERED names."""
        self.dashboards = tables["dashboards"]
        self.labels = tables["dashboard_labels"]
        self.revisions = tables["revisions"]
        self.requests = tables["requests"]
        self.tiles = {(row["resource_id"], row["hash"]): row["body"] for row in tables["bodies"]}

    def state(self, row: Row) -> Dashboard:
        """Return the whole dashboard of a row of dashboards or revisions."""
        dashboard_id = row["id"] if "id" in row.keys() else row["dashboard_id"]  # noqa: SIM118 # a Row
        return Dashboard.from_binary(row["header"] + self.tiles[dashboard_id, row["body_hash"]])

    def check_whole(self) -> None:
        """Fail if anything is half."""
        for (_, body_hash), tiles in self.tiles.items():
            assert hashlib.sha256(tiles).digest() == body_hash
        pointed_at = {(row["dashboard_id"], row["body_hash"]) for row in self.revisions}
        assert {*self.tiles} == pointed_at
        answered = {(row["resource_id"], row["body_hash"]) for row in self.requests if row["body_hash"]}
        assert answered <= pointed_at
        assert len({self.state(row).etag for row in self.revisions}) == len(self.revisions)
        for row in self.revisions:
            self._check_revision(row)
        for row in self.dashboards:
            self._check_dashboard(row)

    def check_acknowledged(self, attempts: Sequence[Attempt]) -> None:
        """Fail unless every acknowledged write is there as it was answered, and none twice."""
        by_tag = {row["change_message"]: row for row in self.revisions}
        assert len(by_tag) == len(self.revisions)
        newest = {row["id"]: row["revision"] for row in self.dashboards}
        for attempt in attempts:
            if attempt.reply is None:
                continue
            if attempt.method == "Delete":
                assert by_tag[attempt.tag]["kind"] == "DELETE"
                continue
            answered = attempt.reply.dashboard
            revision = int(answered["revision"])
            if attempt.tag in by_tag or newest[answered["id"]] - revision < 100:  # else no longer kept
                assert as_json(self.state(by_tag[attempt.tag])) == answered

    def _check_revision(self, row: Row) -> None:
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

    def _check_dashboard(self, row: Row) -> None:
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


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    return json.loads(dashboard.to_json())
