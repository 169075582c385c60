"""What may go: deleted dashboards whose time is up, expired answers, history beyond what is kept.

Each function is one small transaction's work, so that no lock is held for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select, tuple_, update

from dashkeeper.store.sql.history import trim_revisions
from dashkeeper.store.sql.requests import LIFETIME
from dashkeeper.store.sql.tiles import drop_unreferenced_tiles
from dashkeeper.store.tables import dashboards, purged_dashboards, requests, revisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_DASHBOARDS_AT_ONCE = 10
_ANSWERS_AT_ONCE = 100
_WALKED_AT_ONCE = 500
_REVISIONS_AT_ONCE = 100
"""Of a dashboard that is purged: a longer history goes before it, a batch at a time."""

_FIND = select(dashboards.c.project_id, dashboards.c.id, dashboards.c.revision)
_SOME = _FIND.limit(_DASHBOARDS_AT_ONCE).with_for_update()  # nobody brings them back meanwhile
_FIND_DUE = _SOME.where(dashboards.c.purge_at <= bindparam("now"))
_FIND_OF_PROJECT = _SOME.where(dashboards.c.project_id == bindparam("project_id"))
_WALK = (
    _FIND.where(
        tuple_(dashboards.c.project_id, dashboards.c.id)
        > tuple_(bindparam("after_project_id"), bindparam("after_id"))
    )
    .order_by(dashboards.c.project_id, dashboards.c.id)
    .limit(_WALKED_AT_ONCE)
)
_DELETE = delete(dashboards).where(
    dashboards.c.project_id == bindparam("project_id"), dashboards.c.id == bindparam("dashboard_id")
)
_IS_PURGED = and_(
    purged_dashboards.c.project_id == bindparam("of_project_id"), purged_dashboards.c.id == bindparam("of_id")
)
_FIND_HASHES = select(revisions.c.tiles_hash).where(
    revisions.c.project_id == bindparam("project_id"), revisions.c.dashboard_id == bindparam("dashboard_id")
)
_DELETE_REVISIONS = delete(revisions).where(
    revisions.c.project_id == bindparam("project_id"), revisions.c.dashboard_id == bindparam("dashboard_id")
)
_FIND_ANSWERS = select(requests).order_by(requests.c.created_at).limit(_ANSWERS_AT_ONCE)
_ANSWER_AS_FOUND = (*requests.primary_key.columns, requests.c.created_at)  # which another may have replaced
_DELETE_ANSWER = delete(requests).where(
    *(column == bindparam(f"of_{column.name}") for column in _ANSWER_AS_FOUND)
)


def purge_due(conn: Connection, now: int) -> int | None:
    """Purge some of the deleted dashboards whose time is up; return how many, None if there is none."""
    rows = conn.execute(_FIND_DUE, {"now": now}).all()
    return _purge(conn, rows) if rows else None


def erase_some(conn: Connection, project_id: str) -> int:
    """Purge some of a project's dashboards, deleted or not, and answers; return how many were found."""
    rows = conn.execute(_FIND_OF_PROJECT, {"project_id": project_id}).all()
    answers = conn.execute(_FIND_ANSWERS.where(requests.c.project_id == project_id)).all()
    _purge(conn, rows)
    _forget(conn, answers)
    return len(rows) + len(answers)


def forget_expired(conn: Connection, now: int) -> int:
    """Delete some of the answers that have expired; return how many."""
    expired = requests.c.created_at <= now - LIFETIME
    return _forget(conn, conn.execute(_FIND_ANSWERS.where(expired)).all())


def trim_some(conn: Connection, after: tuple[str, str], revisions_kept: int) -> tuple[str, str] | None:
    """Walk some dashboards in the order of their keys, and trim the first with too long a history.

    Return the key to go on after; None at the end.
    """
    key = {"after_project_id": after[0], "after_id": after[1]}
    for row in conn.execute(_WALK, key).all():
        last_trimmed = row.revision - revisions_kept
        if last_trimmed > 0 and trim_revisions(conn, row.project_id, row.id, last_trimmed):
            return after  # again from here: there may be more of it
        after = (row.project_id, row.id)
    return None if after == (key["after_project_id"], key["after_id"]) else after


def _purge(conn: Connection, rows: Sequence[Row[str, str, int]]) -> int:
    """Purge these dashboards, but of a long history only a part; return how many were purged."""
    purged = 0
    for row in rows:
        key = {"project_id": row.project_id, "dashboard_id": row.id}
        if trim_revisions(conn, row.project_id, row.id, row.revision - _REVISIONS_AT_ONCE):
            continue  # again by a later batch: there may be more of it
        purged += 1
        conn.execute(_DELETE, key)
        left = {"of_project_id": row.project_id, "of_id": row.id, "revision": row.revision}
        if conn.execute(update(purged_dashboards).where(_IS_PURGED), left).rowcount == 0:
            values = {"project_id": row.project_id, "id": row.id, "revision": row.revision}
            conn.execute(insert(purged_dashboards), values)
        hashes = set(conn.execute(_FIND_HASHES, key).scalars())
        conn.execute(_DELETE_REVISIONS, key)
        drop_unreferenced_tiles(conn, row.project_id, row.id, hashes)
    return purged


def _forget(conn: Connection, rows: Sequence[Row[str, str, str, str, int, bytes, bytes, str, bytes]]) -> int:
    if rows:
        names = [column.name for column in _ANSWER_AS_FOUND]
        conn.execute(_DELETE_ANSWER, [{f"of_{name}": getattr(row, name) for name in names} for row in rows])
    for row in rows:
        if row.tiles_hash is not None:
            drop_unreferenced_tiles(conn, row.project_id, row.dashboard_id, {row.tiles_hash})
    return len(rows)
