"""The contents of registrations: read. A write of a registration adds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, or_, select

from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.store.queries import ContentPage, RegistrationWithContent
from dashkeeper.store.sql.bodies import refers_to_body
from dashkeeper.store.tables import bodies, contents, registrations

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dashkeeper.store.queries import ContentQuery

_IS_ASKED = or_(
    contents.c.id == bindparam("content_id"),
    and_(bindparam("content_id") == "", contents.c.number == registrations.c.content_number),
)
_GET = (
    select(registrations.c.header, contents.c.header.label("content_header"), bodies.c.body)
    .outerjoin(
        contents,
        and_(
            contents.c.project_id == registrations.c.project_id,
            contents.c.registration_id == registrations.c.id,
            _IS_ASKED,
        ),
    )
    .outerjoin(bodies, refers_to_body(contents, contents.c.registration_id))
    .where(
        registrations.c.project_id == bindparam("project_id"),
        registrations.c.id == bindparam("registration_id"),
    )
)
_FIND = (
    select(contents.c.header, bodies.c.body)
    .join(bodies, refers_to_body(contents, contents.c.registration_id))
    .where(
        contents.c.project_id == bindparam("project_id"),
        contents.c.registration_id == bindparam("registration_id"),
        contents.c.id == bindparam("content_id"),
        contents.c.number <= bindparam("last_number"),
    )
)
_LIST = (
    select(contents.c.number, contents.c.header)
    .where(
        contents.c.project_id == bindparam("project_id"),
        contents.c.registration_id == bindparam("registration_id"),
        contents.c.number < bindparam("before"),
    )
    .order_by(contents.c.number.desc())
    .limit(bindparam("row_limit"))
)


def get_content(
    conn: Connection, project_id: str, registration_id: str, content_id: str
) -> RegistrationWithContent | None:
    """Return a registration and one of its contents, the current one where no id is given."""
    key = {"project_id": project_id, "registration_id": registration_id, "content_id": content_id}
    row = conn.execute(_GET, key).one_or_none()
    if row is None:
        return None
    content = None
    if row.body is not None:
        content = DashboardContentWrapper.from_binary(row.content_header + row.body)
    return RegistrationWithContent(DashboardRegistration.from_binary(row.header), content)


def find_content(
    conn: Connection, project_id: str, registration_id: str, content_id: str, last_number: int
) -> DashboardContentWrapper | None:
    """Return a content of a registration; None if it isn't kept, or is newer than the last number."""
    key = {"project_id": project_id, "registration_id": registration_id, "content_id": content_id}
    row = conn.execute(_FIND, {**key, "last_number": last_number}).one_or_none()
    return None if row is None else DashboardContentWrapper.from_binary(row.header + row.body)


def list_contents(
    conn: Connection, project_id: str, registration_id: str, query: ContentQuery
) -> ContentPage:
    """Return a page of a registration's contents without what they show, newest first."""
    key = {"project_id": project_id, "registration_id": registration_id}
    rows = conn.execute(_LIST, {**key, "before": query.before, "row_limit": query.limit + 1}).all()
    page = rows[: query.limit]
    return ContentPage(
        [DashboardContentWrapper.from_binary(row.header) for row in page],
        last_number=page[-1].number if page else 0,
        has_more=len(page) < len(rows),
    )
