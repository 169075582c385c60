"""A registration's states: what the next one is, how large it may be, and the errors of what isn't there."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from dashkeeper import times
from dashkeeper.errors import NotFoundError, ResourceExhaustedError
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.services.ids import new_etag

if TYPE_CHECKING:
    from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
    from dashkeeper.store.base import StoredRegistration

_MAX_CONTENT_BYTES = 3_670_016
"""3.5 MiB: so that an answer, with the registration beside it, always fits a client's limit of 4 MiB."""

_MAX_IDS_BYTES = 409_600
"""400 KiB: the most that segment_ids and builder_ids take; all else of a registration is short."""


def no_content(registration_id: str, content_id: str) -> NotFoundError:
    """Make the error of a content that isn't there, or isn't kept any more."""
    if not content_id:
        return NotFoundError(
            f'registration "{registration_id}" has no content yet: UpdateContent gives it one',
            reason="NO_CONTENT",
            metadata={"id": registration_id},
        )
    return NotFoundError(
        f'registration "{registration_id}" has no content "{content_id}", or it is no longer kept:'
        " ListContents gives those that are",
        reason="CONTENT_NOT_FOUND",
        metadata={"id": registration_id, "content_id": content_id},
    )


def next_state(
    content: DashboardRegistration, stored: StoredRegistration, subject: str
) -> DashboardRegistration:
    """Return the content as the state that follows the stored one, modified by the subject."""
    state = with_new_etag(content)
    state.last_modified_ts = times.to_timestamp(times.clock.next(after=stored.changed_at))
    state.last_modified_by = subject
    if stored.state is None:
        state.created_ts, state.created_by = state.last_modified_ts, subject
    return state


def with_new_etag(content: DashboardRegistration) -> DashboardRegistration:
    """Return the registration with a new etag and nothing else changed: for a change of its content."""
    state = copy(content)
    state.etag = new_etag()
    return state


def preview(state: DashboardRegistration, current: DashboardRegistration | None) -> DashboardRegistration:
    """Return a state that won't be written, as `validate_only` answers it.

    Its etag, last_modified_ts and dashboard_content_id are the current ones, empty for a new registration.
    """
    shown = copy(state)
    shown.etag = current.etag if current is not None else ""
    shown.last_modified_ts = current.last_modified_ts if current is not None else None
    shown.dashboard_content_id = current.dashboard_content_id if current is not None else ""
    return shown


def check_ids_size(registration: DashboardRegistration) -> None:
    """Check that a registration's lists of ids aren't too large.

    Raises:
        ResourceExhaustedError: If they are larger than those of a stored registration may be.
    """
    ids = DashboardRegistration(segment_ids=registration.segment_ids, builder_ids=registration.builder_ids)
    size = len(ids.to_binary())
    if size > _MAX_IDS_BYTES:
        raise ResourceExhaustedError(
            f"segment_ids and builder_ids would take {size} bytes, at most {_MAX_IDS_BYTES} are kept:"
            " list fewer or shorter ones",
            reason="REGISTRATION_TOO_LARGE",
            metadata={"max_bytes": str(_MAX_IDS_BYTES)},
        )


def check_size(content: DashboardContent) -> None:
    """Check that a new content isn't too large.

    Raises:
        ResourceExhaustedError: If it is larger than a stored content may be.
    """
    size = len(content.to_binary())
    if size > _MAX_CONTENT_BYTES:
        raise ResourceExhaustedError(
            f"the content would take {size} bytes, at most {_MAX_CONTENT_BYTES} are kept:"
            " split the dashboard",
            reason="CONTENT_TOO_LARGE",
            metadata={"max_bytes": str(_MAX_CONTENT_BYTES)},
        )
