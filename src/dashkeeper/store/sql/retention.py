"""What may go: deleted resources whose time is up, history beyond what is kept, expired answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select, update

from dashkeeper.store.sql.bodies import drop_unreferenced
from dashkeeper.store.sql.organisations import release
from dashkeeper.store.sql.requests import LIFETIME
from dashkeeper.store.sql.resources import DASHBOARDS, REGISTRATIONS
from dashkeeper.store.tables import purged_dashboards, registrations, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from dashkeeper.store.base import Cursor
    from dashkeeper.store.sql.resources import SweptRow

_ANSWERS_AT_ONCE = 100

_IS_PURGED = and_(
    purged_dashboards.c.project_id == bindparam("of_project_id"), purged_dashboards.c.id == bindparam("of_id")
)
_FIND_ORGANISATION = select(registrations.c.organisation_id).where(
    registrations.c.project_id == bindparam("project_id"), registrations.c.id == bindparam("registration_id")
)
_ANSWER_AS_FOUND = (*requests.primary_key.columns, requests.c.created_at)  # which another may have replaced
_FIND_ANSWERS = (
    select(*_ANSWER_AS_FOUND, requests.c.resource_id, requests.c.body_hash)
    .order_by(requests.c.created_at)
    .limit(_ANSWERS_AT_ONCE)
)
_DELETE_ANSWER = delete(requests).where(
    *(column == bindparam(f"of_{column.name}") for column in _ANSWER_AS_FOUND)
)


def purge_due(conn: Connection, now: int) -> int | None:
    """Purge some of the deleted resources whose time is up; return how many, None if there is none."""
    found = DASHBOARDS.find_due(conn, now)
    registered = REGISTRATIONS.find_due(conn, now)
    if not found and not registered:
        return None
    return _purge_dashboards(conn, found) + _purge_registrations(conn, registered)


def erase_some(conn: Connection, project_id: str) -> int:
    """Purge some of a project's resources, deleted or not, and answers; return how many were found."""
    found = DASHBOARDS.find_of_project(conn, project_id)
    registered = REGISTRATIONS.find_of_project(conn, project_id)
    answers = conn.execute(_FIND_ANSWERS.where(requests.c.project_id == project_id)).all()
    _purge_dashboards(conn, found)
    _purge_registrations(conn, registered)
    _forget(conn, answers)
    return len(found) + len(registered) + len(answers)


def forget_expired(conn: Connection, now: int) -> int:
    """Delete some of the answers that have expired; return how many."""
    expired = requests.c.created_at <= now - LIFETIME
    return _forget(conn, conn.execute(_FIND_ANSWERS.where(expired)).all())


def trim_some(conn: Connection, after: Cursor, kept: int) -> Cursor | None:
    """Walk some resources in the order of their keys, and trim the first with too long a history.

    Return the cursor to continue after; None at the end.
    """
    kind, project_id, resource_id = after
    kinds = (DASHBOARDS, REGISTRATIONS)
    rows = kinds[kind].walk(conn, project_id, resource_id)
    for row in rows:
        last_trimmed = row.last_number - kept
        if last_trimmed > 0 and kinds[kind].trim(conn, row.project_id, row.id, last_trimmed):
            return after  # again from here: there may be more of it
        after = (kind, row.project_id, row.id)
    if rows:
        return after
    return (kind + 1, "", "") if kind + 1 < len(kinds) else None


def _purge_dashboards(conn: Connection, rows: Sequence[SweptRow]) -> int:
    """Purge these dashboards, or only a part of a long history; return how many were purged."""
    purged = 0
    for row in rows:
        if not DASHBOARDS.delete(conn, row):
            continue
        purged += 1
        left = {"of_project_id": row.project_id, "of_id": row.id, "revision": row.revision}
        if conn.execute(update(purged_dashboards).where(_IS_PURGED), left).rowcount == 0:
            values = {"project_id": row.project_id, "id": row.id, "revision": row.revision}
            conn.execute(insert(purged_dashboards), values)
    return purged


def _purge_registrations(conn: Connection, rows: Sequence[SweptRow]) -> int:
    """Purge these registrations, or only a part of a long history; return how many were purged."""
    purged = 0
    for row in rows:
        key = {"project_id": row.project_id, "registration_id": row.id}
        organisation_id = conn.execute(_FIND_ORGANISATION, key).scalar_one()
        if REGISTRATIONS.delete(conn, row):
            purged += 1
            release(conn, row.project_id, organisation_id)
    return purged


def _forget(conn: Connection, rows: Sequence[Row[str, str, str, str, int, str, bytes | None]]) -> int:
    if rows:
        names = [column.name for column in _ANSWER_AS_FOUND]
        conn.execute(_DELETE_ANSWER, [{f"of_{name}": getattr(row, name) for name in names} for row in rows])
    for row in rows:
        if row.body_hash is not None:
            drop_unreferenced(conn, row.project_id, row.resource_id, {row.body_hash})
    return len(rows)
