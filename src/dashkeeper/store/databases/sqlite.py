"""SQLite: lookups on the event loop, scans on threads, writes on one thread."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from dashkeeper.config import ConfigError
from dashkeeper.errors import shutting_down
from dashkeeper.store.databases import unavailable
from dashkeeper.store.migrations import migrate, schema_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from dashkeeper.errors import UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 10
_SCAN_THREADS = 4


class SQLiteDatabase:
    """A SQLite file in WAL mode, which other processes may use at the same time.

    Lookups by key run in the event loop: they take less time than a thread hop. Scans run on
    threads and are interrupted when their call ends early. Writes run one after another on one
    thread; a write whose call ended early is rolled back unless it is already committing.
    """

    migrates_itself = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._lookups = sqlite_engine(path, begin=None)
        self._scans = sqlite_engine(path, begin="BEGIN", threads=_SCAN_THREADS)
        self._writes = sqlite_engine(path, begin="BEGIN IMMEDIATE")
        self._scan_threads = ThreadPoolExecutor(_SCAN_THREADS, "sqlite-scan")
        self._write_thread = ThreadPoolExecutor(1, "sqlite-write")
        self._lookup_connection: Connection | None = None
        self._closed = False

    async def lookup(self, query: Callable[[Connection], T]) -> T:
        """Run one statement that finds rows by key.

        Raises:
            UnavailableError: If the database can't be read.
        """
        self._check_open()
        try:
            if self._lookup_connection is None:
                self._lookup_connection = self._lookups.connect()
            return query(self._lookup_connection)
        except OperationalError as error:
            raise _translated(error) from error

    async def scan(self, query: Callable[[Connection], T]) -> T:
        """Run a query that may take long, on one snapshot.

        Raises:
            UnavailableError: If the database can't be read.
        """
        self._check_open()
        lock = threading.Lock()
        running: list[sqlite3.Connection] = []

        def run() -> T:
            with self._scans.begin() as conn:
                driver_connection = conn.connection.driver_connection
                assert isinstance(driver_connection, sqlite3.Connection)
                running.append(driver_connection)
                try:
                    return query(conn)
                finally:
                    with lock:  # no interrupt may reach the connection's next user
                        running.clear()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._scan_threads, run)
        except asyncio.CancelledError:
            with lock:
                for driver_connection in running:
                    driver_connection.interrupt()
            raise
        except OperationalError as error:
            raise _translated(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction; it is durable when this returns, and nothing is written if it raises.

        Raises:
            UnavailableError: If the database can't be written.
        """
        self._check_open()
        abandoned = threading.Event()

        def run() -> T:
            with self._writes.begin() as conn:
                result = work(conn)
                if abandoned.is_set():
                    raise asyncio.CancelledError
                return result

        try:
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, run)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        except OperationalError as error:
            raise _translated(error) from error

    async def schema_version(self) -> str | None:
        """See Database."""
        return await self.lookup(schema_version) if self._exists() else None  # opening would make it

    async def migrate(self, to: str) -> None:
        """See Database."""
        self._exists()  # or the error names no setting
        await self.write(partial(migrate, to=to))

    async def close(self) -> None:
        """Finish the writes in progress and close every connection."""
        self._closed = True
        for threads in (self._write_thread, self._scan_threads):
            await asyncio.to_thread(threads.shutdown)
        if self._lookup_connection is not None:
            self._lookup_connection.close()
        for engine in (self._lookups, self._scans, self._writes):
            engine.dispose()

    def _exists(self) -> bool:
        path = Path(self._path)
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"DASHKEEPER_DATABASE_URL: there is no folder for {path}: make it first")
        return path.exists()

    def _check_open(self) -> None:
        if self._closed:
            raise shutting_down()


def sqlite_engine(path: str, *, begin: str | None, threads: int = 1) -> Engine:
    """Return an engine whose transactions open with this statement (None: each stands alone)."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        ),
        poolclass=QueuePool,
        pool_size=threads,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # what is acknowledged survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    if begin is not None:

        @event.listens_for(engine, "begin")
        def begin_transaction(conn: Connection) -> None:
            conn.exec_driver_sql(begin)

    return engine


def _translated(error: OperationalError) -> UnavailableError:
    log.warning("the database can't be used: %s", error.orig)
    return unavailable()
