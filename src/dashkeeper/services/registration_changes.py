"""What each write makes of a registration and its content: functions of its stored state, without effects.

The store runs them inside its transaction, and again if another write came first.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashkeeper import times
from dashkeeper.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    Violation,
    no_registration,
)
from dashkeeper.gen.registrations.v1.changes_pb import (
    CreateResponse,
    DeleteResponse,
    UndeleteResponse,
    UpdateResponse,
)
from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
from dashkeeper.services.ids import new_content_id
from dashkeeper.services.places import place_problems
from dashkeeper.services.registration_states import (
    check_ids_size,
    check_size,
    next_state,
    no_content,
    preview,
    with_new_etag,
)
from dashkeeper.services.writes import check_etag
from dashkeeper.store.base import Outcome, RegistrationOutcome, StoredRegistration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from dashkeeper.gen.registrations.v1.changes_pb import (
        CreateRequest,
        DeleteRequest,
        UndeleteRequest,
        UpdateRequest,
    )
    from dashkeeper.gen.registrations.v1.content_pb import DashboardContent
    from dashkeeper.gen.registrations.v1.contents_pb import RestoreContentRequest, UpdateContentRequest
    from dashkeeper.services.organisations import Reach
    from dashkeeper.store.base import Reply

_UPDATABLE = ("title", "scopes", "segment_ids", "builder_ids", "archived")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationLimits:
    """What an operator may set."""

    require_etag: bool
    purge_after: timedelta


@dataclass(frozen=True, slots=True)
class RegistrationChanges:
    """The changes that a subject makes, within its reach and the limits."""

    subject: str
    reach: Reach
    limits: RegistrationLimits

    def create(
        self, stored: StoredRegistration, request: CreateRequest, registration_id: str
    ) -> RegistrationOutcome[CreateResponse]:
        """Begin a registration, without a content."""
        content = DashboardRegistration(
            id=registration_id,
            title=request.title,
            scopes=request.scopes,
            segment_ids=request.segment_ids,
            builder_ids=request.builder_ids,
            archived=request.archived,
            organisation_id=request.organisation_id,
            community_id=request.community_id,
        )
        check_ids_size(content)
        state = next_state(content, stored, self.subject)
        shown = preview(state, None) if request.validate_only else state
        return Outcome(reply=CreateResponse(registration=shown), state=state)

    def update(
        self, stored: StoredRegistration, request: UpdateRequest
    ) -> RegistrationOutcome[UpdateResponse]:
        """Change the registration (AIP-134), and restore a content where it names an older one."""
        current = self._existing(stored, request.id)
        names_older = writes_content_id(request) and (
            request.dashboard_content_id not in ("", current.dashboard_content_id)
        )
        older = stored.restored if names_older else None
        # An id of no content is refused as such below, with or without an etag.
        required = older is not None or self.limits.require_etag
        check_etag("registration", current.id, current.etag, request.etag, required=required)
        content = copy(current)
        for path in _paths(request):
            setattr(content, path, getattr(request, path))
        if problems := [*place_problems(content.scopes, content.segment_ids, content.builder_ids)]:
            raise InvalidRequestError.of(problems)
        check_ids_size(content)
        is_modified = content.to_binary() != current.to_binary()
        if names_older and older is None:
            description = (
                "is not a content of this registration: leave it out, or take one that ListContents gives"
            )
            raise InvalidRequestError.of([Violation(("dashboard_content_id",), description)])
        wrapper = None
        if older is not None:
            wrapper = self._wrapped(older.content, stored, current, request.change_message)
            content.dashboard_content_id = wrapper.id
        if wrapper is None and not is_modified:
            return Outcome(reply=UpdateResponse(registration=current))
        state = next_state(content, stored, self.subject) if is_modified else with_new_etag(content)
        shown = preview(state, current) if request.validate_only else state
        return Outcome(reply=UpdateResponse(registration=shown), state=state, entry=wrapper)

    def delete(
        self, stored: StoredRegistration, request: DeleteRequest
    ) -> RegistrationOutcome[DeleteResponse]:
        """Take the registration away, until Undelete or the purge (AIP-164)."""
        current = self._existing(stored, request.id)
        self._check_etag(current, request.etag)
        state = next_state(current, stored, self.subject)
        assert state.last_modified_ts is not None
        state.deleted_at = state.last_modified_ts
        state.purge_at = times.later(state.last_modified_ts, self.limits.purge_after)
        return Outcome(reply=DeleteResponse(), state=state)

    def undelete(
        self, stored: StoredRegistration, request: UndeleteRequest
    ) -> RegistrationOutcome[UndeleteResponse]:
        """Bring the deleted registration back as it was (AIP-164)."""
        current = self._reachable(stored, request.id)
        self._check_etag(current, request.etag)
        if current.deleted_at is None:
            raise AlreadyExistsError(
                f'registration "{request.id}" is not deleted',
                reason="REGISTRATION_EXISTS",
                metadata={"id": request.id},
            )
        state = next_state(current, stored, self.subject)
        state.deleted_at = state.purge_at = None
        shown = preview(state, current) if request.validate_only else state
        return Outcome(reply=UndeleteResponse(registration=shown), state=state)

    def update_content(
        self,
        stored: StoredRegistration,
        request: UpdateContentRequest,
        content: DashboardContent,
        reply: Callable[[DashboardContentWrapper], Reply],
    ) -> RegistrationOutcome[Reply]:
        """Give the registration a new content, "with a new ID" (the seed) even if it is the same."""
        current = self._existing(stored, request.id)
        if request.must_be_first and current.dashboard_content_id:
            raise AlreadyExistsError(
                f'registration "{request.id}" has a content: leave must_be_first out to replace it',
                reason="CONTENT_EXISTS",
                metadata={"id": request.id, "current_etag": current.dashboard_content_id},
            )
        check_size(content)
        return self._new_content(stored, current, request, content, reply)

    def restore_content(
        self,
        stored: StoredRegistration,
        request: RestoreContentRequest,
        reply: Callable[[DashboardContentWrapper], Reply],
    ) -> RegistrationOutcome[Reply]:
        """Give the registration a content that it had before, in a new wrapper."""
        current = self._existing(stored, request.id)
        if stored.restored is None:
            raise no_content(request.id, request.content_id)
        return self._new_content(stored, current, request, stored.restored.content, reply)

    def _new_content(
        self,
        stored: StoredRegistration,
        current: DashboardRegistration,
        request: UpdateContentRequest | RestoreContentRequest,
        content: DashboardContent | None,
        reply: Callable[[DashboardContentWrapper], Reply],
    ) -> RegistrationOutcome[Reply]:
        required = self.limits.require_etag and bool(current.dashboard_content_id)
        check_etag(
            "the content of registration",
            current.id,
            current.dashboard_content_id,
            request.etag,
            required=required,
        )
        wrapper = self._wrapped(content, stored, current, request.change_message)
        state = with_new_etag(current)
        state.dashboard_content_id = wrapper.id
        shown = wrapper
        if request.validate_only:
            shown = copy(wrapper)
            shown.id, shown.created_ts = "", None
        return Outcome(reply=reply(shown), state=state, entry=wrapper)

    def _wrapped(
        self,
        content: DashboardContent | None,
        stored: StoredRegistration,
        registration: DashboardRegistration,
        change_message: str,
    ) -> DashboardContentWrapper:
        time = times.clock.next(after=stored.changed_at)
        return DashboardContentWrapper(
            id=new_content_id(time),
            content=content,
            organisation_id=registration.organisation_id,
            created_ts=times.to_timestamp(time),
            created_by=self.subject,
            change_message=change_message,
        )

    def _existing(self, stored: StoredRegistration, registration_id: str) -> DashboardRegistration:
        registration = self._reachable(stored, registration_id)
        if registration.deleted_at is not None:
            raise no_registration(registration_id)
        return registration

    def _reachable(self, stored: StoredRegistration, registration_id: str) -> DashboardRegistration:
        """Return the registration, even a deleted one, if the caller may write it."""
        registration = stored.state
        if registration is None or not self.reach.can_read(registration.organisation_id):
            raise no_registration(registration_id)
        self.reach.check_write(registration.organisation_id)
        return registration

    def _check_etag(self, current: DashboardRegistration, etag: str) -> None:
        check_etag("registration", current.id, current.etag, etag, required=self.limits.require_etag)


def _paths(request: UpdateRequest) -> Sequence[str]:
    """Return the fields to change: the mask's, or without one those that are populated."""
    mask = request.update_mask.paths if request.update_mask is not None else ()
    if "*" in mask:
        return _UPDATABLE
    if mask:
        return [path for path in mask if path in _UPDATABLE]
    return [field for field in _UPDATABLE if getattr(request, field) or request.has_field(field)]


def writes_content_id(request: UpdateRequest) -> bool:
    """Whether dashboard_content_id is among the fields that an Update changes."""
    mask = request.update_mask.paths if request.update_mask is not None else ()
    return not mask or "dashboard_content_id" in mask or "*" in mask
