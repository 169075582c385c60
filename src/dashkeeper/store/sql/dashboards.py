"""Dashboards: read by key, listed by keyset, written with a compare on the revision."""

from __future__ import annotations

import hashlib
from copy import copy
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import and_, bindparam, delete, exists, insert, literal_column, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.queries import DashboardPage
from dashkeeper.store.sql.bodies import body_of, header_of, refers_to_body, store_body
from dashkeeper.store.sql.history import get_revision
from dashkeeper.store.sql.names import composed, folded
from dashkeeper.store.sql.requests import LostRaceError
from dashkeeper.store.sql.resources import DASHBOARDS
from dashkeeper.store.sql.writes import Found
from dashkeeper.store.tables import bodies, dashboard_labels, dashboards, purged_dashboards, revisions
from dashkeeper.times import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Row

    from dashkeeper.store.base import RevisionEntry, Write
    from dashkeeper.store.queries import DashboardQuery
    from dashkeeper.store.sql.quota import Quota

    _DashboardRow: TypeAlias = Row[bytes, int, bytes, bytes]

# Statements are built once, with their parameters bound by name: building one costs several times
# what running it does.
_IS_DASHBOARD = and_(
    dashboards.c.project_id == bindparam("of_project_id"), dashboards.c.id == bindparam("of_dashboard_id")
)
_FIND = (
    select(dashboards.c.header, dashboards.c.revision, dashboards.c.body_hash, bodies.c.body)
    .join(bodies, refers_to_body(dashboards, dashboards.c.id))
    .where(_IS_DASHBOARD)
)
_FIND_PURGED = select(purged_dashboards.c.revision).where(
    purged_dashboards.c.project_id == bindparam("of_project_id"),
    purged_dashboards.c.id == bindparam("of_dashboard_id"),
)
_INSERT = insert(dashboards)
_UPDATE = update(dashboards).where(_IS_DASHBOARD, dashboards.c.revision == bindparam("of_revision"))
_LOCK = select(dashboards.c.id).where(_IS_DASHBOARD).with_for_update()
_DELETE_LABELS = delete(dashboard_labels).where(
    dashboard_labels.c.project_id == bindparam("project_id"),
    dashboard_labels.c.dashboard_id == bindparam("dashboard_id"),
)
_INSERT_LABELS = insert(dashboard_labels)
_INSERT_REVISION = insert(revisions)

_ITEM_OVERHEAD = 5
"""Bytes that an answer takes for each item besides the item: its tag and length."""


def get_dashboard(conn: Connection, project_id: str, dashboard_id: str) -> Dashboard | None:
    """Return the dashboard with its tiles, a deleted one too; None where there is none."""
    row = _find(conn, project_id, dashboard_id)
    return None if row is None else _with_tiles(row)


def list_dashboards(conn: Connection, project_id: str, query: DashboardQuery) -> DashboardPage:
    """Return a page of dashboards without tiles.

    Live and deleted ones are read apart, each along an index in the query's order, and merged; so are
    those whose names are found by their NFC and those whose names are in NFC.
    """
    found: list[tuple[str | int, str, bytes]] = []
    table = dashboards.c
    names = (table.name, table.composed_name) if query.name_prefix else (table.name,)
    parts = [(deleted, name) for deleted in ((0, 1) if query.show_deleted else (0,)) for name in names]
    for deleted, name in parts:
        found += _list(conn, project_id, query, deleted, name)
    if len(parts) > 1:
        # In Python, text sorts by code points, which is the order of its UTF-8 bytes.
        found.sort(key=lambda row: row[:2], reverse=query.descending)
    page: list[Dashboard] = []
    size = 0
    for _, _, header in found[: query.limit]:
        size += len(header) + _ITEM_OVERHEAD
        if page and size > query.max_bytes:
            break
        page.append(Dashboard.from_binary(header))
    return DashboardPage(page, has_more=len(page) < len(found))


def _list(
    conn: Connection, project_id: str, query: DashboardQuery, deleted: int, name: ColumnElement[str]
) -> list[tuple[str | int, str, bytes]]:
    table = dashboards.c
    column: ColumnElement[str | int] = table[query.order_by]
    if query.name_prefix and column is not name:
        # Always find by the name's index, then sort (an expression has no index): the database
        # might walk the whole order instead, for pages of a prefix that few names have.
        column = column.op("||")(literal_column("''")) if query.order_by == "name" else column + 0
    statement = select(column, table.id, table.header).where(
        table.project_id == project_id, table.deleted == deleted
    )
    if query.after is not None:
        here, last = tuple_(column, table.id), tuple_(*query.after)
        statement = statement.where(here < last if query.descending else here > last)
    if query.name_prefix:
        prefix = composed(query.name_prefix)
        statement = statement.where(name >= prefix)
        if (end := _after_prefix(prefix)) is not None:
            statement = statement.where(name < end)
        if name is table.name:
            statement = statement.where(table.composed_name.is_(None))
    if query.name_contains:
        statement = statement.where(table.folded_name.contains(folded(query.name_contains), autoescape=True))
    for key, value in query.labels.items():
        statement = statement.where(_has_label(key, dashboard_labels.c.value == value))
    for key in sorted({*query.label_keys} - query.labels.keys()):
        statement = statement.where(_has_label(key))
    order = (column.desc(), table.id.desc()) if query.descending else (column, table.id)
    rows: list[tuple[str | int, str, bytes]] = []
    size = 0
    # One more than asked for tells whether there is more; the bytes are bounded while reading.
    for row in conn.execute(statement.order_by(*order).limit(query.limit + 1)):
        rows.append((row[0], row[1], row[2]))
        size += len(row[2]) + _ITEM_OVERHEAD
        if size > query.max_bytes and len(rows) > 1:
            break
    return rows


