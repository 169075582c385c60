"""The first answers of writes that carried a request id."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from dashkeeper.errors import InvalidRequestError, Violation
from dashkeeper.store.sql.bodies import Whole, has_body, header_of, refers_to_body
from dashkeeper.store.tables import bodies, requests

if TYPE_CHECKING:
    from protobuf import Message
    from sqlalchemy import Connection

    from dashkeeper.store.base import Reply, Write

LIFETIME = 24 * 60 * 60 * 1_000_000
"""How long an answer is kept, in microseconds."""

_IS_REQUEST = and_(
    requests.c.project_id == bindparam("of_project_id"),
    requests.c.subject == bindparam("of_subject"),
    requests.c.method == bindparam("of_method"),
    requests.c.request_id == bindparam("of_request_id"),
)
_FIND = (
    select(requests.c.request_hash, requests.c.reply, requests.c.created_at, bodies.c.body)
    .outerjoin(bodies, refers_to_body(requests, requests.c.resource_id))
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
        description = f'"{write.request_id}" was used for a different request: make up a new one'
        raise InvalidRequestError.of([Violation(("request_id",), description)], reason="REQUEST_ID_REUSED")
    reply = reply_type.from_binary(row.reply)
    if row.body is not None and (part := part_with_body(reply)) is not None:
        name, header = part
        setattr(reply, name, type(header).from_binary(header.to_binary() + row.body))
    return reply


def remember(conn: Connection, write: Write, reply: Message, body_hash: bytes | None) -> None:
    """Keep the answer; the body of what it holds, if any, is stored under body_hash.

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
        "reply": _without_body(reply),
        "resource_id": write.resource_id,
        "body_hash": body_hash if part_with_body(reply) is not None else None,
    }
    try:
        conn.execute(_INSERT, row)
    except IntegrityError as error:
        raise LostRaceError from error  # a concurrent twin has kept its answer first


def hold_body(conn: Connection, write: Write, body_hash: bytes) -> None:
    """Keep the body that an answer refers to from being deleted before the answer is kept.

    Raises:
        LostRaceError: If it is deleted already, as its state is a past one by now.
    """
    if not has_body(conn, write, body_hash):
        raise LostRaceError


def part_with_body(reply: Message) -> tuple[str, Whole] | None:
    """Return the part of an answer that has a body, and the name of its field; None if there is none."""
    for name in ("dashboard", "content_wrapper"):
        if isinstance(part := getattr(reply, name, None), Whole):
            return name, part
    return None


def _without_body(reply: Message) -> bytes:
    if (part := part_with_body(reply)) is None:
        return reply.to_binary()
    name, whole = part
    kept = copy(reply)
    setattr(kept, name, type(whole).from_binary(header_of(whole)))
    return kept.to_binary()


def _key_of(write: Write) -> dict[str, str]:
    return {
        "of_project_id": write.project_id,
        "of_subject": write.subject,
        "of_method": write.method,
        "of_request_id": write.request_id,
    }
