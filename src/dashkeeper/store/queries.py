"""What the services ask a store for: queries, and the pages that answer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.gen.dashboards.v1.history_pb import Revision
    from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
    from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration

OrderColumn = Literal["created_at", "updated_at", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardQuery:
    """Which dashboards of a project to list, and in which order."""

    order_by: OrderColumn = "created_at"
    descending: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """All must match."""
    label_keys: Sequence[str] = ()
    """There must be a label of each of these keys."""
    name_prefix: str = ""
    name_contains: str = ""
    """Both compare in NFC, the second without case."""
    show_deleted: bool = False
    after: tuple[str | int, str] | None = None
    """The sort column's value (times in microseconds) and the id of the last one seen."""
    limit: int
    max_bytes: int
    """Stop before the dashboards together take more than this, but not before the first."""


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """A page of dashboards without their tiles."""

    dashboards: Sequence[Dashboard]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionQuery:
    """Which part of a dashboard's history to list, newest first."""

    before: int
    """Only revisions with a lesser number."""
    limit: int
    max_bytes: int
    """Stop before the revisions together take more than this, but not before the first."""


@dataclass(frozen=True, slots=True)
class RevisionPage:
    """A page of a dashboard's history."""

    revisions: Sequence[Revision]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationQuery:
    """Which registrations of a project to list, by title and id."""

    organisation_ids: Sequence[str]
    """Those of any of these organisations."""
    scope: int | None = None
    """Only those shown in this kind of place: the number of a Scope."""
    place_id: str | None = None
    """Only those shown in this place of that kind: those with no list of places, and those that list it."""
    archived: bool | None = None
    title_contains: str = ""
    show_deleted: bool = False
    include_content: bool = False
    """Only those that have a content, and with it."""
    after: tuple[str, str] | None = None
    """The title and the id of the last one seen."""
    skip: int = 0
    limit: int
    max_bytes: int
    """Stop before the answer takes more than this, but not before the first."""


@dataclass(frozen=True, slots=True)
class RegistrationPage:
    """A page of registrations."""

    registrations: Sequence[DashboardRegistration]
    contents: Sequence[DashboardContentWrapper]
    """With include_content, the current content of each, in the same order."""
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentQuery:
    """Which part of a registration's contents to list, newest first."""

    before: int
    """Only contents with a lesser number."""
    limit: int


@dataclass(frozen=True, slots=True)
class ContentPage:
    """A page of a registration's contents, without what they show."""

    contents: Sequence[DashboardContentWrapper]
    last_number: int
    """The number of the last one; 0 on an empty page."""
    has_more: bool


@dataclass(frozen=True, slots=True)
class RegistrationWithContent:
    """A registration, deleted or not, and one of its contents; None where that isn't there."""

    registration: DashboardRegistration
    content: DashboardContentWrapper | None
