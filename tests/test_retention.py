"""What is kept and what goes: the last revisions, and of a purged dashboard its id and last revision."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.api import Api
from tests.database import DATABASES, server_on, stored_rows
from tests.server import make_token, purge
from tests.tiles import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api import Reply
    from tests.server import RunningServer


@pytest.fixture(scope="module", params=DATABASES)
def brief(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server that keeps three revisions, and deleted dashboards no moment longer than it must."""
    folder = tmp_path_factory.mktemp("brief")
    with server_on(request.param, folder, REVISIONS_KEPT="3", PURGE_AFTER="0s") as running:
        yield running


@pytest.fixture
def api(brief: RunningServer, project_id: str) -> Iterator[Api]:
    client = Api(brief, "grpc", make_token(project_id), project_id)
    yield client
    client.close()


def done(api: Api, method: str, **request: Any) -> Reply:
    reply = api.call(method, request)
    assert reply.code == "ok", reply
    return reply


def revisions(api: Api, dashboard_id: str = "d") -> list[int]:
    return [int(it["revision"]) for it in done(api, "ListRevisions", id=dashboard_id).body["revisions"]]


def counts(server: RunningServer, project_id: str) -> dict[str, int]:
    return {table: len(rows) for table, rows in stored_rows(server, project_id).items() if rows}


def test_history_is_trimmed_to_the_revisions_kept(brief: RunningServer, api: Api, project_id: str) -> None:
    done(api, "Create", dashboardId="d", name="A", tiles=[markdown("a", "first")])
    for number in range(2, 8):
        done(api, "Upsert", dashboardId="d", tiles=[markdown("a", str(number))])
        assert revisions(api) == list(range(number, max(0, number - 3), -1))
        assert counts(brief, project_id)["bodies"] == min(number, 3)
    assert api.call("GetRevision", {"id": "d", "revision": "4"}).code == "not_found"
    assert api.call("Restore", {"id": "d", "revision": "4"}).code == "not_found"
    assert done(api, "Restore", id="d", revision="5").dashboard["revision"] == "8"


def test_trimming_leaves_the_tiles_that_the_present_state_has(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    created = done(api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    for number in range(10):
        done(api, "Update", id="d", name=f"{number}")
    assert counts(brief, project_id)["bodies"] == 1
    assert done(api, "Get", id="d").dashboard["tiles"] == created.dashboard["tiles"]


def test_trimming_leaves_the_tiles_of_an_answer_that_may_be_asked_for(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    request = {"dashboardId": "d", "name": "A", "tiles": [markdown("a")], "requestId": str(uuid.uuid4())}
    first = done(api, "Create", **request)
    for number in range(5):
        done(api, "Upsert", dashboardId="d", tiles=[markdown("a", str(number))])
    assert counts(brief, project_id)["bodies"] == 4
    assert done(api, "Create", **request).body == first.body


def test_purge_leaves_the_id_and_the_last_revision(brief: RunningServer, api: Api, project_id: str) -> None:
    done(api, "Create", dashboardId="d", name="A", labels={"k": "v"}, tiles=[markdown("a")])
    done(api, "Create", dashboardId="live", name="B", tiles=[markdown("a")])
    live = stored_rows(brief, project_id)["dashboards"][1]
    done(api, "Update", id="d", name="C")
    done(api, "Delete", id="d")
    run = purge(brief)
    assert (run.returncode, run.stderr) == (0, "")
    rows = stored_rows(brief, project_id)
    assert rows["purged_dashboards"] == [(project_id, "d", 3)]
    assert rows["dashboards"] == [live]
    assert (rows["dashboard_labels"], len(rows["revisions"]), len(rows["bodies"])) == ([], 1, 1)
    for method, request in [
        ("Get", {"id": "d"}),
        ("ListRevisions", {"id": "d"}),
        ("GetRevision", {"id": "d", "revision": "1"}),
        ("Undelete", {"id": "d"}),
        ("Restore", {"id": "d", "revision": "1"}),
    ]:
        assert api.call(method, request).code == "not_found", method
    assert [it["id"] for it in done(api, "List", showDeleted=True).body["dashboards"]] == ["live"]


@pytest.mark.parametrize("method", ["Create", "Upsert"])
def test_create_after_a_purge_goes_on_from_the_last_revision(
    brief: RunningServer, api: Api, project_id: str, method: str
) -> None:
    request = {"dashboardId": "d", "name": "A"} | ({"allowMissing": True} if method == "Upsert" else {})
    for expected in (1, 3, 5):
        created = done(api, method, **request).dashboard
        assert created["revision"] == str(expected)
        assert revisions(api) == [expected]
        done(api, "Delete", id="d")
        assert purge(brief).returncode == 0
        assert stored_rows(brief, project_id)["purged_dashboards"] == [(project_id, "d", expected + 1)]
    assert counts(brief, project_id) == {"purged_dashboards": 1}


def test_purge_leaves_answers_to_request_ids(brief: RunningServer, api: Api) -> None:
    request = {"dashboardId": "d", "name": "A", "tiles": [markdown("a")], "requestId": str(uuid.uuid4())}
    first = done(api, "Create", **request)
    done(api, "Delete", id="d")
    assert purge(brief).returncode == 0
    assert done(api, "Create", **request).body == first.body
    assert api.call("Get", {"id": "d"}).code == "not_found"


def test_purge_waits_until_the_time_is_up(server: RunningServer, one_api: Api, project_id: str) -> None:
    done(one_api, "Create", dashboardId="d", name="A")
    done(one_api, "Delete", id="d")
    before = stored_rows(server, project_id)
    assert purge(server).returncode == 0
    assert stored_rows(server, project_id) == before
    done(one_api, "Undelete", id="d")


def test_purge_trims_to_what_the_setting_says_now(database: str, project_id: str, tmp_path: Path) -> None:
    with server_on(database, tmp_path) as other:  # of its own: the command trims all projects
        api = Api(other, "grpc", make_token(project_id), project_id)
        for dashboard_id in ("a", "b"):
            done(api, "Create", dashboardId=dashboard_id, name="A")
            for number in range(105):
                done(api, "Upsert", dashboardId=dashboard_id, tiles=[markdown("a", str(number))])
        assert purge(other, REVISIONS_KEPT="2").returncode == 0
        assert counts(other, project_id) == {"dashboards": 2, "revisions": 4, "bodies": 4}
        assert [revisions(api, it) for it in ("a", "b")] == [[106, 105]] * 2
        api.close()


def test_purge_all_of_a_project_erases_it_and_no_other(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    neighbour = f"{project_id}x"
    other = Api(brief, "grpc", make_token(neighbour), neighbour)
    for each in (api, other):
        for number in range(25):
            request = {"dashboardId": f"d{number:02}", "name": "A", "labels": {"k": "v"}}
            done(each, "Create", **request, tiles=[markdown("a")], requestId=str(uuid.uuid4()))
    before = stored_rows(brief, neighbour)
    run = purge(brief, "--project", project_id, "--all")
    assert (run.returncode, run.stderr) == (0, "")
    assert project_id in run.stdout
    assert counts(brief, project_id) == {"purged_dashboards": 25}
    assert stored_rows(brief, neighbour) == before
    assert "dashboards" not in done(api, "List", showDeleted=True).body
    assert done(api, "Create", dashboardId="d00", name="A").dashboard["revision"] == "2"
    other.close()


@pytest.mark.parametrize("arguments", [["--all"], ["--project", "p"]])
def test_purge_of_half_a_wish_is_refused(brief: RunningServer, arguments: list[str]) -> None:
    run = purge(brief, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "--project ID --all" in run.stderr
