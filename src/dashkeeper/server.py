"""The composition root: makes everything, starts both listeners, and stops them cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvicorn
from connectrpc_grpcreflect import (  # pyright: ignore[reportMissingTypeStubs] # typed, lacks py.typed
    ServerReflectionAlphaService,
    ServerReflectionService,
)

from dashkeeper.auth import Authenticator
from dashkeeper.config import PREFIX, ConfigError
from dashkeeper.gen.dashboards.v1.dashboards_connect import DashboardsService
from dashkeeper.gen.google.rpc import error_details_pb
from dashkeeper.gen.grpc.health.v1.health_connect import Health as HealthService
from dashkeeper.gen.registrations.v1.registrations_connect import RegistrationsService
from dashkeeper.health import Health
from dashkeeper.open_files import keep_watching_open_files
from dashkeeper.pipeline import Pipeline, Service
from dashkeeper.retention import keep_purging
from dashkeeper.services.dashboard_changes import DashboardLimits
from dashkeeper.services.dashboards import Dashboards
from dashkeeper.services.registration_changes import RegistrationLimits
from dashkeeper.services.registrations import Registrations
from dashkeeper.store.databases.sqlite import SQLiteDatabase
from dashkeeper.store.migrations import SCHEMA
from dashkeeper.store.sql.store import SQLStore
from dashkeeper.transport.grpc import GrpcListener
from dashkeeper.transport.http import http_application
from dashkeeper.transport.http1 import BoundedHttpProtocol
from dashkeeper.transport.http1_messages import Http1Messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Sequence

    from starlette.types import ASGIApp

    from dashkeeper.auth import Caller
    from dashkeeper.config import Address, Settings
    from dashkeeper.store.base import Store
    from dashkeeper.store.databases import Database

log = logging.getLogger(__name__)

GRACE_SECONDS = 30
_BACKLOG = 2_048


class Server:
    """One process: a store, a pipeline and the listeners, all on the running event loop."""

    def __init__(self, settings: Settings) -> None:
        """Make what the listeners will need; opens nothing. Needs a running event loop.

        Raises:
            ConfigError: If the settings are unsafe.
        """
        if settings.http_address is None and settings.grpc_address is None:
            raise ConfigError(f"{PREFIX}HTTP_ADDRESS and {PREFIX}GRPC_ADDRESS are both off: nothing to serve")
        self._settings = settings
        self._database = open_database(settings)
        self.store = make_store(self._database, settings)
        self.pipeline = Pipeline(
            Authenticator(*settings.token_rules()),
            services(self.store, settings),
            max_request_bytes=settings.max_request_bytes,
        )
        self.health = Health(self.store, [service.desc.type_name for service in self.pipeline.services])
        self.http_address: Address | None = None
        """Where HTTP is served, once started: with the port that was taken."""
        self.grpc_address: Address | None = None
        """Where gRPC is served, once started."""
        self._grpc: GrpcListener | None = None
        self._http: _HTTPServer | None = None
        self._serving_http: asyncio.Task[None] | None = None
        self._chores: list[asyncio.Task[None]] = []

    async def prepare_database(self) -> None:
        """Bring an embedded database to this version's schema; check that a server's has it.

        Raises:
            ConfigError: If the database has another schema.
            UnavailableError: If it can't be used.
        """
        if self._database.migrates_itself:
            await self._database.migrate("head")
        elif (found := await self._database.schema_version()) != SCHEMA:
            raise ConfigError(
                f"the database has schema {found or 'none'}, this version needs {SCHEMA}:"
                " run `dashkeeper migrate` with the same settings, then start again"
            )

    async def start(self) -> None:
        """Serve from now on.

        Raises:
            ConfigError: If an address can't be used.
        """
        if (address := self._settings.grpc_address) is not None:
            self._grpc = GrpcListener(
                self.pipeline,
                keep_alive=self._settings.keep_alive,
                request_timeout=self._settings.request_timeout,
            )
            self._grpc.add_open_service(HealthService.desc(), self.health)
            if self._settings.reflection:
                self._add_reflection(self._grpc)
            self.grpc_address = _bind_grpc(self._grpc, address)
            await self._grpc.start()
            log.info("gRPC is served on %s", self.grpc_address)
        if (address := self._settings.http_address) is not None:
            application = http_application(
                self.pipeline, self.health, cors_origins=self._settings.cors_origins
            )
            self.http_address, listener = _bind_http(address)
            self._http = _HTTPServer(application, self._settings)
            self._serving_http = asyncio.create_task(self._http.serve([listener]))
            listening = asyncio.create_task(self._http.listening.wait())
            await asyncio.wait({listening, self._serving_http}, return_when=asyncio.FIRST_COMPLETED)
            if self._serving_http.done():
                listening.cancel()
                self._serving_http.result()
            log.info("HTTP is served on %s", self.http_address)
        self._chores = [
            asyncio.create_task(keep_purging(self.store)),
            asyncio.create_task(keep_watching_open_files()),
        ]

    async def stop(self) -> None:
        """Be not ready, take no new call, let calls in flight finish (30 s at most), close the store."""
        self.health.stop()
        stopping: list[Awaitable[None]] = [self._grpc.stop(GRACE_SECONDS)] if self._grpc is not None else []
        if self._http is not None and self._serving_http is not None:
            self._http.should_exit = True
            stopping.append(self._serving_http)
        try:
            await asyncio.gather(*stopping)
        finally:
            for chore in self._chores:
                chore.cancel()
            if self._chores:
                await asyncio.wait(self._chores)
            await self.store.close()
            if self.http_address is not None:
                _remove_socket(self.http_address)

    def _add_reflection(self, listener: GrpcListener) -> None:
        descs = [
            *(service.desc for service in self.pipeline.services),
            HealthService.desc(),
            error_details_pb.desc(),  # so that grpcurl can show an error's details
        ]
        for reflection in (ServerReflectionService, ServerReflectionAlphaService):
            listener.add_open_service(reflection.desc(), reflection(*descs))


def open_database(settings: Settings) -> Database:
    """Return the database that the settings name; connects when first used."""
    url = settings.database_url
    if url.startswith("sqlite:///"):
        return SQLiteDatabase(url.removeprefix("sqlite:///"))
    # Imported here, as an embedded server needs neither driver nor pool.
    from dashkeeper.store.databases.postgresql import PostgreSQLDatabase  # noqa: PLC0415

    return PostgreSQLDatabase(url, pool_size=settings.database_pool_size)


def make_store(database: Database, settings: Settings) -> Store:
    """Return the store on a database."""
    return SQLStore(database, max_dashboards=settings.max_dashboards, revisions_kept=settings.revisions_kept)


def services(store: Store, settings: Settings) -> Sequence[Service]:
    """Return every service that is served, with what makes one for a caller."""
    limits = DashboardLimits(
        max_tiles=settings.max_tiles, require_etag=settings.require_etag, purge_after=settings.purge_after
    )

    def dashboards(caller: Caller) -> DashboardsService:
        return Dashboards(store, limits, caller)

    registration_limits = RegistrationLimits(
        require_etag=settings.require_etag, purge_after=settings.purge_after
    )

    def registrations(caller: Caller) -> RegistrationsService:
        return Registrations(store, registration_limits, caller)

    return [
        Service(DashboardsService.desc(), dashboards),
        Service(RegistrationsService.desc(), registrations),
    ]


class _HTTPServer(uvicorn.Server):
    """uvicorn, told when to stop by us instead of by signals."""

    def __init__(self, application: ASGIApp, settings: Settings) -> None:
        protocol = functools.partial(
            BoundedHttpProtocol, request_timeout=settings.request_timeout.total_seconds()
        )
        super().__init__(
            uvicorn.Config(
                Http1Messages(application),
                http=cast("type[asyncio.Protocol]", protocol),
                timeout_keep_alive=int(settings.keep_alive.total_seconds()),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.more_body:  # its request hasn't arrived whole: don't wait for it
                connection.transport.abort()
        await super().shutdown(sockets)


def _bind_grpc(listener: GrpcListener, address: Address) -> Address:
    if address.path:
        _check_unused(address, "GRPC_ADDRESS")
    try:
        port = listener.bind(str(address))
    except RuntimeError as error:
        reason = "it is in use, or can't be had on this machine"
        raise _cannot_listen(address, "GRPC_ADDRESS", reason) from error
    return address.with_port(port)


def _bind_http(address: Address) -> tuple[Address, socket.socket]:
    try:
        if address.path:
            _check_unused(address, "HTTP_ADDRESS")
            _remove_socket(address)
            return address, _bound(socket.AF_UNIX, 0, address.path)
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without IPPROTO_TCP asyncio leaves Nagle's algorithm on, and HTTP/1.1 crawls.
        listener = _bound(family, socket.IPPROTO_TCP, where)
    except OSError as error:
        raise _cannot_listen(address, "HTTP_ADDRESS", error.strerror or str(error)) from error
    return address.with_port(listener.getsockname()[1]), listener


def _remove_socket(address: Address) -> None:
    """Remove a Unix socket that is left behind. Anything else that stands there isn't ours to remove."""
    if address.path and Path(address.path).is_socket():
        Path(address.path).unlink()


def _bound(family: int, protocol: int, where: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(cast("tuple[str, int] | str", where))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _check_unused(address: Address, setting: str) -> None:
    """Refuse a Unix socket that somebody listens on: binding would take it away without an error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(address.path)
        raise _cannot_listen(address, setting, "another process listens there")


def _cannot_listen(address: Address, setting: str, reason: str) -> ConfigError:
    return ConfigError(f"can't listen on {PREFIX}{setting} {address}: {reason}: choose another address")
