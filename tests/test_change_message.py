"""What each write leaves in the history: looked up in the database, as there is no RPC for it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges
from tests.api import Api
from tests.database import stored_revisions, stored_rows
from tests.server import make_token
from tests.tiles import Json, ids, markdown

if TYPE_CHECKING:
    from tests.server import RunningServer

STORED = [markdown("a", "A"), markdown("b", "B"), markdown("c", "C"), markdown("d", "D")]
WANTED = [markdown("n"), markdown("a", "A"), markdown("b", "B", y=9), markdown("c", "changed")]

WRITES: list[tuple[str, Json]] = [
    ("Create", {"name": "A", "dashboardId": "a", "tiles": STORED}),
    ("Update", {"id": "a", "name": "B"}),
    ("Upsert", {"dashboardId": "a", "tiles": WANTED}),
    ("Delete", {"id": "a"}),
    ("Undelete", {"id": "a"}),
    ("Delete", {"id": "a"}),
    ("Upsert", {"dashboardId": "a", "allowMissing": True, "name": "C", "tiles": STORED[:1]}),
    ("Delete", {"id": "a"}),
    ("Create", {"name": "D", "dashboardId": "a"}),
]


def test_every_write_leaves_a_revision_with_its_message(server: RunningServer, api: Api) -> None:
    project_id = api.headers["x-project-id"]
    other = Api(server, api.transport, make_token(project_id, subject="other"), project_id)
    for number, (method, request) in enumerate(WRITES):
        client = other if number % 2 else api
        message = f"why {number} 🎯" if number != 4 else ""
        assert client.call(method, {**request, "changeMessage": message}).code == "ok"
    other.close()
    found = stored_revisions(server, project_id, "a")
    assert [row["revision"] for row in found] == list(range(1, 10))
    assert [row["kind"] for row in found] == [method.upper() for method, _ in WRITES]
    assert [row["change_message"] for row in found] == [
        f"why {number} 🎯" if number != 4 else "" for number in range(9)
    ]
    assert [row["created_by"] for row in found] == ["tester", "other"] * 4 + ["tester"]


def test_revision_holds_the_state_and_what_was_done_to_the_tiles(
    server: RunningServer, project_id: str, one_api: Api
) -> None:
    answers = [one_api.call(method, request).body for method, request in WRITES[:5]]
    found = stored_revisions(server, project_id, "a")
    for row, answer in zip(found, answers, strict=True):
        state = Dashboard.from_binary(row["header"])
        assert (state.revision, state.tiles) == (row["revision"], [])
        if "dashboard" in answer:
            assert (state.name, state.etag) == (answer["dashboard"]["name"], answer["dashboard"]["etag"])
    changes = [TileChanges.from_binary(row["tile_changes"]) for row in found]
    assert changes[0].created == ids(STORED)
    assert (changes[2].created, changes[2].moved) == (["n"], ["b"])
    assert (changes[2].updated, changes[2].deleted, changes[2].unchanged) == (["c"], ["d"], [])
    assert [changes[number].to_binary() for number in (1, 3, 4)] == [b""] * 3
    assert Dashboard.from_binary(found[3]["header"]).deleted_at is not None


def test_equal_tiles_of_a_dashboard_are_stored_once(
    server: RunningServer, project_id: str, one_api: Api
) -> None:
    for method, request in WRITES[:5]:
        one_api.call(method, request)
    one_api.call("Upsert", {"dashboardId": "a", "tiles": STORED})
    one_api.call("Upsert", {"dashboardId": "a", "tiles": WANTED})
    rows = stored_rows(server, project_id)
    assert (len(rows["revisions"]), len(rows["bodies"])) == (7, 2)
    assert ids(one_api.call("Get", {"id": "a"}).dashboard["tiles"]) == ids(WANTED)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Create", {"name": "B", "dashboardId": "a"}),
        ("Update", {"id": "a", "name": "B", "etag": "stale"}),
        ("Update", {"id": "a", "name": "A"}),
        ("Upsert", {"dashboardId": "a", "tiles": STORED}),
        ("Upsert", {"dashboardId": "a", "maxDeletions": 3}),
        ("Undelete", {"id": "a"}),
    ],
)
def test_write_that_fails_or_changes_nothing_leaves_no_revision(
    server: RunningServer, project_id: str, one_api: Api, method: str, request_: Json
) -> None:
    one_api.call(*WRITES[0])
    before = stored_revisions(server, project_id, "a")
    one_api.call(method, {**request_, "changeMessage": "why"})
    assert stored_revisions(server, project_id, "a") == before
    assert len(before) == 1


def test_change_message_is_in_the_line_that_the_call_leaves_in_the_log(
    sqlite_server: RunningServer, project_id: str
) -> None:
    api = Api(sqlite_server, "connect-json", make_token(project_id), project_id)
    api.call("Create", {"name": "A", "changeMessage": "because"})
    api.call("List", {})
    api.close()
    lines = sqlite_server.logged_calls(2, project=project_id)
    assert [line.get("change_message") for line in lines] == ["because", None]
