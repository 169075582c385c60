"""Whether this process can serve: grpc.health.v1 for gRPC, and the same answer for HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from dashkeeper.errors import DashkeeperError, NotFoundError
from dashkeeper.gen.grpc.health.v1.health_pb import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from dashkeeper.methods import Context
    from dashkeeper.store.base import Store

Status = HealthCheckResponse.ServingStatus

_WATCH_INTERVAL_SECONDS = 5


class Health:
    """Answers grpc.health.v1 for the server as a whole ("") and for each service by name."""

    def __init__(self, store: Store, service_names: Sequence[str]) -> None:
        self._store = store
        self._names = ("", *service_names)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Be not ready from now on."""
        self._stopping.set()

    async def problem(self) -> str:
        """Return why the server isn't ready; empty if it is."""
        if self._stopping.is_set():
            return "stopping"
        try:
            await self._store.check()
        except DashkeeperError as error:
            return error.message
        return ""

    async def check(self, request: HealthCheckRequest, ctx: Context, /) -> HealthCheckResponse:
        """Give the status of a service."""
        if request.service not in self._names:
            raise NotFoundError(f'there is no service "{request.service}"', reason="UNKNOWN_SERVICE")
        return HealthCheckResponse(status=await self._status())

    async def list(self, request: HealthListRequest, ctx: Context, /) -> HealthListResponse:
        """Give the status of every service."""
        status = await self._status()
        return HealthListResponse(statuses={name: HealthCheckResponse(status=status) for name in self._names})

    async def watch(self, request: HealthCheckRequest, ctx: Context, /) -> AsyncIterator[HealthCheckResponse]:
        """Give the status of a service, and again whenever it changes; end when the server stops."""
        sent = None
        while True:
            status = await self._status() if request.service in self._names else Status.SERVICE_UNKNOWN
            if status != sent:
                yield HealthCheckResponse(status=status)
                sent = status
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _WATCH_INTERVAL_SECONDS)

    async def _status(self) -> Status:
        return Status.NOT_SERVING if await self.problem() else Status.SERVING
