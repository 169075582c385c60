"""RegistrationsService: what each RPC does, in order. What writes make of a state: `registration_changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dashkeeper import times
from dashkeeper.errors import no_registration
from dashkeeper.gen.registrations.v1.changes_pb import (
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResponse,
    UndeleteRequest,
    UndeleteResponse,
    UpdateRequest,
    UpdateResponse,
)
from dashkeeper.gen.registrations.v1.contents_pb import (
    GetContentRequest,
    GetContentResponse,
    ListContentsRequest,
    ListContentsResponse,
    RestoreContentRequest,
    RestoreContentResponse,
    UpdateContentRequest,
    UpdateContentResponse,
)
from dashkeeper.gen.registrations.v1.registration_pb import Scope
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.gen.registrations.v1.registrations_pb import (
    GetRequest,
    GetResponse,
    ListRequest,
    ListResponse,
)
from dashkeeper.services.contents import compacted
from dashkeeper.services.ids import new_registration_id
from dashkeeper.services.organisations import community_to_list, not_allowed, reach_of
from dashkeeper.services.paging import MAX_PAGE_BYTES, NEWEST, decode_page_token, encode_page_token
from dashkeeper.services.registration_changes import RegistrationChanges, writes_content_id
from dashkeeper.services.registration_states import no_content
from dashkeeper.services.writes import new_write
from dashkeeper.store.queries import ContentQuery, RegistrationQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from protobuf import DescService

    from dashkeeper.auth import Caller
    from dashkeeper.gen.registrations.v1.content_pb import DashboardContentWrapper
    from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
    from dashkeeper.methods import Context
    from dashkeeper.services.registration_changes import RegistrationLimits
    from dashkeeper.services.writes import WriteRequest
    from dashkeeper.store.base import RegistrationOutcome, Reply, Store, StoredRegistration

MAX_PAGE_SIZE = 1_000
MAX_PAGE_SIZE_WITH_CONTENT = 50
MAX_CONTENTS_PAGE_SIZE = 100


class Registrations:
    """RegistrationsService, acting for one caller: implements the generated protocol."""

    def __init__(self, store: Store, limits: RegistrationLimits, caller: Caller) -> None:
        self._store = store
        self._limits = limits
        self._caller = caller

    @classmethod
    def desc(cls) -> DescService:
        """Return the descriptor of the service."""
        return RegistrationsService.desc()

    async def list(self, request: ListRequest, ctx: Context, /) -> ListResponse:
        """Give the registrations of an organisation, a page at a time (AIP-132, AIP-158)."""
        project_id = self._caller.project_id
        reach = await reach_of(self._caller, self._store)
        if not reach.can_read(request.organisation_id):
            raise not_allowed(request.organisation_id)
        organisations = [request.organisation_id]
        if request.include_community or request.community_id:
            community_id = await community_to_list(
                self._store, project_id, reach, request.organisation_id, request.community_id
            )
            if request.include_community and community_id not in organisations:
                if not reach.can_read(community_id):  # that of the community's own organisation
                    raise not_allowed(community_id)
                organisations.append(community_id)
        identity = _list_identity(project_id, request)
        after = None
        if request.page_token:
            after = cast("tuple[str, str]", decode_page_token(request.page_token, identity, str))
        most = MAX_PAGE_SIZE_WITH_CONTENT if request.include_content else MAX_PAGE_SIZE
        query = RegistrationQuery(
            organisation_ids=organisations,
            scope=int(request.scope) if request.scope != Scope.UNSPECIFIED else None,
            place_id=request.segment_id or request.builder_id or None,
            archived=_archived(request),
            title_contains=request.title_contains,
            show_deleted=request.show_deleted,
            include_content=request.include_content,
            after=after,
            skip=request.skip,
            limit=min(request.page_size or most, most),
            max_bytes=MAX_PAGE_BYTES,
        )
        page = await self._store.list_registrations(project_id, query)
        response = ListResponse(registrations=[*page.registrations], content_wrappers=[*page.contents])
        if page.has_more:
            last = page.registrations[-1]
            response.next_page_token = encode_page_token(identity, last.title, last.id)
        if request.include_total:
            response.total_size = await self._store.count_registrations(project_id, query)
        return response

    async def get(self, request: GetRequest, ctx: Context, /) -> GetResponse:
        """Give one registration."""
        registration = await self._store.get_registration(self._caller.project_id, request.id)
        registration = await self._readable(registration, request.id)
        if registration.deleted_at is not None:
            raise no_registration(request.id)
        return GetResponse(registration=registration)

    async def create(self, request: CreateRequest, ctx: Context, /) -> CreateResponse:
        """Make a registration."""
        changes = await self._changes()
        changes.reach.check_write(request.organisation_id)
        registration_id = "" if request.validate_only else new_registration_id(times.clock.next())

        def change(stored: StoredRegistration) -> RegistrationOutcome[CreateResponse]:
            return changes.create(stored, request, registration_id)

        return await self._write(
            "Create", request, registration_id, change, CreateResponse, shows=lambda it: it.registration
        )

    async def update(self, request: UpdateRequest, ctx: Context, /) -> UpdateResponse:
        """Change a registration."""
        changes = await self._changes()

        def change(stored: StoredRegistration) -> RegistrationOutcome[UpdateResponse]:
            return changes.update(stored, request)

        restores = request.dashboard_content_id if writes_content_id(request) else ""
        return await self._write(
            "Update",
            request,
            request.id,
            change,
            UpdateResponse,
            shows=lambda it: it.registration,
            restores=restores,
        )

    async def delete(self, request: DeleteRequest, ctx: Context, /) -> DeleteResponse:
        """Take a registration away; until it is purged, Undelete brings it back."""
        changes = await self._changes()

        def change(stored: StoredRegistration) -> RegistrationOutcome[DeleteResponse]:
            return changes.delete(stored, request)

        return await self._write("Delete", request, request.id, change, DeleteResponse, shows=lambda _: None)

    async def undelete(self, request: UndeleteRequest, ctx: Context, /) -> UndeleteResponse:
        """Bring a deleted registration back as it was."""
        changes = await self._changes()

        def change(stored: StoredRegistration) -> RegistrationOutcome[UndeleteResponse]:
            return changes.undelete(stored, request)

        return await self._write(
            "Undelete", request, request.id, change, UndeleteResponse, shows=lambda it: it.registration
        )

    async def get_content(self, request: GetContentRequest, ctx: Context, /) -> GetContentResponse:
        """Give a content of a registration, the current one where none is named."""
        found = await self._store.get_content(self._caller.project_id, request.id, request.content_id)
        registration = await self._readable(found.registration if found else None, request.id)
        if registration.deleted_at is not None:
            raise no_registration(request.id)
        if found is None or found.content is None:
            raise no_content(request.id, request.content_id)
        return GetContentResponse(content_wrapper=found.content)

    async def update_content(self, request: UpdateContentRequest, ctx: Context, /) -> UpdateContentResponse:
        """Replace the content of a registration."""
        changes = await self._changes()
        assert request.content is not None
        content = compacted(request.content)

        def change(stored: StoredRegistration) -> RegistrationOutcome[UpdateContentResponse]:
            return changes.update_content(
                stored, request, content, lambda it: UpdateContentResponse(content_wrapper=it)
            )

        return await self._write(
            "UpdateContent",
            request,
            request.id,
            change,
            UpdateContentResponse,
            shows=lambda it: it.content_wrapper,
        )

    async def list_contents(self, request: ListContentsRequest, ctx: Context, /) -> ListContentsResponse:
        """Give a registration's contents without what they show, newest first, a page at a time."""
        project_id = self._caller.project_id
        registration = await self._store.get_registration(project_id, request.id)
        await self._readable(registration, request.id)
        identity = ["RegistrationsService/ListContents", project_id, request.id]
        before = NEWEST
        if request.page_token:
            before = cast("int", decode_page_token(request.page_token, identity, int)[0])
        limit = min(request.page_size or MAX_CONTENTS_PAGE_SIZE, MAX_CONTENTS_PAGE_SIZE)
        page = await self._store.list_contents(
            project_id, request.id, ContentQuery(before=before, limit=limit)
        )
        response = ListContentsResponse(content_wrappers=[*page.contents])
        if page.has_more:
            response.next_page_token = encode_page_token(identity, page.last_number, request.id)
        return response

    async def restore_content(
        self, request: RestoreContentRequest, ctx: Context, /
    ) -> RestoreContentResponse:
        """Make an older content of a registration the current one again."""
        changes = await self._changes()

        def change(stored: StoredRegistration) -> RegistrationOutcome[RestoreContentResponse]:
            return changes.restore_content(
                stored, request, lambda it: RestoreContentResponse(content_wrapper=it)
            )

        return await self._write(
            "RestoreContent",
            request,
            request.id,
            change,
            RestoreContentResponse,
            shows=lambda it: it.content_wrapper,
            restores=request.content_id,
        )

    async def _changes(self) -> RegistrationChanges:
        reach = await reach_of(self._caller, self._store)
        return RegistrationChanges(self._caller.subject, reach, self._limits)

    async def _readable(
        self, registration: DashboardRegistration | None, registration_id: str
    ) -> DashboardRegistration:
        """Return the registration, even a deleted one, if the caller may read it.

        Raises:
            NotFoundError: If not.
        """
        reach = await reach_of(self._caller, self._store)
        if registration is None or not reach.can_read(registration.organisation_id):
            raise no_registration(registration_id)
        return registration

    async def _write(
        self,
        method: str,
        request: WriteRequest,
        registration_id: str,
        change: Callable[[StoredRegistration], RegistrationOutcome[Reply]],
        reply_type: type[Reply],
        *,
        shows: Callable[[Reply], DashboardRegistration | DashboardContentWrapper | None],
        restores: str = "",
    ) -> Reply:
        """Make a write, and answer what `shows` takes out of the reply only to those who may write it.

        `change` has judged the caller already, but isn't run where a request id has its answer: that
        may be another's, of a token of the same subject that allowed more.

        Raises:
            NotFoundError: If the answer is of an organisation that the token doesn't allow.
        """
        name = f"RegistrationsService/{method}"
        write = new_write(self._caller, name, request, registration_id, restores=restores)
        reply = await self._store.write_registration(write, change, reply_type)
        shown, allowed = shows(reply), self._caller.organisations
        if shown is not None and allowed is not None and shown.organisation_id not in allowed:
            raise no_registration(registration_id)
        return reply


def _archived(request: ListRequest) -> bool | None:
    if request.has_field("archived"):
        return request.archived
    return False if request.include_content else None


def _list_identity(project_id: str, request: ListRequest) -> list[object]:
    return [
        "RegistrationsService/List",
        project_id,
        request.organisation_id,
        request.community_id,
        request.include_community,
        int(request.scope),
        request.segment_id,
        request.builder_id,
        _archived(request),
        request.title_contains,
        request.show_deleted,
        request.include_content,
    ]
