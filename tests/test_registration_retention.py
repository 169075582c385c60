"""What is kept of registrations and what goes: `dashkeeper purge`, limits of a project, older schemas."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from dashkeeper.store.migrations import SCHEMA
from tests.api import Api
from tests.database import DATABASES, make_database, server_on, stored_rows
from tests.registrations import BUILDERS, NEW, SEGMENTS, client, done, get, listed, register, show, wrappers
from tests.server import AUDIENCE, ISSUER, SECRET, make_token, purge, running_server
from tests.test_commands import Here
from tests.test_retention import counts
from tests.tiles import Json, ids, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server import RunningServer

PLACES: Json = {"scopes": [SEGMENTS, BUILDERS], "segmentIds": ["1", "2"]}


@pytest.fixture(scope="module", params=DATABASES)
def brief(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server that keeps three contents, and deleted registrations no moment longer than it must."""
    folder = tmp_path_factory.mktemp("brief")
    with server_on(request.param, folder, REVISIONS_KEPT="3", PURGE_AFTER="0s") as running:
        yield running


@pytest.fixture
def api(brief: RunningServer, project_id: str) -> Iterator[Api]:
    made = client(brief, project_id)
    yield made
    made.close()


def test_last_three_contents_are_kept(brief: RunningServer, api: Api, project_id: str) -> None:
    made = register(api)["id"]
    kept = [show(api, made, str(number)) for number in range(6)]
    assert ids(wrappers(api, made)) == [it["id"] for it in kept[:2:-1]]
    assert counts(brief, project_id)["bodies"] == 3
    for content in kept[:3]:
        for method in ("GetContent", "RestoreContent"):
            reply = api.call(method, {"id": made, "contentId": content["id"]})
            assert (reply.code, reply.reason) == ("not_found", "CONTENT_NOT_FOUND")
    assert done(api, "GetContent", id=made, contentId=kept[3]["id"]).wrapper == kept[3]
    reply = api.call(
        "Update", {"id": made, "dashboardContentId": kept[0]["id"], "etag": get(api, made)["etag"]}
    )
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["dashboard_content_id"])


