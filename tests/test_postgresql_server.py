"""`dashkeeper` on PostgreSQL, as an operator runs it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.store.migrations import SCHEMA
from tests import forks
from tests.api import TRANSPORTS, Api
from tests.postgresql import cut_connections
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, running_server
from tests.tiles import ids, markdown

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.api import Reply


def dashkeeper(command: str, folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    settings = {"JWT_SECRET": SECRET, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "LOG_LEVEL": "error"}
    if command == "serve":
        settings |= {"HTTP_ADDRESS": "127.0.0.1:0", "GRPC_ADDRESS": "127.0.0.1:0"}
    return forks.run([command, *arguments], folder, **settings, DATABASE_URL=url)


def done(api: Api, method: str, **request: Any) -> Reply:
    reply = api.call(method, request)
    assert reply.code == "ok", reply
    return reply


def test_serve_without_the_schema_is_refused_with_the_command_to_run(
    tmp_path: Path, empty_postgresql_url: str
) -> None:
    run = dashkeeper("serve", tmp_path, empty_postgresql_url)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "`dashkeeper migrate`" in run.stderr
    check = dashkeeper("migrate", tmp_path, empty_postgresql_url, "--check")
    assert (check.returncode, "schema none" in check.stdout) == (1, True)


@pytest.mark.parametrize("command", ["serve", "migrate", "purge"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@127.0.0.1:1/none",
        "postgresql://postgres@nowhere.invalid/none",
        "postgresql://postgres@127.0.0.1:many/none",
        "mysql://localhost/none",
    ],
)
def test_database_that_is_not_there_is_told_in_one_line(tmp_path: Path, command: str, url: str) -> None:
    run = dashkeeper(command, tmp_path, url)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1, run.stderr
    assert "DASHKEEPER_DATABASE_URL" in run.stderr


def test_database_that_does_not_exist_is_told_in_one_line(tmp_path: Path, empty_postgresql_url: str) -> None:
    run = dashkeeper("migrate", tmp_path, f"{empty_postgresql_url}x")
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert "does not exist" in run.stderr


def test_serve_after_migrate_answers_and_outlives_its_connections(
    tmp_path: Path, empty_postgresql_url: str, project_id: str
) -> None:
    url = empty_postgresql_url
    with ThreadPoolExecutor(2) as threads:
        for migration in [threads.submit(dashkeeper, "migrate", tmp_path, url) for _ in range(2)]:
            run = migration.result()
            assert (run.returncode, run.stderr) == (0, "")
            assert SCHEMA in run.stdout
    with running_server(tmp_path, DATABASE_URL=url, PURGE_AFTER="0s") as server:
        for number, transport in enumerate(TRANSPORTS):
            api = Api(server, transport, make_token(project_id), project_id)
            live(api, f"d{number}")
            api.close()
        api = Api(server, "grpc", make_token(project_id), project_id)
        done(api, "Create", dashboardId="last", name="Last", tiles=[markdown("a")])
        before = done(api, "Get", id="last").dashboard
        asyncio.run(cut_connections(url))
        answers = [api.call("Get", {"id": "last"}) for _ in range(20)]
        assert {answer.code for answer in answers} <= {"ok", "unavailable"}
        assert answers[-1].dashboard == before
        run = dashkeeper("purge", tmp_path, url)
        assert (run.returncode, run.stderr) == (0, "")
        assert done(api, "Create", dashboardId="d0", name="Anew").dashboard["revision"] == "8"
        run = dashkeeper("purge", tmp_path, url, "--project", project_id, "--all")
        assert (run.returncode, run.stderr) == (0, "")
        assert "dashboards" not in done(api, "List", showDeleted=True).body
        api.close()
        assert server.stop() == 0


def live(api: Api, dashboard_id: str) -> None:
    """Lead a dashboard through its life."""
    first = done(api, "Create", dashboardId=dashboard_id, name="A", tiles=[markdown("a"), markdown("b")])
    assert done(api, "Get", id=dashboard_id).dashboard == first.dashboard
    done(api, "Update", id=dashboard_id, name="B", etag=first.dashboard["etag"])
    stale = api.call("Update", {"id": dashboard_id, "name": "C", "etag": first.dashboard["etag"]})
    assert (stale.code, stale.reason) == ("aborted", "ETAG_MISMATCH")
    done(api, "Upsert", dashboardId=dashboard_id, tiles=[markdown("b")])
    assert dashboard_id in ids(done(api, "List", namePrefix="B").body["dashboards"])
    done(api, "Delete", id=dashboard_id)
    assert api.call("Get", {"id": dashboard_id}).code == "not_found"
    done(api, "Undelete", id=dashboard_id)
    restored = done(api, "Restore", id=dashboard_id, revision="1").dashboard
    assert ids(restored["tiles"]) == ["a", "b"]
    kinds = [it["kind"] for it in done(api, "ListRevisions", id=dashboard_id).body["revisions"]]
    assert [kind.removeprefix("REVISION_KIND_") for kind in kinds] == [
        "RESTORE",
        "UNDELETE",
        "DELETE",
        "UPSERT",
        "UPDATE",
        "CREATE",
    ]
    kept = done(api, "GetRevision", id=dashboard_id, revision="1").dashboard
    assert kept == first.dashboard
    done(api, "Delete", id=dashboard_id)
