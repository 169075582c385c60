"""Dashboards: read by key, listed by keyset, written with a compare on the revision."""

from __future__ import annotations

import hashlib
from copy import copy
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import and_, bindparam, delete, exists, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from dashkeeper.errors import DashkeeperError
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.base import DashboardPage, Stored
from dashkeeper.store.sql.history import get_revision, trim_revisions
from dashkeeper.store.sql.requests import LostRaceError, recall, remember
from dashkeeper.store.sql.tiles import has_tiles, insert_tiles, refers_to_tiles
from dashkeeper.store.tables import (
    dashboard_labels,
    dashboards,
    purged_dashboards,
    revisions,
    tile_states,
)
from dashkeeper.times import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ColumnElement, Connection, Row

    from dashkeeper.store.base import DashboardQuery, Outcome, Reply, Write
    from dashkeeper.store.sql.room import Room

    _DashboardRow: TypeAlias = Row[bytes, int, bytes, bytes]

# Statements are built once, with their parameters bound by name: building one costs several times
# what running it does.
_IS_DASHBOARD = and_(
    dashboards.c.project_id == bindparam("of_project_id"), dashboards.c.id == bindparam("of_dashboard_id")
)
_FIND = (
    select(dashboards.c.header, dashboards.c.revision, dashboards.c.tiles_hash, tile_states.c.tiles)
    .join(tile_states, refers_to_tiles(dashboards, dashboards.c.id))
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

    Live and deleted ones are read apart, each along an index in the query's order, and merged.
    """
    found: list[tuple[str | int, str, bytes]] = []
    for deleted in (0, 1) if query.show_deleted else (0,):
        found += _list(conn, project_id, query, deleted)
    if query.show_deleted:
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
    conn: Connection, project_id: str, query: DashboardQuery, deleted: int
) -> list[tuple[str | int, str, bytes]]:
    table = dashboards.c
    column: ColumnElement[str | int] = table[query.order_by]
    if query.name_prefix and query.order_by != "name":
        # Always find by the name's index, then sort (an expression has no index): the database
        # might walk the whole order instead, for pages of a prefix that few names have.
        column = column + 0
    statement = select(column, table.id, table.header).where(
        table.project_id == project_id, table.deleted == deleted
    )
    if query.after is not None:
        here, last = tuple_(column, table.id), tuple_(*query.after)
        statement = statement.where(here < last if query.descending else here > last)
    if query.name_prefix:
        statement = statement.where(table.name >= query.name_prefix)
        if (end := _after_prefix(query.name_prefix)) is not None:
            statement = statement.where(table.name < end)
    if query.name_contains:
        folded = query.name_contains.casefold()
        statement = statement.where(table.folded_name.contains(folded, autoescape=True))
    for key, value in query.labels.items():
        label = dashboard_labels.c
        statement = statement.where(
            exists().where(
                label.project_id == table.project_id,
                label.dashboard_id == table.id,
                label.key == key,
                label.value == value,
            )
        )
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


def _after_prefix(prefix: str) -> str | None:
    """Return the least text that sorts after every text with this prefix; None if there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[index]) + 1
        if following == 0xD800:  # surrogates are no characters
            following = 0xE000
        if following <= 0x10FFFF:
            return prefix[:index] + chr(following)
    return None


def write_dashboard(
    conn: Connection,
    write: Write,
    change: Callable[[Stored], Outcome[Reply]],
    reply_type: type[Reply],
    room: Room,
    *,
    revisions_kept: int,
    is_retry: bool,
) -> Reply:
    """Apply the change to the stored state and write what comes out of it.

    A retry locks the dashboard before it reads it, so that it loses to no other write again.

    Raises:
        LostRaceError: If another write came between.
        ResourceExhaustedError: If there is no room in the project for one more.
    """
    if write.request_id and (answered := recall(conn, write, reply_type)) is not None:
        return answered
    if is_retry:
        conn.execute(_LOCK, _key_of(write))
    row = _find(conn, write.project_id, write.dashboard_id)
    if row is not None:
        stored = Stored(_with_tiles(row), row.revision, _restored(conn, write, row.revision))
    else:
        stored = Stored(None, _last_revision(conn, write))
    try:
        outcome = change(stored)
    except DashkeeperError:
        # A twin may have been committed since we looked for its answer, and be what stands in our way.
        if write.request_id and (answered := recall(conn, write, reply_type)) is not None:
            return answered
        raise
    if row is None and outcome.state is not None:
        room.take(conn, write.project_id)
    if write.validate_only:
        return outcome.reply
    tiles_hash: bytes | None = row.tiles_hash if row is not None else None
    if outcome.state is not None:
        tiles_hash = _write_state(conn, write, outcome, outcome.state, row)
        if (last_trimmed := outcome.state.revision - revisions_kept) > 0:
            trim_revisions(conn, write.project_id, write.dashboard_id, last_trimmed)
    elif write.request_id and tiles_hash is not None and not has_tiles(conn, write, tiles_hash):
        raise LostRaceError  # the state is a past one by now, and its tiles are dropped
    if write.request_id:
        remember(conn, write, outcome.reply, tiles_hash)
    return outcome.reply