def _has_label(key: str, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    label = dashboard_labels.c
    return exists().where(
        label.project_id == dashboards.c.project_id,
        label.dashboard_id == dashboards.c.id,
        label.key == key,
        *conditions,
    )


def _after_prefix(prefix: str) -> str | None:
    """Return the least text that sorts after every text with this prefix; None if there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[index]) + 1
        if following == 0xD800:  # surrogates are no characters
            following = 0xE000
        if following <= 0x10FFFF:
            return prefix[:index] + chr(following)
    return None


class DashboardRows:
    """What the write of a dashboard does with its tables: implements Rows."""

    def __init__(self, quota: Quota, revisions_kept: int) -> None:
        self._quota = quota
        self._revisions_kept = revisions_kept

    def lock(self, conn: Connection, write: Write) -> None:
        """See Rows."""
        conn.execute(_LOCK, _key_of(write))

    def find(self, conn: Connection, write: Write) -> Found[Dashboard] | None:
        """See Rows."""
        row = _find(conn, write.project_id, write.resource_id)
        if row is None:
            return None
        state = _with_tiles(row)
        assert state.updated_at is not None
        return Found(state, row.revision, to_microseconds(state.updated_at), row.body_hash)

    def last_revision(self, conn: Connection, write: Write) -> int:
        """See Rows."""
        return conn.execute(_FIND_PURGED, _key_of(write)).scalar_one_or_none() or 0

    def past(self, conn: Connection, write: Write, found: Found[Dashboard]) -> Dashboard | None:
        """See Rows."""
        revision = int(write.restores)
        if revision > found.revision:
            return None
        return get_revision(conn, write.project_id, write.resource_id, revision)

    def check_new(self, conn: Connection, write: Write, state: Dashboard) -> None:
        """See Rows. Raises ResourceExhaustedError if there is no quota left in the project for one more."""
        self._quota.take(conn, write.project_id)

    def save(
        self,
        conn: Connection,
        write: Write,
        found: Found[Dashboard] | None,
        state: Dashboard,
        entry: RevisionEntry | None,
    ) -> bytes:
        """See Rows."""
        assert entry is not None
        body = body_of(state)
        body_hash = hashlib.sha256(body).digest()
        columns = {**_columns(state), "header": header_of(state), "body_hash": body_hash}
        if found is None:
            try:
                conn.execute(_INSERT, {"project_id": write.project_id, "id": write.resource_id, **columns})
            except IntegrityError as error:
                raise LostRaceError from error  # another write inserted it first
            if self.last_revision(conn, write) >= state.revision:
                raise LostRaceError  # another one was made and purged since we looked
        else:
            as_read = {**_key_of(write), "of_revision": found.revision}
            if conn.execute(_UPDATE, {**as_read, **columns}).rowcount != 1:
                raise LostRaceError
        # From here on no other write of this dashboard can come between: its row is ours.
        if found is None or found.body_hash != body_hash:
            store_body(conn, write, body, body_hash)
        if state.labels != (found.state.labels if found is not None else {}):
            _replace_labels(conn, write, state)
        _insert_revision(conn, write, entry, columns)
        if (last_trimmed := state.revision - self._revisions_kept) > 0:
            DASHBOARDS.trim(conn, write.project_id, write.resource_id, last_trimmed)
        return body_hash


def _find(conn: Connection, project_id: str, dashboard_id: str) -> _DashboardRow | None:
    key = {"of_project_id": project_id, "of_dashboard_id": dashboard_id}
    return conn.execute(_FIND, key).one_or_none()


def _key_of(write: Write) -> dict[str, str]:
    return {"of_project_id": write.project_id, "of_dashboard_id": write.resource_id}


def _with_tiles(row: _DashboardRow) -> Dashboard:
    return Dashboard.from_binary(row.header + row.body)


def _columns(state: Dashboard) -> dict[str, object]:
    assert state.created_at is not None
    assert state.updated_at is not None
    return {
        "deleted": int(state.deleted_at is not None),
        "name": state.name,
        "folded_name": folded(state.name),
        "composed_name": nfc if (nfc := composed(state.name)) != state.name else None,
        "created_at": to_microseconds(state.created_at),
        "updated_at": to_microseconds(state.updated_at),
        "purge_at": to_microseconds(state.purge_at) if state.purge_at is not None else None,
        "revision": state.revision,
    }


def _replace_labels(conn: Connection, write: Write, state: Dashboard) -> None:
    key = {"project_id": write.project_id, "dashboard_id": write.resource_id}
    conn.execute(_DELETE_LABELS, key)
    if state.labels:
        rows = [{**key, "key": name, "value": value} for name, value in state.labels.items()]
        conn.execute(_INSERT_LABELS, rows)


def _insert_revision(
    conn: Connection,
    write: Write,
    entry: RevisionEntry,
    columns: Mapping[str, object],
) -> None:
    changes = copy(entry.tile_changes)
    changes.unchanged = []
    conn.execute(
        _INSERT_REVISION,
        {
            "project_id": write.project_id,
            "dashboard_id": write.resource_id,
            "revision": columns["revision"],
            "kind": entry.kind,
            "created_at": columns["updated_at"],
            "created_by": write.subject,
            "change_message": write.change_message,
            "tile_changes": changes.to_binary(),
            "header": columns["header"],
            "body_hash": columns["body_hash"],
        },
    )
