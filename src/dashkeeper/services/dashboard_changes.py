"""What each write makes of a dashboard: functions of its stored state, without effects.

The store runs them inside its transaction, and again if another write came first.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashkeeper import times
from dashkeeper.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    counted,
)
from dashkeeper.gen.dashboards.v1.changes_pb import (
    CreateRequest,
    CreateResponse,
    DeleteResponse,
    UndeleteResponse,
    UpdateResponse,
)
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.history_pb import RestoreResponse
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges, UpsertResponse
from dashkeeper.services.dashboard_states import check_size, live, missing, next_state, preview, same_content
from dashkeeper.services.ids import new_tile_id
from dashkeeper.services.reconcile import compare, reconcile
from dashkeeper.services.writes import check_etag
from dashkeeper.store.base import DashboardOutcome, Outcome, RevisionEntry, StoredDashboard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from dashkeeper.gen.dashboards.v1.changes_pb import DeleteRequest, UndeleteRequest, UpdateRequest
    from dashkeeper.gen.dashboards.v1.history_pb import RestoreRequest
    from dashkeeper.gen.dashboards.v1.tile_pb import Tile
    from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
    from dashkeeper.services.writes import WriteRequest
    from dashkeeper.store.base import Kind, Reply

_MAX_IDS_LENGTH = 2_000
_UPDATABLE = ("name", "description", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardLimits:
    """What an operator may set."""

    max_tiles: int
    require_etag: bool
    purge_after: timedelta


@dataclass(frozen=True, slots=True)
class DashboardChanges:
    """The changes that a subject makes, within the limits."""

    subject: str
    limits: DashboardLimits

    def create(
        self, stored: StoredDashboard, request: CreateRequest, dashboard_id: str
    ) -> DashboardOutcome[CreateResponse]:
        """Begin a dashboard, for the first time or anew after a delete (AIP-133)."""
        if stored.state is not None and stored.state.deleted_at is None:
            raise AlreadyExistsError(
                f'dashboard "{dashboard_id}" exists: choose another id, or change it by Update or Upsert',
                reason="DASHBOARD_EXISTS",
                metadata={"id": dashboard_id},
            )
        tiles, changes = self._reconcile([], request)
        content = Dashboard(
            id=dashboard_id,
            name=request.name,
            description=request.description,
            labels=request.labels,
            tiles=tiles,
        )
        return self._outcome(
            "CREATE", request, stored, content, lambda it: CreateResponse(dashboard=it), changes
        )

    def update(self, stored: StoredDashboard, request: UpdateRequest) -> DashboardOutcome[UpdateResponse]:
        """Change what the dashboard says about itself (AIP-134, AIP-161)."""
        content = copy(self._existing(stored, request.id, request.etag))
        for path in _paths(request):
            setattr(content, path, getattr(request, path))
        return self._outcome("UPDATE", request, stored, content, lambda it: UpdateResponse(dashboard=it))

    def upsert(self, stored: StoredDashboard, request: UpsertRequest) -> DashboardOutcome[UpsertResponse]:
        """Replace all tiles: the seed's full reconcile."""
        dashboard_id = request.dashboard_id
        if stored.state is not None and stored.state.deleted_at is None:
            content = copy(self._existing(stored, dashboard_id, request.etag))
        elif not request.allow_missing:
            raise missing(dashboard_id)
        elif request.etag:
            raise AbortedError(
                f'dashboard "{dashboard_id}" was deleted since it was read:'
                " leave the etag out to create it anew",
                reason="ETAG_MISMATCH",
                metadata={"id": dashboard_id},
            )
        else:
            content = Dashboard(id=dashboard_id, name=request.name)
        content.tiles, changes = self._reconcile(content.tiles, request)
        _check_deletions(request, changes)
        return self._outcome(
            "UPSERT",
            request,
            stored,
            content,
            lambda it: UpsertResponse(dashboard=it, changes=changes),
            changes,
        )

    def delete(self, stored: StoredDashboard, request: DeleteRequest) -> DashboardOutcome[DeleteResponse]:
        """Take the dashboard away, until Undelete or the purge (AIP-164)."""
        state = next_state(self._existing(stored, request.id, request.etag), stored, self.subject)
        assert state.updated_at is not None
        state.deleted_at = state.updated_at
        state.purge_at = times.later(state.updated_at, self.limits.purge_after)
        return Outcome(reply=DeleteResponse(), state=state, entry=RevisionEntry("DELETE", TileChanges()))

    def undelete(
        self, stored: StoredDashboard, request: UndeleteRequest
    ) -> DashboardOutcome[UndeleteResponse]:
        """Bring the deleted dashboard back as it was (AIP-164)."""
        if stored.state is None:
            raise missing(request.id)
        self._check_etag(stored.state, request.etag)
        if stored.state.deleted_at is None:
            raise AlreadyExistsError(
                f'dashboard "{request.id}" is not deleted',
                reason="DASHBOARD_EXISTS",
                metadata={"id": request.id},
            )
        content = copy(stored.state)
        content.deleted_at = content.purge_at = None
        return self._outcome("UNDELETE", request, stored, content, lambda it: UndeleteResponse(dashboard=it))

    def restore(self, stored: StoredDashboard, request: RestoreRequest) -> DashboardOutcome[RestoreResponse]:
        """Give the dashboard the name, description, labels and tiles of an older state."""
        current = self._existing(stored, request.id, request.etag)
        if (old := stored.restored) is None:
            raise no_revision(request.id, request.revision)
        content = copy(current)
        content.name, content.description, content.labels = old.name, old.description, old.labels
        content.tiles = old.tiles
        changes = compare(current.tiles, old.tiles)
        return self._outcome(
            "RESTORE", request, stored, content, lambda it: RestoreResponse(dashboard=it), changes
        )

    def _outcome(
        self,
        kind: Kind,
        request: WriteRequest,
        stored: StoredDashboard,
        content: Dashboard,
        reply: Callable[[Dashboard], Reply],
        changes: TileChanges | None = None,
    ) -> DashboardOutcome[Reply]:
        """Return what becomes of the stored state: nothing, where the content is the same."""
        current = stored.state
        if current is not None and current.deleted_at is None and same_content(current, content):
            return Outcome(reply=reply(current))
        state = next_state(content, stored, self.subject)
        if kind != "UNDELETE":  # which brings back what was stored, however large
            check_size(state)
        shown = preview(state, current) if request.validate_only else state
        return Outcome(reply=reply(shown), state=state, entry=RevisionEntry(kind, changes or TileChanges()))

    def _existing(self, stored: StoredDashboard, dashboard_id: str, etag: str) -> Dashboard:
        dashboard = live(stored.state, dashboard_id)
        self._check_etag(dashboard, etag)
        return dashboard

    def _check_etag(self, dashboard: Dashboard, etag: str) -> None:
        required = self.limits.require_etag
        check_etag("dashboard", dashboard.id, dashboard.etag, etag, required=required)

    def _reconcile(
        self, tiles: Sequence[Tile], request: CreateRequest | UpsertRequest
    ) -> tuple[list[Tile], TileChanges]:
        return reconcile(tiles, request.tiles, (lambda: "") if request.validate_only else new_tile_id)