def _find(conn: Connection, project_id: str, dashboard_id: str) -> _DashboardRow | None:
    key = {"of_project_id": project_id, "of_dashboard_id": dashboard_id}
    return conn.execute(_FIND, key).one_or_none()


def _last_revision(conn: Connection, write: Write) -> int:
    """Return the last revision of a dashboard that was purged; 0 if there never was one."""
    return conn.execute(_FIND_PURGED, _key_of(write)).scalar_one_or_none() or 0


def _restored(conn: Connection, write: Write, last_revision: int) -> Dashboard | None:
    """Return the state that the write restores, unless it was made after the row was read."""
    if not 0 < write.restored_revision <= last_revision:
        return None
    return get_revision(conn, write.project_id, write.dashboard_id, write.restored_revision)


def _key_of(write: Write) -> dict[str, str]:
    return {"of_project_id": write.project_id, "of_dashboard_id": write.dashboard_id}


def _with_tiles(row: _DashboardRow) -> Dashboard:
    return Dashboard.from_binary(row.header + row.tiles)  # messages concatenate


def _write_state(
    conn: Connection, write: Write, outcome: Outcome[Reply], state: Dashboard, row: _DashboardRow | None
) -> bytes:
    """Write the new state and its revision; return the hash of its tiles."""
    tiles = Dashboard(tiles=state.tiles).to_binary()
    tiles_hash = hashlib.sha256(tiles).digest()
    header = _without_tiles(state)
    columns = {**_columns(state), "header": header, "tiles_hash": tiles_hash}
    if row is None:
        try:
            conn.execute(_INSERT, {"project_id": write.project_id, "id": write.dashboard_id, **columns})
        except IntegrityError as error:
            raise LostRaceError from error  # another write inserted it first
        if _last_revision(conn, write) >= state.revision:
            raise LostRaceError  # another one was made and purged since we looked
    else:
        as_read = {**_key_of(write), "of_revision": row.revision}
        if conn.execute(_UPDATE, {**as_read, **columns}).rowcount != 1:
            raise LostRaceError
    # From here on no other write of this dashboard can come between: its row is ours.
    if row is None or row.tiles_hash != tiles_hash:
        insert_tiles(conn, write, tiles_hash, tiles)
    if state.labels != (Dashboard.from_binary(row.header).labels if row is not None else {}):
        _replace_labels(conn, write, state)
    _insert_revision(conn, write, outcome, columns)
    return tiles_hash


def _columns(state: Dashboard) -> dict[str, object]:
    assert state.created_at is not None
    assert state.updated_at is not None
    return {
        "deleted": int(state.deleted_at is not None),
        "name": state.name,
        "folded_name": state.name.casefold(),
        "created_at": to_microseconds(state.created_at),
        "updated_at": to_microseconds(state.updated_at),
        "purge_at": to_microseconds(state.purge_at) if state.purge_at is not None else None,
        "revision": state.revision,
    }


def _without_tiles(state: Dashboard) -> bytes:
    header = copy(state)
    header.tiles = []
    return header.to_binary()


def _replace_labels(conn: Connection, write: Write, state: Dashboard) -> None:
    key = {"project_id": write.project_id, "dashboard_id": write.dashboard_id}
    conn.execute(_DELETE_LABELS, key)
    if state.labels:
        rows = [{**key, "key": name, "value": value} for name, value in state.labels.items()]
        conn.execute(_INSERT_LABELS, rows)


def _insert_revision(
    conn: Connection,
    write: Write,
    outcome: Outcome[Reply],
    columns: Mapping[str, object],
) -> None:
    changes = copy(outcome.tile_changes)
    changes.unchanged = []
    conn.execute(
        _INSERT_REVISION,
        {
            "project_id": write.project_id,
            "dashboard_id": write.dashboard_id,
            "revision": columns["revision"],
            "kind": outcome.kind,
            "created_at": columns["updated_at"],
            "created_by": write.subject,
            "change_message": write.change_message,
            "tile_changes": changes.to_binary(),
            "header": columns["header"],
            "tiles_hash": columns["tiles_hash"],
        },
    )
