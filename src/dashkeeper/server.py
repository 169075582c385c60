"""The composition root: makes everything, starts both listeners, and stops them cleanly."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from connectrpc_grpcreflect import (  # pyright: ignore[reportMissingTypeStubs] # typed, lacks py.typed
    ServerReflectionAlphaService,
    ServerReflectionService,
)

from dashkeeper.auth import Authenticator
from dashkeeper.config import PREFIX
from dashkeeper.errors import ConfigError
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
from dashkeeper.transport.http_listener import HttpListener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashkeeper.auth import Caller
    from dashkeeper.config import Address, Settings
    from dashkeeper.store.base import Store
    from dashkeeper.store.databases import Database

log = logging.getLogger(__name__)

GRACE_SECONDS = 30


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
        self._http: HttpListener | None = None
        self._chores: list[asyncio.Task[None]] = []

    async def prepare_database(self) -> None:
        """Bring an embedded database to this version's schema; check that a server's has it.

        A server's that can't be written is served all the same, not ready: it may be a standby.

        Raises:
            ConfigError: If the database has another schema.
            UnavailableError: If it can't be used.
            DatabaseFaultError: If an embedded one can't be written.
        """
        if self._database.migrates_itself:
            await self._database.migrate("head")
            await self._database.check_writable()
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
            self.grpc_address = self._grpc.bind(address, f"{PREFIX}GRPC_ADDRESS")
        if (address := self._settings.http_address) is not None:
            application = http_application(
                self.pipeline, self.health, cors_origins=self._settings.cors_origins
            )
            self._http = HttpListener(
                application,
                keep_alive=self._settings.keep_alive,
                request_timeout=self._settings.request_timeout,
            )
            self.http_address = self._http.bind(address, f"{PREFIX}HTTP_ADDRESS")
        # Both addresses are ours: a start that fails has served nobody.
        if self._grpc is not None:
            await self._grpc.start()
            log.info("gRPC is served on %s", self.grpc_address)
        if self._http is not None:
            await self._http.start()
            log.info("HTTP is served on %s", self.http_address)
        self._chores = [
            asyncio.create_task(keep_purging(self.store)),
            asyncio.create_task(keep_watching_open_files()),
        ]

    async def stop(self) -> None:
        """Be not ready, take no new call, let calls in flight finish (30 s at most), close the store."""
        self.health.stop()
        listeners = [listener for listener in (self._grpc, self._http) if listener is not None]
        try:
            await asyncio.gather(*(listener.stop(GRACE_SECONDS) for listener in listeners))
        finally:
            for chore in self._chores:
                chore.cancel()
            if self._chores:
                await asyncio.wait(self._chores)
            await self.store.close()

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