def test_purge_leaves_nothing_of_a_deleted_registration(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    made, live = register(api, **PLACES)["id"], register(api, **PLACES)["id"]
    show(api, made)
    show(api, live)
    before = counts(brief, project_id)
    assert before == {
        "registrations": 2,
        "registration_places": 6,
        "contents": 2,
        "bodies": 2,
        "organisations": 1,
    }
    done(api, "Delete", id=made)
    run = purge(brief)
    assert (run.returncode, run.stderr) == (0, "")
    after = counts(brief, project_id)
    assert after == {name: count - (count > 1) * count // 2 for name, count in before.items()}
    for method, request in {
        "Get": {},
        "Undelete": {},
        "ListContents": {},
        "GetContent": {},
        "RestoreContent": {"contentId": "x"},
    }.items():
        assert api.call(method, {"id": made, **request}).code == "not_found", method
    assert ids(listed(api, showDeleted=True)) == [live]
    done(api, "Delete", id=live)
    assert purge(brief).returncode == 0
    assert counts(brief, project_id) == {}
    register(api, communityId="another")


def test_purge_leaves_answers_to_request_ids_and_their_contents(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    made = register(api)["id"]
    request: Json = {"id": made, "content": {"sections": [{"title": "A"}]}, "requestId": str(uuid.uuid4())}
    first = done(api, "UpdateContent", **request)
    done(api, "Delete", id=made)
    assert purge(brief).returncode == 0
    assert counts(brief, project_id) == {"requests": 1, "bodies": 1}
    assert done(api, "UpdateContent", **request).body == first.body


def test_purge_waits_until_the_time_is_up(
    server: RunningServer, one_registrations: Api, project_id: str
) -> None:
    made = register(one_registrations)["id"]
    show(one_registrations, made)
    done(one_registrations, "Delete", id=made)
    before = stored_rows(server, project_id)
    assert purge(server).returncode == 0
    assert stored_rows(server, project_id) == before
    done(one_registrations, "Undelete", id=made)


def test_purge_all_of_a_project_leaves_nothing_in_any_table(
    brief: RunningServer, api: Api, project_id: str
) -> None:
    neighbour = client(brief, f"{project_id}x")
    for each in (api, neighbour):
        for number in range(12):
            organisation = {"organisationId": f"org{number % 3}", "requestId": str(uuid.uuid4())}
            made = register(each, **PLACES, **organisation)["id"]
            show(each, made, "1", requestId=str(uuid.uuid4()))
            show(each, made, "2")
            if number % 2:
                done(each, "Delete", id=made)
    before = stored_rows(brief, f"{project_id}x")
    assert {name for name, rows in before.items() if rows} == {
        "registrations",
        "registration_places",
        "contents",
        "bodies",
        "organisations",
        "requests",
    }
    run = purge(brief, "--project", project_id, "--all")
    assert (run.returncode, run.stderr) == (0, "")
    assert counts(brief, project_id) == {}
    assert stored_rows(brief, f"{project_id}x") == before
    assert listed(api, showDeleted=True, organisationId="org0") == []
    neighbour.close()


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small limits."""
    with running_server(tmp_path_factory.mktemp("small"), MAX_DASHBOARDS="5", PURGE_AFTER="12h") as running:
        yield running


def test_registrations_of_a_project_are_bounded_apart_from_its_dashboards(
    small_server: RunningServer, project_id: str
) -> None:
    dashboards = Api(small_server, "grpc", make_token(project_id), project_id)
    api, other = client(small_server, project_id), client(small_server, f"{project_id}-2")
    for _ in range(5):
        assert dashboards.call("Create", {"name": "A"}).code == "ok"
    made = [register(api)["id"] for _ in range(5)]
    done(api, "Delete", id=made[0])
    for dry_run in (True, False):
        reply = api.call("Create", NEW | {"validateOnly": dry_run})
        assert (reply.code, reply.reason) == ("resource_exhausted", "TOO_MANY_REGISTRATIONS")
        assert reply.metadata == {"max_registrations": "5"}
    done(api, "Undelete", id=made[0])
    done(api, "Update", id=made[0], title="B")
    show(api, made[0])
    register(other)
    for each in (dashboards, api, other):
        each.close()


def test_purge_after_says_when_a_deleted_registration_is_erased(
    small_server: RunningServer, project_id: str
) -> None:
    api = client(small_server, project_id)
    done(api, "Delete", id=register(api)["id"])
    (found,) = listed(api, showDeleted=True)
    assert time(found["purgeAt"]) - time(found["deletedAt"]) == timedelta(hours=12)
    api.close()


# Older schemas

OLD_ROWS: dict[str, str] = {
    "dashboards": "'p', 'd', 0, 'n', 'n', 1, 2, NULL, 3, {blob}, {blob}",
    "dashboard_labels": "'p', 'd', 'k', 'v'",
    "tile_states": "'p', 'd', {blob}, {blob}",
    "revisions": "'p', 'd', 3, 'CREATE', 1, 's', 'm', {blob}, {blob}, {blob}",
    "requests": "'p', 's', 'Create', 'r', 1, {blob}, {blob}, 'd', NULL",
    "purged_dashboards": "'p', 'gone', 7",
}


def test_migrate_from_the_schema_before_registrations_keeps_every_row(empty_url: str) -> None:
    blob = "x'00ff'" if empty_url.startswith("sqlite") else "'\\x00ff'"

    async def run() -> tuple[list[Any], list[Any], str | None]:
        database = make_database(empty_url)

        async def read(**renamed: str) -> list[Any]:
            tables = [renamed.get(table, table) for table in OLD_ROWS]
            return await database.scan(
                lambda conn: [
                    [tuple(row) for row in conn.execute(text(f"SELECT * FROM {table}"))]  # noqa: S608 # our own
                    for table in tables
                ]
            )

        try:
            await database.migrate("0002")
            for table, values in OLD_ROWS.items():
                statement = text(f"INSERT INTO {table} VALUES ({values.format(blob=blob)})")  # noqa: S608 # our own
                await database.write(lambda conn, it=statement: conn.execute(it).rowcount)
            before = await read()
            await database.migrate("head")
            return before, await read(tile_states="bodies"), await database.schema_version()
        finally:
            await database.close()

    before, after, version = asyncio.run(run())
    assert all(before)
    after[0] = [row[: len(before[0][0])] for row in after[0]]  # dashboards: a column was added
    assert after == before
    assert version == SCHEMA


# Tokens


def test_token_command_limits_a_token_to_organisations(
    sqlite_server: RunningServer,
    project_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = Here(monkeypatch, capsys)
    mine = client(sqlite_server, project_id)
    made = {name: register(mine, organisationId=name)["id"] for name in ("org", "Ünï 👩", "other")}
    settings = {"JWT_SECRET": SECRET, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    arguments = ["token", "--project", project_id, "--organisation", "org", "--organisation", "Ünï 👩"]
    token = here.output(*arguments, **settings).strip()
    limited = {"authorization": f"Bearer {token}"}
    codes = {name: mine.call("Get", {"id": it}, **limited).code for name, it in made.items()}
    assert codes == {"org": "ok", "Ünï 👩": "ok", "other": "not_found"}
    mine.close()
    for bad in ("", "a\nb", "x" * 129):
        code, output, errors = here.run("token", "--project", "p", "--organisation", bad, **settings)
        assert (code, output) == (2, "")
        assert "--organisation" in errors
