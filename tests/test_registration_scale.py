"""An organisation of 5,000 registrations among others: what a place's page costs is counted, not timed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import insert

from dashkeeper import times
from dashkeeper.gen.registrations.v1.content_pb import DashboardContent, DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration, Scope
from dashkeeper.gen.registrations.v1.registrations_pb import ListRequest
from dashkeeper.store.tables import (
    bodies,
    contents,
    metadata,
    organisations,
    registration_places,
    registrations,
)
from tests.attack import MIB
from tests.database import make_database, migrate
from tests.registrations import create, put_content, service
from tests.scale import START, captured_statements
from tests.stores import CTX, make_store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dashkeeper.gen.registrations.v1.registrations_pb import ListResponse
    from tests.scale import Statement

COUNT, SMALL_COUNT = 5_000, 60
BODY = DashboardContentWrapper(content=DashboardContent()).to_binary()
BODY_HASH = hashlib.sha256(BODY).digest()


def load(conn: Connection, project_id: str, organisation_id: str, count: int) -> None:
    """Put registrations with contents straight into the tables; each third is on the page of segment "1"."""
    key = {"project_id": project_id}
    rows: dict[Any, list[dict[str, Any]]] = {
        organisations: [key | {"organisation_id": organisation_id, "community_id": "c"}],
        registrations: [],
        registration_places: [],
        contents: [],
        bodies: [],
    }
    for number in range(count):
        registration_id, content_id = f"{organisation_id}-{number:05}", f"content_{number}"
        state = DashboardRegistration(
            id=registration_id,
            title=f"title {number * 7 % count:05}",
            scopes=[Scope.SEGMENTS],
            segment_ids=[] if number % 6 == 0 else [str(number % 3), "other"],
            dashboard_content_id=content_id,
            organisation_id=organisation_id,
            community_id="c",
            created_ts=times.to_timestamp(START + number),
            etag=f"{number}",
        )
        rows[registrations].append(
            key
            | {
                "id": registration_id,
                "deleted": 0,
                "organisation_id": organisation_id,
                "archived": 0,
                "title": state.title,
                "folded_title": state.title,
                "purge_at": None,
                "revision": 2,
                "content_number": 1,
                "header": state.to_binary(),
            }
        )
        rows[registration_places] += [
            key | {"registration_id": registration_id, "scope": int(Scope.SEGMENTS), "place_id": place_id}
            for place_id in state.segment_ids or [""]
        ]
        header = DashboardContentWrapper(id=content_id).to_binary()
        entry = {"number": 1, "id": content_id, "header": header, "body_hash": BODY_HASH}
        rows[contents].append(key | {"registration_id": registration_id, **entry})
        rows[bodies].append(key | {"resource_id": registration_id, "hash": BODY_HASH, "body": BODY})
    for table, values in rows.items():
        conn.execute(insert(table), values)


LOADED: dict[str, str] = {}
"""The project that is loaded on each database."""


def loaded(url: str) -> str:
    """Return a project with two organisations, a big and a small one."""
    if url not in LOADED:
        project_id = f"scale-{uuid.uuid4().hex}"

        async def fill() -> None:
            database = make_database(url)
            await database.write(lambda conn: load(conn, project_id, "big", COUNT))
            await database.write(lambda conn: load(conn, project_id, "small", SMALL_COUNT))
            await database.close()

        asyncio.run(fill())
        LOADED[url] = project_id
    return LOADED[url]


def page_of(url: str, **request: Any) -> tuple[ListResponse, list[Statement]]:
    """Return a page and the statements that it took."""

    async def read() -> tuple[ListResponse, list[Statement]]:
        store = make_store(url)
        api = service(store, loaded_project)
        try:
            await store.communities_of(
                "", []
            )  # PostgreSQL's first connection begins with statements of its own
            with captured_statements() as statements:
                page = await api.list(ListRequest(**request), CTX)
            return page, statements
        finally:
            await store.close()

    loaded_project = loaded(url)
    return asyncio.run(read())


PLACE: dict[str, Any] = {"scope": Scope.SEGMENTS, "segment_id": "1", "include_content": True}


def test_page_of_a_place_takes_as_many_statements_whatever_there_is(url: str) -> None:
    for organisation, length in (("big", 50), ("small", 30), ("none", 0)):
        page, statements = page_of(url, organisation_id=organisation, **PLACE)
        assert len(statements) == 1
        assert len(page.registrations) == length
        contents = [it.dashboard_content_id for it in page.registrations]
        assert [it.id for it in page.content_wrappers] == contents
        for more in ({"include_total": True}, {"include_community": True, "community_id": "c"}):
            _, statements = page_of(url, organisation_id=organisation, **PLACE, **more)
            assert len(statements) == 2


async def test_all_pages_of_a_place_hold_each_once(url: str) -> None:
    project_id = await asyncio.to_thread(loaded, url)
    store = make_store(url)
    found: list[str] = []
    token = ""
    while not found or token:
        request = ListRequest(organisation_id="big", **PLACE, page_token=token)
        page = await service(store, project_id).list(request, CTX)
        found += [it.id for it in page.registrations]
        token = page.next_page_token
    await store.close()
    # Every sixth is on every segment's page; of the rest, those whose list holds "1".
    shown = [number for number in range(COUNT) if number % 6 == 0 or number % 3 == 1]
    expected = sorted(shown, key=lambda number: number * 7 % COUNT)
    assert found == [f"big-{number:05}" for number in expected]


QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "place": {"scope": Scope.SEGMENTS, "segment_id": "1"},
    "contents": PLACE,
    "title": {"title_contains": "title"},
}


@pytest.mark.parametrize("filters", QUERIES.values(), ids=QUERIES)
def test_page_of_an_organisation_reads_no_other_ones(sqlite_url: str, filters: dict[str, Any]) -> None:
    steps: dict[str, int] = {}
    for organisation in ("big", "small"):
        _, (statement,) = page_of(sqlite_url, organisation_id=organisation, page_size=20, **filters)
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as conn:
            plan = statement.plan(conn)
            steps[organisation] = statement.steps(conn)
        picking = plan[: plan.index("SCAN sized")]  # what follows sorts and looks up no more than a page
        assert not [line for line in picking if line.startswith("SCAN") or "TEMP B-TREE" in line], plan
        assert not [line for line in plan if line.startswith("SCAN ") and line.split()[1] in metadata.tables]
        assert any("registrations_by_title (project_id=? AND organisation_id=?" in line for line in plan)
    # The first page of 5,000 costs what that of 60 does.
    assert steps["big"] < 2 * steps["small"], steps


def test_place_is_looked_up_by_its_key_before_anything_is_known_of_the_tables(
    empty_postgresql_url: str,
) -> None:
    """PostgreSQL without statistics: to read all places for each registration would take minutes."""

    async def plan() -> str:
        await migrate(empty_postgresql_url)
        store = make_store(empty_postgresql_url)
        with captured_statements() as statements:
            await service(store, "p").list(ListRequest(organisation_id="big", **QUERIES["place"]), CTX)
        await store.close()
        statement = statements[-1]
        conn = await asyncpg.connect(empty_postgresql_url)
        rows = await conn.fetch(f"EXPLAIN {statement.sql}", *statement.parameters)
        await conn.close()
        return "\n".join(row[0] for row in rows)

    text = asyncio.run(plan())
    (condition,) = [line for line in text.splitlines() if "Index Cond" in line and "scope = " in line]
    assert re.search(r"registrations(_1)?\.id", condition), text


LARGE_IDS = {
    "scopes": [Scope.SEGMENTS],
    "segment_ids": [f"{number:03}" + "x" * 380 for number in range(1_000)],
}


@pytest.mark.parametrize(
    ("count", "fields", "title", "length"),
    [(4, {}, "x" * 1_500_000, 2), (11, LARGE_IDS, "", 9), (2, LARGE_IDS, "x" * 3_669_900, 1)],
    ids=["contents", "registrations", "both"],
)
async def test_page_reads_no_more_bytes_than_it_answers(
    url: str, count: int, fields: dict[str, Any], title: str, length: int
) -> None:
    store = make_store(url)
    project_id = f"bytes-{uuid.uuid4().hex}"
    api = service(store, project_id)
    for number in range(count):
        made = await create(api, title=f"{number:02}", **fields)
        if title:
            await put_content(api, made.id, title)
    with captured_statements() as statements:
        page = await api.list(ListRequest(organisation_id="org", include_content=bool(title)), CTX)
    await store.close()
    assert len(page.registrations) == length
    assert page.next_page_token
    rows = await asyncio.to_thread(rows_of, url, statements[-1])
    read = sum(len(cell) for row in rows for cell in row if cell is not None)
    assert read <= len(page.to_binary()) < 4 * MIB - 4_096


def rows_of(url: str, statement: Statement) -> list[Any]:
    """Run a statement again, and return all that it gives."""

    async def fetch() -> list[Any]:
        conn = await asyncpg.connect(url)
        rows = await conn.fetch(statement.sql, *statement.parameters)
        await conn.close()
        return rows

    if url.startswith("postgresql"):
        return asyncio.run(fetch())
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as conn:
        return conn.execute(statement.sql, statement.parameters).fetchall()
