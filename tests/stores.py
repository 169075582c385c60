"""The store on each database, and DashboardsService on it without any transport."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashkeeper.auth import Caller
from dashkeeper.gen.dashboards.v1.changes_pb import CreateRequest, CreateResponse
from dashkeeper.gen.dashboards.v1.tile_pb import MarkdownTile, Position, Tile, TileType
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges
from dashkeeper.services.dashboard_changes import DashboardLimits
from dashkeeper.services.dashboards import Dashboards
from dashkeeper.store.base import Outcome, RevisionEntry, Write
from dashkeeper.store.sql.store import SQLStore
from dashkeeper.times import now
from tests.database import make_database, migrate
from tests.postgresql import MISSING, create_database, drop_database, is_reachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard

CTX: Any = None
"""The context of a call, which no method looks at."""


def make_store(url: str, *, revisions_kept: int = 100) -> SQLStore:
    return SQLStore(make_database(url), max_dashboards=1_000_000, revisions_kept=revisions_kept)


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite file for all tests of a worker."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'dashkeeper.db'}"
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="session")
def postgresql() -> None:
    """Skip without a PostgreSQL server."""
    if not asyncio.run(is_reachable()):
        pytest.skip(MISSING)


@pytest.fixture
def empty_postgresql_url(postgresql: None) -> Iterator[str]:  # noqa: ARG001 # a fixture of fixtures
    """A PostgreSQL database of the test's own, without any table."""
    made = asyncio.run(create_database())
    yield made
    asyncio.run(drop_database(made))


@pytest.fixture(scope="session")
def postgresql_url(postgresql: None) -> Iterator[str]:  # noqa: ARG001 # as above
    """A PostgreSQL database for all tests of a worker."""
    made = asyncio.run(create_database())
    asyncio.run(migrate(made))
    yield made
    asyncio.run(drop_database(made))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A database of each kind, with the schema."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """A database of each kind, the test's own, without the schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("empty_postgresql_url")


@pytest.fixture
async def store(url: str) -> AsyncIterator[SQLStore]:
    """The store on each database; keep to your own project."""
    made = make_store(url)
    yield made
    await made.close()


@pytest.fixture
async def brief_store(url: str) -> AsyncIterator[SQLStore]:
    """A store that keeps three revisions."""
    made = make_store(url, revisions_kept=3)
    yield made
    await made.close()


def service(store: SQLStore, project_id: str, *, purge_after: timedelta = timedelta(0)) -> Dashboards:
    """Return DashboardsService for one caller."""
    limits = DashboardLimits(max_tiles=500, require_etag=False, purge_after=purge_after)
    return Dashboards(store, limits, Caller(subject="tester", project_id=project_id))


@pytest.fixture
def dashboards(store: SQLStore, project_id: str) -> Dashboards:
    """DashboardsService on each database, in the test's own project."""
    return service(store, project_id)


def tile(tile_id: str, content: str = "text") -> Tile:
    return Tile(
        id=tile_id,
        type=TileType.MARKDOWN,
        position=Position(w=1, h=1),
        markdown=MarkdownTile(content=content),
    )


async def create(api: Dashboards, dashboard_id: str = "d", **fields: Any) -> Dashboard:
    merged: dict[str, Any] = {"dashboard_id": dashboard_id, "name": "A", **fields}
    request = CreateRequest(**merged)
    return made((await api.create(request, CTX)).dashboard)


async def put(store: SQLStore, project_id: str, state: Dashboard) -> None:
    """Store a state as it stands: for times that a test chooses."""
    write = Write(
        project_id=project_id,
        resource_id=state.id,
        subject="tester",
        method="test",
        now=now(),
        change_message="",
        validate_only=False,
        request_id="",
        request_hash=b"",
    )
    entry = RevisionEntry("CREATE", TileChanges())
    outcome = Outcome(reply=CreateResponse(dashboard=state), state=state, entry=entry)
    await store.write_dashboard(write, lambda _: outcome, CreateResponse)


def made(dashboard: Dashboard | None) -> Dashboard:
    """Return an answer's dashboard, which is always there."""
    assert dashboard is not None
    return dashboard
