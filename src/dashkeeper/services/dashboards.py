"""DashboardsService: the rules of each method.

Each write is a function of the dashboard's stored state, which the store runs inside its
transaction, again where another write came between.
"""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias, cast

from dashkeeper import times
from dashkeeper.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidRequestError,
    Violation,
)
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
from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest, GetResponse, ListRequest, ListResponse
from dashkeeper.gen.dashboards.v1.upsert_pb import TileChanges, UpsertRequest, UpsertResponse
from dashkeeper.services.ids import new_dashboard_id, new_tile_id
from dashkeeper.services.paging import decode_page_token, encode_page_token
from dashkeeper.services.reconcile import reconcile
from dashkeeper.services.states import (
    MAX_DASHBOARD_BYTES,
    check_etag,
    check_size,
    live,
    missing,
    next_state,
    preview,
    same_content,
)
from dashkeeper.store.base import DashboardQuery, Outcome, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protobuf import DescService

    from dashkeeper.auth import Caller
    from dashkeeper.gen.dashboards.v1.tile_pb import Tile
    from dashkeeper.methods import Context
    from dashkeeper.store.base import Kind, OrderColumn, Reply, Store

    WriteRequest: TypeAlias = CreateRequest | UpdateRequest | UpsertRequest | DeleteRequest | UndeleteRequest

MAX_PAGE_SIZE = 1_000
MAX_PAGE_BYTES = MAX_DASHBOARD_BYTES - 4_096
"""3.5 MiB less the longest token: an answer always fits a client's limit of 4 MiB."""

_MAX_IDS_LENGTH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardLimits:
    """What an operator may set."""

    max_tiles: int
    require_etag: bool
    purge_after: timedelta


