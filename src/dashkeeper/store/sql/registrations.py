"""Registrations: read by key, listed by title, written with a compare on the revision."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, and_, bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration, Scope
from dashkeeper.store.queries import RegistrationPage
from dashkeeper.store.sql.bodies import body_of, header_of, refers_to_body, store_body
from dashkeeper.store.sql.contents import find_content
from dashkeeper.store.sql.names import folded
from dashkeeper.store.sql.organisations import check_community, put_on_community
from dashkeeper.store.sql.requests import LostRaceError
from dashkeeper.store.sql.resources import REGISTRATIONS
from dashkeeper.store.sql.writes import Found
from dashkeeper.store.tables import bodies, contents, registration_places, registrations
from dashkeeper.times import to_microseconds

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from dashkeeper.store.base import Write
    from dashkeeper.store.queries import RegistrationQuery
    from dashkeeper.store.sql.quota import Quota

S = TypeVar("S", bound=Select[Any])

_IS_REGISTRATION = and_(
    registrations.c.project_id == bindparam("of_project_id"), registrations.c.id == bindparam("of_id")
)
_GET = select(registrations.c.header).where(_IS_REGISTRATION)
_HAS_CURRENT_CONTENT = and_(
    contents.c.project_id == registrations.c.project_id,
    contents.c.registration_id == registrations.c.id,
    contents.c.number == registrations.c.content_number,
)
_FIND = (
    select(
        registrations.c.header,
        registrations.c.revision,
        registrations.c.content_number,
        contents.c.header.label("content_header"),
        contents.c.body_hash,
    )
    .outerjoin(contents, _HAS_CURRENT_CONTENT)
    .where(_IS_REGISTRATION)
)
_LOCK = select(registrations.c.id).where(_IS_REGISTRATION).with_for_update()
_INSERT = insert(registrations)
_UPDATE = update(registrations).where(_IS_REGISTRATION, registrations.c.revision == bindparam("of_revision"))
_DELETE_PLACES = delete(registration_places).where(
    registration_places.c.project_id == bindparam("project_id"),
    registration_places.c.registration_id == bindparam("registration_id"),
)
_INSERT_PLACES = insert(registration_places)
_INSERT_CONTENT = insert(contents)

_ITEM_OVERHEAD = 10
"""Bytes that an answer takes for each item besides the item: tags and lengths."""


def get_registration(conn: Connection, project_id: str, registration_id: str) -> DashboardRegistration | None:
    """Return the registration, a deleted one too; None where there is none."""
    key = {"of_project_id": project_id, "of_id": registration_id}
    header = conn.execute(_GET, key).scalar_one_or_none()
    return None if header is None else DashboardRegistration.from_binary(header)


def list_registrations(conn: Connection, project_id: str, query: RegistrationQuery) -> RegistrationPage:
    """Return a page of registrations, with their current contents if so asked: one statement.

    It picks the page's keys first, then reads what fits of that which may be large: neither the
    database's sorting nor a driver that fetches all rows at once ever holds more than a page.
    """
    table = registrations.c
    picked = _filtered(select(table.title), project_id, query)
    size = func.length(table.header) + _ITEM_OVERHEAD
    if query.include_content:
        picked = picked.join(contents, _HAS_CURRENT_CONTENT)
        picked = picked.join(bodies, refers_to_body(contents, contents.c.registration_id))
        size += func.length(contents.c.header) + func.length(bodies.c.body)
    if query.after is not None:
        picked = picked.where(tuple_(table.title, table.id) > tuple_(*query.after))
    picked = picked.order_by(table.title, table.id).offset(query.skip).limit(query.limit + 1)
    sized = picked.add_columns(table.id, size.label("size")).subquery("sized").c
    total = func.sum(sized.size).over(order_by=[sized.title, sized.id])
    page = select(sized.title, sized.id, sized.size, total.label("total")).subquery("page")
    fits = or_(page.c.total <= query.max_bytes, page.c.total == page.c.size)  # the first one always does
    statement = select(table.header).select_from(page)
    statement = statement.outerjoin(
        registrations, and_(fits, table.project_id == project_id, table.id == page.c.id)
    )
    if query.include_content:
        statement = statement.add_columns(contents.c.header, bodies.c.body)
        statement = statement.outerjoin(contents, _HAS_CURRENT_CONTENT)
        statement = statement.outerjoin(bodies, refers_to_body(contents, contents.c.registration_id))
    result = RegistrationPage(found := [], wrappers := [], has_more=False)
    for row in conn.execute(statement.order_by(page.c.title, page.c.id)):
        if len(found) == query.limit or row[0] is None:
            return RegistrationPage(found, wrappers, has_more=True)
        parts: list[bytes] = [*row]
        found.append(DashboardRegistration.from_binary(parts[0]))
        if query.include_content:
            wrappers.append(DashboardContentWrapper.from_binary(parts[1] + parts[2]))
    return result


def count_registrations(conn: Connection, project_id: str, query: RegistrationQuery) -> int:
    """Return how many registrations meet the query's filters."""
    return conn.execute(_filtered(select(func.count()), project_id, query)).scalar_one()


