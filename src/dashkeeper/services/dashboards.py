"""DashboardsService: what each RPC does, in order. What writes make of a state: `dashboard_changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dashkeeper import times
from dashkeeper.errors import InvalidRequestError, Violation, counted
from dashkeeper.gen.dashboards.v1.changes_pb import (
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResponse,
    UndeleteRequest,
    UndeleteResponse,
    UpdateRequest,
    UpdateResponse,
)
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, GetResponse, ListRequest, ListResponse
from dashkeeper.gen.dashboards.v1.history_pb import (
    GetRevisionRequest,
    GetRevisionResponse,
    ListRevisionsRequest,
    ListRevisionsResponse,
    RestoreRequest,
    RestoreResponse,
)
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest, UpsertResponse
from dashkeeper.services.dashboard_changes import DashboardChanges, no_revision
from dashkeeper.services.dashboard_states import live, missing
from dashkeeper.services.ids import new_dashboard_id
from dashkeeper.services.paging import MAX_PAGE_BYTES, NEWEST, decode_page_token, encode_page_token
from dashkeeper.services.writes import new_write
from dashkeeper.store.queries import DashboardQuery, RevisionQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protobuf import DescService

    from dashkeeper.auth import Caller
    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.gen.dashboards.v1.tile_pb import Tile
    from dashkeeper.methods import Context
    from dashkeeper.services.dashboard_changes import DashboardLimits
    from dashkeeper.services.writes import WriteRequest
    from dashkeeper.store.base import DashboardOutcome, Reply, Store, StoredDashboard
    from dashkeeper.store.queries import OrderColumn

MAX_PAGE_SIZE = 1_000
MAX_REVISIONS_PAGE_SIZE = 100


class Dashboards:
    """DashboardsService, acting for one caller: implements the generated protocol."""

    def __init__(self, store: Store, limits: DashboardLimits, caller: Caller) -> None:
        self._store = store
        self._limits = limits
        self._caller = caller
        self._changes = DashboardChanges(caller.subject, limits)

    @classmethod
    def desc(cls) -> DescService:
        """Return the descriptor of the service."""
        return DashboardsService.desc()

    async def list(self, request: ListRequest, ctx: Context, /) -> ListResponse:
        """Give the project's dashboards without their tiles, a page at a time (AIP-132, AIP-158)."""
        column, _, direction = (request.order_by or "created_at").partition(" ")
        filters = [
            request.labels,
            sorted({*request.label_keys}),
            request.name_prefix,
            request.name_contains,
            request.show_deleted,
        ]
        identity = ["DashboardsService/List", self._caller.project_id, column, direction, filters]
        after = None
        if request.page_token:
            after = decode_page_token(request.page_token, identity, str if column == "name" else int)
        page = await self._store.list_dashboards(
            self._caller.project_id,
            DashboardQuery(
                order_by=cast("OrderColumn", column),
                descending=direction == "desc",
                labels=request.labels,
                label_keys=request.label_keys,
                name_prefix=request.name_prefix,
                name_contains=request.name_contains,
                show_deleted=request.show_deleted,
                after=after,
                limit=min(request.page_size or MAX_PAGE_SIZE, MAX_PAGE_SIZE),
                max_bytes=MAX_PAGE_BYTES,
            ),
        )
        response = ListResponse(dashboards=[*page.dashboards])
        if page.has_more:
            last = page.dashboards[-1]
            response.next_page_token = encode_page_token(identity, _sort_value(last, column), last.id)
        return response

    async def get(self, request: GetRequest, ctx: Context, /) -> GetResponse:
        """Give one dashboard with all its tiles."""
        dashboard = await self._store.get_dashboard(self._caller.project_id, request.id)
        return GetResponse(dashboard=live(dashboard, request.id))

    async def create(self, request: CreateRequest, ctx: Context, /) -> CreateResponse:
        """Make a dashboard, under an id of the caller's choice or a new one."""
        self._check_tiles(request.tiles)
        dashboard_id = request.dashboard_id
        if not dashboard_id and not request.validate_only:
            dashboard_id = new_dashboard_id(times.clock.next())

        def change(stored: StoredDashboard) -> DashboardOutcome[CreateResponse]:
            return self._changes.create(stored, request, dashboard_id)

        return await self._write("Create", request, dashboard_id, change, CreateResponse)

    async def update(self, request: UpdateRequest, ctx: Context, /) -> UpdateResponse:
        """Change what a dashboard says about itself."""

        def change(stored: StoredDashboard) -> DashboardOutcome[UpdateResponse]:
            return self._changes.update(stored, request)

        return await self._write("Update", request, request.id, change, UpdateResponse)

    async def upsert(self, request: UpsertRequest, ctx: Context, /) -> UpsertResponse:
        """Replace all tiles of a dashboard."""
        self._check_tiles(request.tiles)

        def change(stored: StoredDashboard) -> DashboardOutcome[UpsertResponse]:
            return self._changes.upsert(stored, request)

        return await self._write("Upsert", request, request.dashboard_id, change, UpsertResponse)

    async def delete(self, request: DeleteRequest, ctx: Context, /) -> DeleteResponse:
        """Take a dashboard away; until it is purged, Undelete brings it back."""

        def change(stored: StoredDashboard) -> DashboardOutcome[DeleteResponse]:
            return self._changes.delete(stored, request)

        return await self._write("Delete", request, request.id, change, DeleteResponse)

    async def undelete(self, request: UndeleteRequest, ctx: Context, /) -> UndeleteResponse:
        """Bring a deleted dashboard back as it was."""

        def change(stored: StoredDashboard) -> DashboardOutcome[UndeleteResponse]:
            return self._changes.undelete(stored, request)

        return await self._write("Undelete", request, request.id, change, UndeleteResponse)

    async def list_revisions(self, request: ListRevisionsRequest, ctx: Context, /) -> ListRevisionsResponse:
        """Give a dashboard's history, newest first, a page at a time."""
        identity = ["DashboardsService/ListRevisions", self._caller.project_id, request.id]
        before = NEWEST
        if request.page_token:
            before = cast("int", decode_page_token(request.page_token, identity, int)[0])
        page = await self._store.list_revisions(
            self._caller.project_id,
            request.id,
            RevisionQuery(
                before=before,
                limit=min(request.page_size or MAX_REVISIONS_PAGE_SIZE, MAX_REVISIONS_PAGE_SIZE),
                max_bytes=MAX_PAGE_BYTES,
            ),
        )
        if page is None:
            raise missing(request.id)
        response = ListRevisionsResponse(revisions=[*page.revisions])
        if page.has_more:
            response.next_page_token = encode_page_token(identity, page.revisions[-1].revision, request.id)
        return response

    async def get_revision(self, request: GetRevisionRequest, ctx: Context, /) -> GetRevisionResponse:
        """Give a dashboard as it was."""
        dashboard = await self._store.get_revision(self._caller.project_id, request.id, request.revision)
        if dashboard is None:
            raise no_revision(request.id, request.revision)
        return GetRevisionResponse(dashboard=dashboard)

    async def restore(self, request: RestoreRequest, ctx: Context, /) -> RestoreResponse:
        """Make an older state of a dashboard the newest again."""

        def change(stored: StoredDashboard) -> DashboardOutcome[RestoreResponse]:
            return self._changes.restore(stored, request)

        restores = str(request.revision)
        return await self._write("Restore", request, request.id, change, RestoreResponse, restores=restores)

    async def _write(
        self,
        method: str,
        request: WriteRequest,
        dashboard_id: str,
        change: Callable[[StoredDashboard], DashboardOutcome[Reply]],
        reply_type: type[Reply],
        *,
        restores: str = "",
    ) -> Reply:
        name = f"DashboardsService/{method}"
        write = new_write(self._caller, name, request, dashboard_id, restores=restores)
        return await self._store.write_dashboard(write, change, reply_type)

    def _check_tiles(self, tiles: Sequence[Tile]) -> None:
        if len(tiles) > self._limits.max_tiles:
            description = (
                f"holds {counted(len(tiles), 'tile')}: a dashboard may have {self._limits.max_tiles}"
            )
            raise InvalidRequestError.of([Violation(("tiles",), description)])


def _sort_value(dashboard: Dashboard, column: str) -> str | int:
    if column == "name":
        return dashboard.name
    time = dashboard.created_at if column == "created_at" else dashboard.updated_at
    assert time is not None
    return times.to_microseconds(time)
