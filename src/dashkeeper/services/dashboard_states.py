"""A dashboard's states: which one a write may start from, and what the next one is."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from dashkeeper.errors import NotFoundError, ResourceExhaustedError
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.services.ids import new_etag
from dashkeeper.times import clock, to_timestamp

if TYPE_CHECKING:
    from dashkeeper.store.base import StoredDashboard

MAX_DASHBOARD_BYTES = 3_670_016
"""3.5 MiB: so that an answer always fits a client's limit of 4 MiB."""


def live(dashboard: Dashboard | None, dashboard_id: str) -> Dashboard:
    """Return the dashboard, if there is one and it isn't deleted.

    Raises:
        NotFoundError: Otherwise.
    """
    if dashboard is None or dashboard.deleted_at is not None:
        raise missing(dashboard_id)
    return dashboard


def missing(dashboard_id: str) -> NotFoundError:
    """Make the error of a dashboard that isn't there, for whatever reason."""
    return NotFoundError(
        f'there is no dashboard "{dashboard_id}" in this project',
        reason="DASHBOARD_NOT_FOUND",
        metadata={"id": dashboard_id},
    )


def same_content(one: Dashboard, other: Dashboard) -> bool:
    """Whether two states hold the same: name, description, labels and tiles."""
    return (
        one.name == other.name
        and one.description == other.description
        and one.labels == other.labels
        and Dashboard(tiles=one.tiles).to_binary() == Dashboard(tiles=other.tiles).to_binary()
    )


def next_state(content: Dashboard, stored: StoredDashboard, subject: str) -> Dashboard:
    """Return the content as the state that follows the stored one, changed by this subject.

    Content without created_at is a dashboard that begins, anew or for the first time: created now,
    by this subject. Revisions go on all the same.
    """
    state = copy(content)
    state.revision = stored.last_revision + 1
    state.etag = new_etag()
    state.updated_at = to_timestamp(clock.next(after=stored.changed_at))
    state.updated_by = subject
    state.tile_count = len(state.tiles)
    if state.created_at is None:
        state.created_at = state.updated_at
        state.created_by = subject
    return state


def check_size(state: Dashboard) -> None:
    """Check that a state with new content isn't too large.

    Raises:
        ResourceExhaustedError: If it is larger than a stored dashboard may be.
    """
    size = len(state.to_binary())
    if size > MAX_DASHBOARD_BYTES:
        raise ResourceExhaustedError(
            f"the dashboard would take {size} bytes, at most {MAX_DASHBOARD_BYTES} are kept:"
            " split it, or shorten its markdown",
            reason="DASHBOARD_TOO_LARGE",
            metadata={"max_bytes": str(MAX_DASHBOARD_BYTES)},
        )


def preview(state: Dashboard, current: Dashboard | None) -> Dashboard:
    """Return a state that won't be written, as `validate_only` answers it.

    Its etag, revision and updated_at are the current ones, empty for a new dashboard.
    """
    shown = copy(state)
    shown.etag = current.etag if current is not None else ""
    shown.revision = current.revision if current is not None else 0
    shown.updated_at = current.updated_at if current is not None else None
    return shown
