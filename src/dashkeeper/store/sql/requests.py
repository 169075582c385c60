"""The first answers of writes that carried a request id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select, tuple_

from dashkeeper.errors import InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteResponse
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.tables import requests, tile_states

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from dashkeeper.store.base import AnyReply, Reply, Write

_LIFETIME = 24 * 60 * 60 * 1_000_000  # microseconds
_CLEANED_A_WRITE = 2


def recall(conn: Connection, write: Write, reply_type: type[Reply]) -> Reply | None:
    """Return the first answer to this request; None where it hasn't been answered within a day.

    Raises:
        InvalidRequestError: If the request id was used for a different request.
    """
    row = conn.execute(
        select(requests.c.request_hash, requests.c.reply, requests.c.created_at, tile_states.c.tiles)
        .outerjoin(
            tile_states,
            and_(
                tile_states.c.project_id == requests.c.project_id,
                tile_states.c.dashboard_id == requests.c.dashboard_id,
                tile_states.c.hash == requests.c.tiles_hash,
            ),
        )
        .where(_is_key_of(write))
    ).one_or_none()
    if row is None or row.created_at <= write.now - _LIFETIME:
        return None
    if row.request_hash != write.request_hash:
        message = f'"{write.request_id}" was used for a different request: make up a new one'
        raise InvalidRequestError(
            f"request_id: {message}",
            reason="REQUEST_ID_REUSED",
            violations=[Violation("request_id", message)],
        )
    reply = reply_type.from_binary(row.reply)
    if (dashboard := _dashboard_of(reply)) is not None and row.tiles is not None:
        dashboard.tiles = Dashboard.from_binary(row.tiles).tiles
    return reply


def remember(conn: Connection, write: Write, reply: AnyReply, tiles_hash: bytes | None) -> None:
    """Keep the answer; its dashboard's tiles are those that the store holds under tiles_hash.

    Raises:
        IntegrityError: If a concurrent twin has kept its answer first.
    """
    _forget_expired(conn, write)
    dashboard = _dashboard_of(reply)
    tiles = dashboard.tiles if dashboard is not None else []
    if dashboard is not None:
        dashboard.tiles = []
    content = reply.to_binary()
    if dashboard is not None:
        dashboard.tiles = tiles
    conn.execute(
        insert(requests).values(
            project_id=write.project_id,
            subject=write.subject,
            method=write.method,
            request_id=write.request_id,
            created_at=write.now,
            request_hash=write.request_hash,
            reply=content,
            dashboard_id=write.dashboard_id,
            tiles_hash=tiles_hash,
        )
    )


def _forget_expired(conn: Connection, write: Write) -> None:
    """Delete this request's own expired answer, and a few others': so that none pile up."""
    too_old = requests.c.created_at <= write.now - _LIFETIME
    key = tuple_(*requests.primary_key.columns)
    oldest = select(*requests.primary_key.columns).where(too_old).limit(_CLEANED_A_WRITE)
    conn.execute(delete(requests).where(too_old & (_is_key_of(write) | key.in_(oldest))))


def _dashboard_of(reply: AnyReply) -> Dashboard | None:
    return None if isinstance(reply, DeleteResponse) else reply.dashboard


def _is_key_of(write: Write) -> ColumnElement[bool]:
    return and_(
        requests.c.project_id == write.project_id,
        requests.c.subject == write.subject,
        requests.c.method == write.method,
        requests.c.request_id == write.request_id,
    )
