"""Which community each organisation is on: an organisation is on one (the seed)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError

from dashkeeper.errors import not_on_community
from dashkeeper.store.sql.requests import LostRaceError
from dashkeeper.store.tables import organisations, registrations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

_FIND_ALL = select(organisations.c.organisation_id, organisations.c.community_id).where(
    organisations.c.project_id == bindparam("project_id"),
    organisations.c.organisation_id.in_(bindparam("organisation_ids", expanding=True)),
)
_FIND = select(organisations.c.community_id).where(
    organisations.c.project_id == bindparam("project_id"),
    organisations.c.organisation_id == bindparam("organisation_id"),
)
# Locked, so that nobody releases the organisation before the registration is committed.
_FIND_AND_HOLD = _FIND.with_for_update(read=True, key_share=True)
_LOCK = _FIND.with_for_update()
_INSERT = insert(organisations)
_DELETE_UNUSED = delete(organisations).where(
    organisations.c.project_id == bindparam("project_id"),
    organisations.c.organisation_id == bindparam("organisation_id"),
    ~exists().where(
        registrations.c.project_id == organisations.c.project_id,
        registrations.c.organisation_id == organisations.c.organisation_id,
    ),
)


def communities_of(conn: Connection, project_id: str, organisation_ids: Collection[str]) -> Mapping[str, str]:
    """Return the community of each of the organisations that has a registration."""
    rows = conn.execute(
        _FIND_ALL, {"project_id": project_id, "organisation_ids": sorted(organisation_ids)}
    ).all()
    return {row.organisation_id: row.community_id for row in rows}


def check_community(conn: Connection, project_id: str, organisation_id: str, community_id: str) -> None:
    """Check that the organisation isn't on another community.

    Raises:
        InvalidRequestError: If it is.
    """
    key = {"project_id": project_id, "organisation_id": organisation_id}
    found = conn.execute(_FIND, key).scalar_one_or_none()
    if found is not None and found != community_id:
        raise not_on_community(organisation_id)


def put_on_community(conn: Connection, project_id: str, organisation_id: str, community_id: str) -> None:
    """Put the organisation on the community, if it is on none, and hold it there until the transaction ends.

    Raises:
        InvalidRequestError: If it is on another one.
        LostRaceError: If another write put it on one at the same time.
    """
    key = {"project_id": project_id, "organisation_id": organisation_id}
    found = conn.execute(_FIND_AND_HOLD, key).scalar_one_or_none()
    if found is None:
        try:
            conn.execute(_INSERT, {**key, "community_id": community_id})
        except IntegrityError as error:
            raise LostRaceError from error
    elif found != community_id:
        raise not_on_community(organisation_id)


def release(conn: Connection, project_id: str, organisation_id: str) -> None:
    """Take the organisation off its community, if no registration of it is left."""
    key = {"project_id": project_id, "organisation_id": organisation_id}
    # First wait for writes that are about to register: the next statement then sees their registrations.
    conn.execute(_LOCK, key)
    conn.execute(_DELETE_UNUSED, key)