def no_revision(dashboard_id: str, revision: int) -> NotFoundError:
    """Make the error of a revision that isn't there, or isn't kept any more."""
    return NotFoundError(
        f'dashboard "{dashboard_id}" has no revision {revision}, or it is no longer kept:'
        " ListRevisions gives those that are",
        reason="REVISION_NOT_FOUND",
        metadata={"id": dashboard_id, "revision": str(revision)},
    )


def _paths(request: UpdateRequest) -> Sequence[str]:
    """Return the fields to change: the mask's, or without one those that are populated."""
    mask = request.update_mask.paths if request.update_mask is not None else ()
    if "*" in mask:
        return _UPDATABLE
    return mask or [field for field in _UPDATABLE if getattr(request, field)]


def _check_deletions(request: UpsertRequest, changes: TileChanges) -> None:
    if request.has_field("max_deletions") and len(changes.deleted) > request.max_deletions:
        deletions = counted(len(changes.deleted), "tile")
        raise FailedPreconditionError(
            f"{deletions} would be deleted, max_deletions allows {request.max_deletions}:"
            " send all tiles that shall stay, or raise max_deletions",
            reason="TOO_MANY_DELETIONS",
            metadata={"deletions": str(len(changes.deleted)), "tile_ids": _joined(changes.deleted)},
        )


def _joined(ids: Sequence[str]) -> str:
    """Join ids by commas, as many as an error's details can carry in a client's 8 KiB of trailers."""
    text = ",".join(ids)
    return text if len(text) <= _MAX_IDS_LENGTH else text[:_MAX_IDS_LENGTH].rpartition(",")[0]
