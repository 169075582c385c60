"""What the services ask of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar

from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dashkeeper.gen.dashboards.v1.changes_pb import (
        CreateResponse,
        DeleteResponse,
        UndeleteResponse,
        UpdateResponse,
    )
    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.gen.dashboards.v1.history_pb import RestoreResponse, Revision
    from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertResponse

    AnyReply: TypeAlias = (
        CreateResponse | UpdateResponse | UpsertResponse | DeleteResponse | UndeleteResponse | RestoreResponse
    )

Reply = TypeVar("Reply", bound="AnyReply")

OrderColumn = Literal["created_at", "updated_at", "name"]
Kind = Literal["CREATE", "UPDATE", "UPSERT", "DELETE", "UNDELETE", "RESTORE"]
"""Of a revision: RevisionKind without its prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardQuery:
    """Which dashboards of a project to list, and in which order."""

    order_by: OrderColumn = "created_at"
    descending: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """All must match."""
    name_prefix: str = ""
    name_contains: str = ""
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
class Write:
    """What a write carries beside the change itself."""

    project_id: str
    dashboard_id: str
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
    restored_revision: int = 0
    """The revision whose state the change needs besides; 0 for none."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored under an id: a dashboard, deleted or not, or what is left of a purged one."""

    dashboard: Dashboard | None
    """With its tiles; None where there is none."""
    last_revision: int
    """The number of its last revision, also of a purged one; 0 where there never was one."""
    restored: Dashboard | None = None
    """The state as of `Write.restored_revision`; None where that isn't there, or isn't kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Reply]):
    """What a change makes of a dashboard, and what its caller is answered."""

    reply: Reply
    state: Dashboard | None = None
    """The whole new state to write; None where nothing changes."""
    kind: Kind = "UPDATE"
    tile_changes: TileChanges = field(default_factory=TileChanges)


class Store(Protocol):
    """Keeps dashboards. Every method is one transaction, and durable when it returns.

    Every method raises UnavailableError if the database can't be reached, after which the same
    store must work again as soon as the database does.
    """

    async def get_dashboard(self, project_id: str, dashboard_id: str) -> Dashboard | None:
        """Return the dashboard with its tiles, a deleted one too; None where there is none.

        Ids are compared case-sensitively.
        """
        ...

    async def list_dashboards(self, project_id: str, query: DashboardQuery) -> DashboardPage:
        """Return a page of dashboards, in the query's order, names by UTF-8 bytes, ties by id.

        Must not cost more the deeper the page lies.
        """
        ...

    async def write_dashboard(
        self,
        write: Write,
        change: Callable[[Stored], Outcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        """Apply a change to the dashboard's current state and write what comes out of it.

        `change` gets the stored state and must have no effects: it runs again whenever another
        write came between. What it raises ends the write, and nothing is written.

        The state must be written only where the stored revision is still the one that `change`
        saw, with its revision in the history, all or nothing. With `write.request_id`, the same
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

    async def purge_due(self, now: int) -> int | None:
        """Purge some of the deleted dashboards whose time is up; return how many, None at the end.

        Of each must be left its id and last revision. Must be quick, whatever there is to do: 0 are
        purged where only a part of a long history went.
        """
        ...

    async def forget_expired(self, now: int) -> int:
        """Delete some of the answers to request ids that are a day old; return how many, 0 at the end."""
        ...

    async def trim_some(self, after: tuple[str, str]) -> tuple[str, str] | None:
        """Delete some revisions beyond those that are kept, walking on from a (project id, id).

        Return where to go on; None at the end.
        """
        ...

    async def erase_some(self, project_id: str) -> int:
        """Purge some of a project's dashboards and answers; return how many were found, 0 at the end."""
        ...

    async def check(self) -> None:
        """Return if the database can be reached and has the schema of this version.

        Raises:
            UnavailableError: If not.
        """
        ...

    async def close(self) -> None:
        """Finish the writes in progress and release everything. Later calls raise UnavailableError."""
        ...
