"""The bulk load: what it puts into a database is what the service would have stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashkeeper.gen.dashboards.v1.dashboards_pb import ListRequest
from dashkeeper.gen.dashboards.v1.history_pb import (
    GetRevisionRequest,
    ListRevisionsRequest,
    RevisionKind,
)
from tests.bulk_load import REVISIONS, TILES, load, name_of, project_of, sizes
from tests.stores import CTX, made, make_store, migrate, service

if TYPE_CHECKING:
    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.services.dashboards import Dashboards

COUNT, PROJECTS = 200, 4


async def test_bulk_load_reads_back_as_dashboards_with_history(empty_url: str) -> None:
    await migrate(empty_url)
    await load(empty_url, COUNT, PROJECTS)
    store = make_store(empty_url)
    etags: set[str] = set()
    deleted = 0
    for project in range(PROJECTS):
        api = service(store, project_of(project, PROJECTS))
        listed = (await api.list(ListRequest(show_deleted=True, order_by="name"), CTX)).dashboards
        assert [dashboard.name for dashboard in listed] == [
            name_of(number) for number in range(project, COUNT, PROJECTS)
        ]
        deleted += sum(dashboard.deleted_at is not None for dashboard in listed)
        for dashboard in listed:
            etags |= await check(api, dashboard)
    await store.close()
    assert len(etags) == COUNT * REVISIONS  # no two states share an etag
    assert 0 < deleted < COUNT // 5
    bytes_of = await sizes(empty_url)
    assert bytes_of["everything"] > bytes_of["bodies"] > bytes_of["dashboards"] > 0


async def check(api: Dashboards, listed: Dashboard) -> set[str]:
    """Check a dashboard by what its service says of it; return the etags of its states."""
    history = (await api.list_revisions(ListRevisionsRequest(id=listed.id), CTX)).revisions
    assert [revision.revision for revision in history] == [*range(REVISIONS, 0, -1)]
    assert history[0].etag == listed.etag
    states = [
        made((await api.get_revision(GetRevisionRequest(id=listed.id, revision=number), CTX)).dashboard)
        for number in range(1, REVISIONS + 1)
    ]
    for older, newer, revision in zip(states, states[1:], history[-2::-1], strict=False):
        assert (newer.id, newer.name, newer.etag) == (listed.id, listed.name, revision.etag)
        assert newer.tile_count == len(newer.tiles)
        assert newer.tile_count in TILES
        updated = [new.id for old, new in zip(older.tiles, newer.tiles, strict=True) if old != new]
        assert (revision.kind, len(updated)) in {(RevisionKind.UPSERT, 1), (RevisionKind.DELETE, 0)}
        assert revision.changes is not None
        assert revision.changes.updated == updated
    return {revision.etag for revision in history}