class Dashboards:
    """DashboardsService, acting for one caller: implements the generated protocol."""

    def __init__(self, store: Store, limits: DashboardLimits, caller: Caller) -> None:
        self._store = store
        self._limits = limits
        self._caller = caller

    @classmethod
    def desc(cls) -> DescService:
        """Return the descriptor of the service."""
        return DashboardsService.desc()

    async def list(self, request: ListRequest, ctx: Context, /) -> ListResponse:
        """Give the project's dashboards without their tiles, a page at a time (AIP-132, AIP-158)."""
        column, _, direction = (request.order_by or "created_at").partition(" ")
        filters = [request.labels, request.name_prefix, request.name_contains, request.show_deleted]
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
        """Make a dashboard, under an id of the caller's choice or a new one (AIP-133)."""
        self._check_tiles(request.tiles)
        dashboard_id = request.dashboard_id
        if not dashboard_id and not request.validate_only:
            dashboard_id = new_dashboard_id(times.now())

        def change(current: Dashboard | None) -> Outcome[CreateResponse]:
            if current is not None and current.deleted_at is None:
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
                "CREATE", request, current, content, lambda it: CreateResponse(dashboard=it), changes
            )

        return await self._write("Create", request, dashboard_id, change, CreateResponse)

    async def update(self, request: UpdateRequest, ctx: Context, /) -> UpdateResponse:
        """Change what a dashboard says about itself (AIP-134, AIP-161)."""

        def change(current: Dashboard | None) -> Outcome[UpdateResponse]:
            current = self._existing(current, request.id, request.etag)
            content = copy(current)
            for path in _paths(request):
                setattr(content, path, getattr(request, path))
            return self._outcome("UPDATE", request, current, content, lambda it: UpdateResponse(dashboard=it))

        return await self._write("Update", request, request.id, change, UpdateResponse)

    async def upsert(self, request: UpsertRequest, ctx: Context, /) -> UpsertResponse:
        """Replace all tiles of a dashboard: the seed's full reconcile."""
        self._check_tiles(request.tiles)
        dashboard_id = request.dashboard_id

        def change(current: Dashboard | None) -> Outcome[UpsertResponse]:
            if current is None or current.deleted_at is not None:
                if not request.allow_missing:
                    raise missing(dashboard_id)
                if request.etag:
                    raise AbortedError(
                        f'dashboard "{dashboard_id}" was deleted since it was read:'
                        " leave the etag out to create it anew",
                        reason="ETAG_MISMATCH",
                        metadata={"id": dashboard_id},
                    )
                content = Dashboard(id=dashboard_id, name=request.name)
            else:
                content = copy(self._existing(current, dashboard_id, request.etag))
            content.tiles, changes = self._reconcile(content.tiles, request)
            _check_deletions(request, changes)
            return self._outcome(
                "UPSERT",
                request,
                current,
                content,
                lambda it: UpsertResponse(dashboard=it, changes=changes),
                changes,
            )

        return await self._write("Upsert", request, dashboard_id, change, UpsertResponse)

    async def delete(self, request: DeleteRequest, ctx: Context, /) -> DeleteResponse:
        """Take a dashboard away; until it is purged, Undelete brings it back (AIP-164)."""

        def change(current: Dashboard | None) -> Outcome[DeleteResponse]:
            current = self._existing(current, request.id, request.etag)
            state = next_state(current, current, self._caller.subject)
            assert state.updated_at is not None
            deleted_at = times.to_microseconds(state.updated_at)
            state.deleted_at = state.updated_at
            state.purge_at = times.to_timestamp(
                deleted_at + self._limits.purge_after // timedelta(microseconds=1)
            )
            return Outcome(reply=DeleteResponse(), state=state, kind="DELETE")

        return await self._write("Delete", request, request.id, change, DeleteResponse)

    async def undelete(self, request: UndeleteRequest, ctx: Context, /) -> UndeleteResponse:
        """Bring a deleted dashboard back as it was (AIP-164)."""

        def change(current: Dashboard | None) -> Outcome[UndeleteResponse]:
            if current is None:
                raise missing(request.id)
            check_etag(current, request.etag, required=self._limits.require_etag)
            if current.deleted_at is None:
                raise AlreadyExistsError(
                    f'dashboard "{request.id}" is not deleted',
                    reason="DASHBOARD_EXISTS",
                    metadata={"id": request.id},
                )
            content = copy(current)
            content.deleted_at = content.purge_at = None
            return self._outcome(
                "UNDELETE", request, current, content, lambda it: UndeleteResponse(dashboard=it)
            )

        return await self._write("Undelete", request, request.id, change, UndeleteResponse)

    async def _write(
        self,
        method: str,
        request: WriteRequest,
        dashboard_id: str,
        change: Callable[[Dashboard | None], Outcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        write = Write(
            project_id=self._caller.project_id,
            dashboard_id=dashboard_id,
            subject=self._caller.subject,
            method=f"DashboardsService/{method}",
            now=times.now(),
            change_message=request.change_message,
            validate_only=request.validate_only,
            request_id=request.request_id.lower(),
            request_hash=_hash(request) if request.request_id else b"",
        )
        return await self._store.write_dashboard(write, change, reply_type)

    def _outcome(
        self,
        kind: Kind,
        request: WriteRequest,
        current: Dashboard | None,
        content: Dashboard,
        reply: Callable[[Dashboard], Reply],
        changes: TileChanges | None = None,
    ) -> Outcome[Reply]:
        """Return what becomes of the current state: nothing, where the content is the same."""
        is_live = current is not None and current.deleted_at is None
        if current is not None and is_live and same_content(current, content):
            return Outcome(reply=reply(current))
        state = next_state(content, current, self._caller.subject)
        if kind != "UNDELETE":  # which brings back what was stored, however large
            check_size(state)
        shown = preview(state, current) if request.validate_only else state
        return Outcome(reply=reply(shown), state=state, kind=kind, tile_changes=changes or TileChanges())

    def _existing(self, current: Dashboard | None, dashboard_id: str, etag: str) -> Dashboard:
        dashboard = live(current, dashboard_id)
        check_etag(dashboard, etag, required=self._limits.require_etag)
        return dashboard

    def _check_tiles(self, tiles: Sequence[Tile]) -> None:
        if len(tiles) > self._limits.max_tiles:
            description = f"holds {len(tiles)} tiles: at most {self._limits.max_tiles} are kept"
            raise InvalidRequestError.of([Violation("tiles", description)])

    def _reconcile(
        self, stored: Sequence[Tile], request: CreateRequest | UpsertRequest
    ) -> tuple[list[Tile], TileChanges]:
        return reconcile(stored, request.tiles, (lambda: "") if request.validate_only else new_tile_id)


def _paths(request: UpdateRequest) -> Sequence[str]:
    """Return the fields to change: the mask's, or without one those that are populated."""
    fields = ("name", "description", "labels")
    mask = request.update_mask.paths if request.update_mask is not None else ()
    if "*" in mask:
        return fields
    return mask or [field for field in fields if getattr(request, field)]


def _check_deletions(request: UpsertRequest, changes: TileChanges) -> None:
    if request.has_field("max_deletions") and len(changes.deleted) > request.max_deletions:
        raise FailedPreconditionError(
            f"{len(changes.deleted)} tiles would be deleted, max_deletions allows {request.max_deletions}:"
            " send all tiles that shall stay, or raise max_deletions",
            reason="TOO_MANY_DELETIONS",
            metadata={"deletions": str(len(changes.deleted)), "tile_ids": _joined(changes.deleted)},
        )


def _joined(ids: Sequence[str]) -> str:
    """Join ids by commas, as many as an error's details can carry in a client's 8 KiB of trailers."""
    text = ",".join(ids)
    return text if len(text) <= _MAX_IDS_LENGTH else text[:_MAX_IDS_LENGTH].rpartition(",")[0]


def _sort_value(dashboard: Dashboard, column: str) -> str | int:
    if column == "name":
        return dashboard.name
    time = dashboard.created_at if column == "created_at" else dashboard.updated_at
    assert time is not None
    return times.to_microseconds(time)


def _hash(request: WriteRequest) -> bytes:
    """Return a hash of all that the request says, the same however its maps were ordered."""
    content = copy(request)
    content.request_id = ""
    if isinstance(content, CreateRequest | UpdateRequest):
        content.labels = dict(sorted(content.labels.items()))
    return hashlib.sha256(content.to_binary()).digest()
