"""Bodies: the part of a resource that may be large. Each different one is stored once.

One that nothing refers to any more is deleted. The body of a dashboard is its tiles, that of a content
wrapper its content; the rest is the header. Each is the serialised message with nothing else in it:
header and body, one after the other, are the whole message again (protobuf messages concatenate).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
from dashkeeper.store.tables import bodies, contents, dashboards, requests, revisions

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection, Table

    from dashkeeper.store.base import Write

Whole: TypeAlias = Dashboard | DashboardContentWrapper
W = TypeVar("W", Dashboard, DashboardContentWrapper)


def header_of(message: Whole) -> bytes:
    """Return the message without its body, serialised."""
    header = copy(message)
    if isinstance(header, Dashboard):
        header.tiles = []
    else:
        header.content = None
    return header.to_binary()


def body_of(message: Whole) -> bytes:
    """Return the message's body, serialised."""
    if isinstance(message, Dashboard):
        return Dashboard(tiles=message.tiles).to_binary()
    return DashboardContentWrapper(content=message.content).to_binary()


def refers_to_body(table: Table, resource_id: Column[str]) -> ColumnElement[bool]:
    """Return the condition that a row of the table refers to a row of bodies."""
    return and_(
        bodies.c.project_id == table.c.project_id,
        bodies.c.resource_id == resource_id,
        bodies.c.hash == table.c.body_hash,
    )


# Locked, so that nobody drops it before what is about to refer to it is committed.
_FIND = (
    select(bodies.c.hash)
    .where(
        bodies.c.project_id == bindparam("project_id"),
        bodies.c.resource_id == bindparam("resource_id"),
        bodies.c.hash == bindparam("hash"),
    )
    .with_for_update(read=True, key_share=True)
)
_INSERT = insert(bodies)
_ARE_BODIES = and_(
    bodies.c.project_id == bindparam("project_id"),
    bodies.c.resource_id == bindparam("resource_id"),
    bodies.c.hash.in_(bindparam("hashes", expanding=True)),
)
_LOCK = select(bodies.c.hash).where(_ARE_BODIES).order_by(bodies.c.hash).with_for_update()
_DELETE_UNREFERENCED = delete(bodies).where(
    _ARE_BODIES,
    ~or_(
        exists().where(refers_to_body(dashboards, dashboards.c.id)),
        exists().where(refers_to_body(revisions, revisions.c.dashboard_id)),
        exists().where(refers_to_body(contents, contents.c.registration_id)),
        exists().where(refers_to_body(requests, requests.c.resource_id)),
    ),
)


def store_body(conn: Connection, write: Write, body: bytes, body_hash: bytes) -> None:
    """Store a body under its hash, unless the resource had the same before."""
    if not has_body(conn, write, body_hash):
        conn.execute(_INSERT, {**_key(write, body_hash), "body": body})


def has_body(conn: Connection, write: Write, body_hash: bytes) -> bool:
    """Whether this body is stored; if so, it stays until the transaction ends."""
    return conn.execute(_FIND, _key(write, body_hash)).first() is not None


def _key(write: Write, body_hash: bytes) -> dict[str, object]:
    return {"project_id": write.project_id, "resource_id": write.resource_id, "hash": body_hash}


def drop_unreferenced(conn: Connection, project_id: str, resource_id: str, hashes: set[bytes]) -> None:
    """Delete those of a resource's bodies that no state, history or answer refers to."""
    which = {"project_id": project_id, "resource_id": resource_id, "hashes": sorted(hashes)}
    # First wait for writes that are about to refer to them: the next statement then sees that they do.
    conn.execute(_LOCK, which)
    conn.execute(_DELETE_UNREFERENCED, which)