def _filtered(statement: S, project_id: str, query: RegistrationQuery) -> S:
    """Add the query's filters to a statement that selects of registrations."""
    table = registrations.c
    statement = statement.select_from(registrations).where(
        table.project_id == project_id,
        _one_of(table.organisation_id, [*query.organisation_ids]),
        _one_of(table.deleted, [0, 1] if query.show_deleted else [0]),
    )
    if query.include_content:
        statement = statement.where(table.content_number > 0)
    if query.archived is not None:
        statement = statement.where(table.archived == int(query.archived))
    if query.title_contains:
        statement = statement.where(
            table.folded_title.contains(folded(query.title_contains), autoescape=True)
        )
    if query.scope is not None:
        place = registration_places.c
        shown = [
            place.project_id == table.project_id,
            place.registration_id == table.id,
            place.scope == query.scope,
        ]
        if query.place_id is not None:
            shown.append(place.place_id.in_(["", query.place_id]))
        # OFFSET 0: looked up by its key for each registration. PostgreSQL, where it knows little of the
        # tables yet, would otherwise read the places of the whole project for each.
        statement = statement.where(select(place.scope).where(*shown).offset(0).exists())
    return statement


def _one_of(column: ColumnElement[object], values: list[object]) -> ColumnElement[bool]:
    """Return the condition as an equation where it can be one: then an index gives the order."""
    return column == values[0] if len(values) == 1 else column.in_(values)


class RegistrationRows:
    """What the write of a registration does with its tables: implements Rows."""

    def __init__(self, quota: Quota, contents_kept: int) -> None:
        self._quota = quota
        self._contents_kept = contents_kept

    def lock(self, conn: Connection, write: Write) -> None:
        """See Rows."""
        conn.execute(_LOCK, _key_of(write))

    def find(self, conn: Connection, write: Write) -> Found[DashboardRegistration] | None:
        """See Rows."""
        row = conn.execute(_FIND, _key_of(write)).one_or_none()
        if row is None:
            return None
        state = DashboardRegistration.from_binary(row.header)
        times = [state.last_modified_ts]
        if row.content_header is not None:
            times.append(DashboardContentWrapper.from_binary(row.content_header).created_ts)
        changed_at = max(to_microseconds(time) for time in times if time is not None)
        return Found(state, row.revision, changed_at, row.body_hash, row.content_number)

    def last_revision(self, conn: Connection, write: Write) -> int:
        """See Rows. The id of a purged registration is never used again."""
        return 0

    def past(
        self, conn: Connection, write: Write, found: Found[DashboardRegistration]
    ) -> DashboardContentWrapper | None:
        """See Rows."""
        return find_content(conn, write.project_id, write.resource_id, write.restores, found.content_number)

    def check_new(self, conn: Connection, write: Write, state: DashboardRegistration) -> None:
        """See Rows.

        Raises:
            InvalidRequestError: If the organisation is on another community.
            ResourceExhaustedError: If there is no quota left in the project for one more.
        """
        check_community(conn, write.project_id, state.organisation_id, state.community_id)
        self._quota.take(conn, write.project_id)

    def save(
        self,
        conn: Connection,
        write: Write,
        found: Found[DashboardRegistration] | None,
        state: DashboardRegistration,
        entry: DashboardContentWrapper | None,
    ) -> bytes | None:
        """See Rows. The entry is a new content."""
        number = found.content_number if found is not None else 0
        columns = _columns(state, number if entry is None else number + 1)
        if found is None:
            put_on_community(conn, write.project_id, state.organisation_id, state.community_id)
            values = {"project_id": write.project_id, "id": write.resource_id, "revision": 1, **columns}
            try:
                conn.execute(_INSERT, values)
            except IntegrityError as error:
                raise LostRaceError from error
        else:
            values = {
                **_key_of(write),
                "of_revision": found.revision,
                "revision": found.revision + 1,
                **columns,
            }
            if conn.execute(_UPDATE, values).rowcount != 1:
                raise LostRaceError
        # From here on no other write of this registration can come between: its row is ours.
        if found is None or _places(found.state) != _places(state):
            _replace_places(conn, write, state)
        if entry is None:
            return found.body_hash if found is not None else None
        return self._add_content(conn, write, entry, number + 1)

    def _add_content(
        self, conn: Connection, write: Write, content: DashboardContentWrapper, number: int
    ) -> bytes:
        body = body_of(content)
        body_hash = hashlib.sha256(body).digest()
        store_body(conn, write, body, body_hash)
        conn.execute(
            _INSERT_CONTENT,
            {
                "project_id": write.project_id,
                "registration_id": write.resource_id,
                "number": number,
                "id": content.id,
                "header": header_of(content),
                "body_hash": body_hash,
            },
        )
        if (last_trimmed := number - self._contents_kept) > 0:
            REGISTRATIONS.trim(conn, write.project_id, write.resource_id, last_trimmed)
        return body_hash


def _key_of(write: Write) -> dict[str, object]:
    return {"of_project_id": write.project_id, "of_id": write.resource_id}


def _columns(state: DashboardRegistration, content_number: int) -> dict[str, object]:
    return {
        "deleted": int(state.deleted_at is not None),
        "organisation_id": state.organisation_id,
        "archived": int(state.archived),
        "title": state.title,
        "folded_title": folded(state.title),
        "purge_at": to_microseconds(state.purge_at) if state.purge_at is not None else None,
        "content_number": content_number,
        "header": state.to_binary(),
    }


def _places(state: DashboardRegistration) -> set[tuple[int, str]]:
    """Return the places that show the registration: kind and id, the id empty for every one of the kind."""
    listed = {Scope.SEGMENTS: state.segment_ids, Scope.BUILDERS: state.builder_ids}
    return {(int(scope), place_id) for scope in state.scopes for place_id in listed.get(scope) or [""]}


def _replace_places(conn: Connection, write: Write, state: DashboardRegistration) -> None:
    key = {"project_id": write.project_id, "registration_id": write.resource_id}
    conn.execute(_DELETE_PLACES, key)
    if places := _places(state):
        rows = [{**key, "scope": scope, "place_id": place_id} for scope, place_id in sorted(places)]
        conn.execute(_INSERT_PLACES, rows)
