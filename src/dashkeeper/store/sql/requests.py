"""The first answers of writes that carried a request id."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from dashkeeper.errors import InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1.changes_pb import DeleteResponse
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.store.sql.tiles import refers_to_tiles
from dashkeeper.store.tables import requests, tile_states

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dashkeeper.store.base import AnyReply, Reply, Write

LIFETIME = 24 * 60 * 60 * 1_000_000
"""How long an answer is kept, in microseconds."""

_IS_REQUEST = and_(
    requests.c.project_id == bindparam("of_project_id"),
    requests.c.subject == bindparam("of_subject"),
    requests.c.method == bindparam("of_method"),
    requests.c.request_id == bindparam("of_request_id"),
)
_FIND = (
    select(requests.c.request_hash, requests.c.reply, requests.c.created_at, tile_states.c.tiles)
    .outerjoin(tile_states, refers_to_tiles(requests, requests.c.dashboard_id))
    .where(_IS_REQUEST)
)
_DELETE = delete(requests).where(_IS_REQUEST)
_INSERT = insert(requests)


class LostRaceError(Exception):
    """Another write came between the read and the write: begin again from the read."""


def recall(conn: Connection, write: Write, reply_type: type[Reply]) -> Reply | None:
    """Return the first answer to this request; None where it hasn't been answered within a day.

    Raises:
        InvalidRequestError: If the request id was used for a different request.
    """
    row = conn.execute(_FIND, _key_of(write)).one_or_none()
    if row is None:
        return None
    if row.created_at <= write.now - LIFETIME:
        conn.execute(_DELETE, _key_of(write))  # not yet swept away; its key is needed again
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
        LostRaceError: If a concurrent twin has kept its answer first.
    """
    row = {
        "project_id": write.project_id,
        "subject": write.subject,
        "method": write.method,
        "request_id": write.request_id,
        "created_at": write.now,
        "request_hash": write.request_hash,
        "reply": _without_tiles(reply),
        "dashboard_id": write.dashboard_id,
        "tiles_hash": tiles_hash if _dashboard_of(reply) is not None else None,
    }
    try:
        conn.execute(_INSERT, row)
    except IntegrityError as error:
        raise LostRaceError from error  # a concurrent twin has kept its answer first


def _dashboard_of(reply: AnyReply) -> Dashboard | None:
    return None if isinstance(reply, DeleteResponse) else reply.dashboard


def _without_tiles(reply: AnyReply) -> bytes:
    if isinstance(reply, DeleteResponse) or reply.dashboard is None:
        return reply.to_binary()
    kept = copy(reply)
    kept.dashboard = copy(reply.dashboard)
    kept.dashboard.tiles = []
    return kept.to_binary()


def _key_of(write: Write) -> dict[str, str]:
    return {
        "of_project_id": write.project_id,
        "of_subject": write.subject,
        "of_method": write.method,
        "of_request_id": write.request_id,
    }
