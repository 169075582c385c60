"""The history of dashboards: read, and trimmed to the revisions that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, select

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.history_pb import Revision, RevisionKind
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges
from dashkeeper.store.base import RevisionPage
from dashkeeper.store.sql.tiles import drop_unreferenced_tiles, refers_to_tiles
from dashkeeper.store.tables import dashboards, revisions, tile_states
from dashkeeper.times import to_timestamp

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dashkeeper.store.base import RevisionQuery

_TRIMMED_AT_ONCE = 100

_IS_DASHBOARD = and_(
    revisions.c.project_id == bindparam("project_id"), revisions.c.dashboard_id == bindparam("dashboard_id")
)
_GET = (
    select(revisions.c.header, tile_states.c.tiles)
    .join(tile_states, refers_to_tiles(revisions, revisions.c.dashboard_id))
    .where(_IS_DASHBOARD, revisions.c.revision == bindparam("revision"))
)
_IS_KNOWN = select(dashboards.c.id).where(
    dashboards.c.project_id == bindparam("project_id"), dashboards.c.id == bindparam("dashboard_id")
)
_LIST = (
    select(revisions)
    .where(_IS_DASHBOARD, revisions.c.revision < bindparam("before"))
    .order_by(revisions.c.revision.desc())
    .limit(bindparam("row_limit"))
)
_FIND_OLD = (
    select(revisions.c.revision, revisions.c.tiles_hash)
    .where(_IS_DASHBOARD, revisions.c.revision <= bindparam("last_trimmed"))
    .order_by(revisions.c.revision)
    .limit(_TRIMMED_AT_ONCE)
)
_DELETE_OLD = delete(revisions).where(_IS_DASHBOARD, revisions.c.revision <= bindparam("last_trimmed"))


def get_revision(conn: Connection, project_id: str, dashboard_id: str, revision: int) -> Dashboard | None:
    """Return the dashboard as of a revision, with its tiles; None if that isn't kept."""
    key = {"project_id": project_id, "dashboard_id": dashboard_id, "revision": revision}
    row = conn.execute(_GET, key).one_or_none()
    return None if row is None else Dashboard.from_binary(row.header + row.tiles)


def list_revisions(
    conn: Connection, project_id: str, dashboard_id: str, query: RevisionQuery
) -> RevisionPage | None:
    """Return a page of a dashboard's history, newest first; None if there is no such dashboard."""
    key = {"project_id": project_id, "dashboard_id": dashboard_id}
    if conn.execute(_IS_KNOWN, key).first() is None:
        return None
    page: list[Revision] = []
    size = 0
    rows = conn.execute(_LIST, {**key, "before": query.before, "row_limit": query.limit + 1}).all()
    for row in rows[: query.limit]:
        header = Dashboard.from_binary(row.header)
        size += len(row.tile_changes) + len(row.change_message.encode()) + len(row.header)
        if page and size > query.max_bytes:
            break
        page.append(
            Revision(
                revision=row.revision,
                etag=header.etag,
                created_at=to_timestamp(row.created_at),
                created_by=row.created_by,
                change_message=row.change_message,
                kind=RevisionKind[row.kind],
                name=header.name,
                changes=TileChanges.from_binary(row.tile_changes),
            )
        )
    return RevisionPage(page, has_more=len(page) < len(rows))


def trim_revisions(conn: Connection, project_id: str, dashboard_id: str, last_trimmed: int) -> bool:
    """Delete a dashboard's revisions up to this one, the oldest first, a hundred at most.

    Tiles that nothing refers to any more go with them. Return whether there was something to delete.
    """
    key = {"project_id": project_id, "dashboard_id": dashboard_id}
    rows = conn.execute(_FIND_OLD, {**key, "last_trimmed": last_trimmed}).all()
    if not rows:
        return False
    conn.execute(_DELETE_OLD, {**key, "last_trimmed": rows[-1].revision})
    drop_unreferenced_tiles(conn, project_id, dashboard_id, {row.tiles_hash for row in rows})
    return True
