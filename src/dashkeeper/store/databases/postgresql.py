"""PostgreSQL, by asyncpg: queries run on the event loop, each on a connection of the pool."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from dashkeeper.database_url import postgresql_target
from dashkeeper.errors import shutting_down
from dashkeeper.store.databases import RetryableError, not_writable, read_only, unavailable
from dashkeeper.store.migrations import migrate, schema_version
from dashkeeper.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from dashkeeper.database_url import PostgreSQLTarget
    from dashkeeper.errors import UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

_POOL_SECONDS = 10
_STATEMENT_SECONDS = 30
TRANSACTION_SECONDS = 35
"""Above the server's own limit: reached only where the server, or the way to it, is dead without a word."""
CHECK_SECONDS = 15  # enough to find out that one host is dead, and to connect to the next
CLOSE_SECONDS = 5
_WRITABLE = text(
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"
    " (SELECT min(privilege || ' ' || name) FROM unnest(CAST(:tables AS text[])) AS name,"
    " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
    " WHERE NOT has_table_privilege(name, privilege))"
).bindparams(tables=sorted(metadata.tables))
_MIGRATION_LOCK = 0x6461_7368_6B65_6570  # "dashkeep": an advisory lock of our own

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_RETRYABLE = ("40001", "40P01")  # serialization failure, deadlock
_UNAVAILABLE = (
    "08",  # connection exceptions
    "53",  # insufficient resources: disk full, too many connections
    "57",  # operator intervention: shut down, terminated, statement timeout
    "58",  # system errors: I/O
)
_NOT_WRITABLE = {
    "25006": read_only,  # a read-only transaction: perhaps a primary that became a standby
    "42501": not_writable,  # insufficient privilege
}
_DRIVER_ERRORS = (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_CONNECT_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # no host takes writes, or a connection was cut while it was made
    OSError,
    ValueError,
)
_NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""Why one of several hosts isn't the one to use now: anything else, such as the password, is told at once."""


class PostgreSQLDatabase:
    """A PostgreSQL server, or several of which one takes writes.

    Reads by key stand alone, scans run in REPEATABLE READ, writes in READ COMMITTED: a write compares
    the revision in its statement, and must see what was committed while it waited for a lock.
    """

    migrates_itself = False

    def __init__(self, url: str, *, pool_size: int) -> None:
        """Make the pool; connects when first used.

        Args:
            url: A libpq URL.
            pool_size: The most connections.

        Raises:
            ValueError: If the URL says what can't be done.
        """
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(_connect, postgresql_target(url)),
            hide_parameters=True,  # errors are logged
            isolation_level="READ COMMITTED",  # whatever the account's default is
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
        )
        self._lookups = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._scans = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._trusted_since = 0.0  # on the clock of time.monotonic
        self._closed = False
        event.listen(self._engine.sync_engine, "connect", _note_time)
        event.listen(self._engine.sync_engine, "checkout", self._check_connection)

    async def lookup(self, query: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._lookups, query, seconds=TRANSACTION_SECONDS)

    async def scan(self, query: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._scans, query, seconds=TRANSACTION_SECONDS)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._engine, work, seconds=TRANSACTION_SECONDS)

    async def schema_version(self) -> str | None:
        """See Database."""
        return await self._run(self._lookups, schema_version, seconds=CHECK_SECONDS)

    async def check_writable(self) -> None:
        """See Database. Asks what would be refused: by a standby, a read-only account, a missing right."""
        if (problem := await self._run(self._lookups, _why_not_writable, seconds=CHECK_SECONDS)) is not None:
            log.warning("the database can't be written: %s", problem)
            raise not_writable()

    async def migrate(self, to: str) -> None:
        """See Database."""

        def locked(conn: Connection) -> None:
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            conn.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            migrate(conn, to)

        await self._run(self._engine, locked, seconds=None)

    async def close(self) -> None:
        """See Database."""
        self._closed = True
        with contextlib.suppress(TimeoutError):  # a dead server's connections end with the process
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._engine.dispose()

    async def _run(
        self, engine: AsyncEngine, query: Callable[[Connection], T], *, seconds: float | None
    ) -> T:
        if self._closed:
            raise shutting_down()
        try:
            async with asyncio.timeout(seconds), engine.begin() as conn:
                return await conn.run_sync(query)
        except IntegrityError:
            raise
        except TimeoutError as error:
            self._trusted_since = time.monotonic()
            raise _unavailable("no answer in time") from error
        except _DRIVER_ERRORS as error:
            raise _translated(error) from error

    def _check_connection(
        self, _: DBAPIConnection, entry: ConnectionPoolEntry, __: PoolProxiedConnection
    ) -> None:
        """Have the pool make a new connection instead of one that is closed or may be dead too."""
        connection: Any = entry.driver_connection
        if connection.is_closed() or entry.info["made"] < self._trusted_since:
            raise DisconnectionError


def _why_not_writable(conn: Connection) -> str | None:
    in_recovery, read_only, missing = conn.execute(_WRITABLE).one()
    if in_recovery:
        return "it is a standby"
    if read_only:
        return "its transactions are read-only (default_transaction_read_only)"
    return f"the account may not {missing}" if missing else None


def _note_time(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    entry.info["made"] = time.monotonic()


async def _connect(target: PostgreSQLTarget) -> Any:
    try:
        *others, last = target.hosts  # one at a time: a dead one would use up the time of all
        for host, port in others:
            with contextlib.suppress(*_NEXT_HOST):
                return await _connect_to(target, host, port)
        return await _connect_to(target, *last)
    except _CONNECT_ERRORS as error:
        raise _unavailable(error) from error  # whatever the reason: the password, the name, the network


async def _connect_to(target: PostgreSQLTarget, host: str | None, port: int | None) -> Any:
    return await asyncpg.connect(
        target.driver_url,
        host=host,
        port=port,
        user=target.user,
        password=target.password,
        database=target.database,
        timeout=target.connect_seconds,
        server_settings={
            **target.server_settings,
            "statement_timeout": f"{_STATEMENT_SECONDS}s",
            "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",
        },
    )


def _translated(error: Exception) -> Exception:
    """Return what a driver's error means to the store; itself, if it is a fault of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    if state in _RETRYABLE:
        return RetryableError(state)
    if state in _NOT_WRITABLE:
        log.warning("the database can't be written: %s: %s", type(cause).__name__, cause)
        return _NOT_WRITABLE[state]()
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or state.startswith(_UNAVAILABLE) or (not state and not isinstance(error, DBAPIError)):
        return _unavailable(cause)
    return error


def _unavailable(cause: object) -> UnavailableError:
    told = cause if isinstance(cause, str) else f"{type(cause).__name__}: {cause}"
    log.warning("the database can't be used: %s", told)
    return unavailable()
