"""The history of dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, select

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.history_pb import Revision, RevisionKind
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges
from dashkeeper.store.queries import RevisionPage
from dashkeeper.store.sql.bodies import refers_to_body
from dashkeeper.store.tables import bodies, dashboards, revisions
from dashkeeper.times import to_timestamp

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dashkeeper.store.queries import RevisionQuery

_IS_DASHBOARD = and_(
    revisions.c.project_id == bindparam("project_id"), revisions.c.dashboard_id == bindparam("dashboard_id")
)
_GET = (
    select(revisions.c.header, bodies.c.body)
    .join(bodies, refers_to_body(revisions, revisions.c.dashboard_id))
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


def get_revision(conn: Connection, project_id: str, dashboard_id: str, revision: int) -> Dashboard | None:
    """Return the dashboard as of a revision, with its tiles; None if that isn't kept."""
    key = {"project_id": project_id, "dashboard_id": dashboard_id, "revision": revision}
    row = conn.execute(_GET, key).one_or_none()
    return None if row is None else Dashboard.from_binary(row.header + row.body)


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
