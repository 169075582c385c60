"""What the services ask of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar

from protobuf import Message

from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges
    from dashkeeper.store.queries import (
        ContentPage,
        ContentQuery,
        DashboardPage,
        DashboardQuery,
        RegistrationPage,
        RegistrationQuery,
        RegistrationWithContent,
        RevisionPage,
        RevisionQuery,
    )

Reply = TypeVar("Reply", bound=Message)
State = TypeVar("State", bound=Message)
Past = TypeVar("Past", bound=Message)
Entry = TypeVar("Entry")

Kind = Literal["CREATE", "UPDATE", "UPSERT", "DELETE", "UNDELETE", "RESTORE"]
"""Of a revision: RevisionKind without its prefix."""

Cursor: TypeAlias = tuple[int, str, str]
"""How far a walk over all resources is: which kind of resource, and the last project id and id seen."""

WALK_BEGINS: Cursor = (0, "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What a write carries beside the change itself."""

    project_id: str
    resource_id: str
    """Of the dashboard or the registration."""
    subject: str
    method: str
    """The RPC's name: request ids are apart for each."""
    now: int
    """Microseconds since 1970, UTC."""
    change_message: str
    validate_only: bool
    request_id: str
    """In lower case; empty where the caller gave none."""
    request_hash: bytes
    restores: str = ""
    """The entry of the history that the change needs: a revision, or the id of a content; empty for none."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[State, Past]):
    """What is stored under an id: a resource, deleted or not, or what is left of a purged one."""

    state: State | None
    """A dashboard with its tiles, or a registration; None where there is none."""
    last_revision: int
    """The number of its last revision, also of a purged one; 0 where there never was one."""
    restored: Past | None = None
    """What `Write.restores` names, an older dashboard or content; None where that is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Reply, State, Entry]):
    """What a change makes of a resource, and what its caller is answered."""

    reply: Reply
    state: State | None = None
    """The whole new state to write; None where nothing changes."""
    entry: Entry | None = None
    """What the change adds to the resource's history."""


@dataclass(frozen=True, slots=True)
class RevisionEntry:
    """What a change of a dashboard is told as in its history."""

    kind: Kind
    tile_changes: TileChanges


StoredDashboard: TypeAlias = Stored[Dashboard, Dashboard]
DashboardOutcome: TypeAlias = Outcome[Reply, Dashboard, RevisionEntry]
"""Every changed dashboard has an entry."""

StoredRegistration: TypeAlias = Stored[DashboardRegistration, DashboardContentWrapper]
RegistrationOutcome: TypeAlias = Outcome[Reply, DashboardRegistration, DashboardContentWrapper]
"""The entry is a new content, to which dashboard_content_id of the state points."""


class Store(Protocol):
    """Keeps dashboards and registrations. Every method is one transaction, and durable when it returns.

    Every method raises UnavailableError if the database can't be reached, after which the same
    store must work again as soon as the database does. Ids are compared case-sensitively, and texts
    sorted by their UTF-8 bytes.
    """

    async def get_dashboard(self, project_id: str, dashboard_id: str) -> Dashboard | None:
        """Return the dashboard with its tiles, a deleted one too; None where there is none."""
        ...

    async def list_dashboards(self, project_id: str, query: DashboardQuery) -> DashboardPage:
        """Return a page of dashboards, in the query's order, ties by id.

        Must not cost more the deeper the page lies.
        """
        ...

    async def write_dashboard(
        self,
        write: Write,
        change: Callable[[StoredDashboard], DashboardOutcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        """Apply a change to the dashboard's current state and write what comes out of it.

        `change` gets the stored state and must have no effects: it runs again whenever another
        write came between. What it raises ends the write, and nothing is written.

        The state must be written only where the stored revision is still the one that `change`
        saw, with its entry in the history, all or nothing. With `write.request_id`, the same
        request again within a day must get the first answer without a second write, a concurrent
        twin included. With `write.validate_only` nothing must be written.

        Raises:
            InvalidRequestError: If the request id was used for a different request.
            ResourceExhaustedError: If the project holds as many dashboards as it may.
            AbortedError: If other writes kept coming between, ten times.
        """
        ...

    async def get_revision(self, project_id: str, dashboard_id: str, revision: int) -> Dashboard | None:
        """Return the dashboard as of a revision, deleted or not; None if that revision isn't kept."""
        ...

    async def list_revisions(
        self, project_id: str, dashboard_id: str, query: RevisionQuery
    ) -> RevisionPage | None:
        """Return a page of a dashboard's history, deleted or not; None if there is no such dashboard."""
        ...

    async def get_registration(self, project_id: str, registration_id: str) -> DashboardRegistration | None:
        """Return the registration, a deleted one too; None where there is none."""
        ...

    async def list_registrations(self, project_id: str, query: RegistrationQuery) -> RegistrationPage:
        """Return a page of registrations, by title, ties by id.

        Must not take more statements the more there are.
        """
        ...

    async def count_registrations(self, project_id: str, query: RegistrationQuery) -> int:
        """Return how many registrations meet the query's filters, on all pages together."""
        ...

    async def communities_of(self, project_id: str, organisation_ids: Collection[str]) -> Mapping[str, str]:
        """Return the community of each of these organisations that has a registration, a deleted one too."""
        ...

    async def write_registration(
        self,
        write: Write,
        change: Callable[[StoredRegistration], RegistrationOutcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        """Apply a change to the registration's current state and write what comes out of it.

        As `write_dashboard` does. A new registration must be written only if no other one of its
        organisation, deleted ones included, is on another community, not even one written at the same time.

        Raises:
            InvalidRequestError: If the request id was used for a different request, or the organisation
                is on another community.
            ResourceExhaustedError: If the project holds as many registrations as it may.
            AbortedError: If other writes kept coming between, ten times.
        """
        ...

    async def get_content(
        self, project_id: str, registration_id: str, content_id: str
    ) -> RegistrationWithContent | None:
        """Return a registration and one of its contents; None if there is no such registration.

        Args:
            project_id: The project.
            registration_id: The registration, deleted or not.
            content_id: The content's id; empty for the current one.
        """
        ...

    async def list_contents(self, project_id: str, registration_id: str, query: ContentQuery) -> ContentPage:
        """Return a page of a registration's contents, deleted or not; empty if there are none."""
        ...

    async def purge_due(self, now: int) -> int | None:
        """Purge some of the deleted resources whose time is up; return how many, None at the end.

        Of each dashboard must be left its id and last revision. Must be quick, whatever there is to do:
        0 are purged where only a part of a long history went.
        """
        ...

    async def forget_expired(self, now: int) -> int:
        """Delete some of the answers to request ids that are a day old; return how many, 0 at the end."""
        ...

    async def trim_some(self, after: Cursor) -> Cursor | None:
        """Delete some of the history beyond what is kept, walking on from a cursor.

        Return where to go on; None at the end.
        """
        ...

    async def erase_some(self, project_id: str) -> int:
        """Purge some of a project's resources and answers; return how many were found, 0 at the end."""
        ...

    async def check(self) -> None:
        """Return if the database can be read and written, and has the schema of this version.

        Raises:
            UnavailableError: If not.
            DatabaseFaultError: If it can't be written until somebody mends it.
        """
        ...

    async def close(self) -> None:
        """Finish the writes in progress and release everything. Later calls raise UnavailableError."""
        ...
