"""SQLite: lookups on the event loop, scans on threads, writes on one thread."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool
from tenacity import Retrying, retry_if_exception, wait_random

from dashkeeper.errors import ConfigError, DatabaseFaultError, UnavailableError, shutting_down
from dashkeeper.store.databases import not_writable, unavailable
from dashkeeper.store.migrations import migrate, schema_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 10
MAX_WRITES_WAITING = 256
"""At most this many writes are held in memory, each of which may have the size of a request."""

_LONGEST_PAUSE_SECONDS = 0.002
"""Between two looks whether another process has given the lock back.

SQLite's own waiting pauses for up to 100 ms, and of two busy processes one would wait for seconds.
"""

_NOT_WRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})

_SCAN_THREADS = 4
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's virtual machine: some 100 µs


class SQLiteDatabase:
    """A SQLite file in WAL mode, which other processes may use at the same time.

    Lookups by key run in the event loop: they take less time than a thread hop. Scans run on
    threads and are interrupted when their call ends early. Writes run one after another on one
    thread; a write whose call ended early is rolled back unless it is already committing.
    """

    migrates_itself = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file: tuple[int, int] | None = None  # device and inode of the file that is open
        self._lookups = sqlite_engine(path, begin=None, busy_timeout=0)
        self._scans = sqlite_engine(path, begin="BEGIN", threads=_SCAN_THREADS)
        self._writes = sqlite_engine(path, begin="BEGIN IMMEDIATE", busy_timeout=0)
        self._scan_threads = ThreadPoolExecutor(_SCAN_THREADS, "sqlite-scan")
        self._write_thread = ThreadPoolExecutor(1, "sqlite-write")
        self._writes_waiting = 0
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
                self._file = _identity(self._path)
            return query(self._lookup_connection)
        except DatabaseError as error:
            if _is_busy(error):
                return await self.scan(query)  # where waiting holds nobody else up
            raise _translated(error) from error

    async def scan(self, query: Callable[[Connection], T]) -> T:
        """Run a query that may take long, on one snapshot.

        Raises:
            UnavailableError: If the database can't be read.
        """
        self._check_open()
        abandoned = threading.Event()

        def run() -> T:
            with self._scans.begin() as conn:
                driver_connection = conn.connection.driver_connection
                assert isinstance(driver_connection, sqlite3.Connection)
                driver_connection.set_progress_handler(abandoned.is_set, _STEPS_BETWEEN_LOOKS)
                try:
                    return query(conn)
                finally:
                    driver_connection.set_progress_handler(None, 0)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._scan_threads, run)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        except DatabaseError as error:
            raise _translated(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction; it is durable when this returns, and nothing is written if it raises.

        Raises:
            UnavailableError: If the database can't be written, or too many writes are waiting.
        """
        self._check_open()
        if self._writes_waiting >= MAX_WRITES_WAITING:
            raise UnavailableError("too many writes are waiting: try again in a moment", reason="OVERLOADED")
        abandoned = threading.Event()
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS

        attempts = Retrying(
            retry=retry_if_exception(lambda error: _is_busy(error) and not abandoned.is_set()),
            stop=lambda _: time.monotonic() > deadline,  # which the wait for the thread has used up too
            wait=wait_random(0, _LONGEST_PAUSE_SECONDS),
            reraise=True,
        )

        def run() -> T:
            with ExitStack() as transaction:
                conn = attempts(lambda: transaction.enter_context(self._writes.begin()))
                self._check_file()  # what is written to a deleted one is lost
                result = work(conn)
                if abandoned.is_set():
                    raise asyncio.CancelledError
                return result

        self._writes_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, run)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        except DatabaseError as error:
            raise _translated(error) from error
        finally:
            self._writes_waiting -= 1

    async def schema_version(self) -> str | None:
        """See Database. A file that was deleted or replaced under the server can't be used."""
        self._check_open()
        if self._lookup_connection is None:
            try:
                return _version_of_closed_file(self._path)
            except DatabaseError as error:
                raise _translated(error) from error
        found = await self.lookup(schema_version)
        self._check_file()
        return found

    async def check_writable(self) -> None:
        """See Database. On a connection of its own, which waits for nobody."""
        self._check_open()
        try:
            await asyncio.get_running_loop().run_in_executor(self._scan_threads, _write_nothing, self._path)
        except sqlite3.DatabaseError as error:
            if not _is_busy(error):
                raise _translated(error) from error

    async def migrate(self, to: str) -> None:
        """See Database."""
        _check_folder(self._path)
        await self.write(partial(migrate, to=to))
        await self.lookup(schema_version)  # opens the connection that lookups share

    async def close(self) -> None:
        """Finish the writes in progress and close every connection."""
        self._closed = True
        for threads in (self._write_thread, self._scan_threads):
            await asyncio.to_thread(threads.shutdown)
        if self._lookup_connection is not None:
            self._lookup_connection.close()
        for engine in (self._lookups, self._scans, self._writes):
            engine.dispose()

    def _check_file(self) -> None:
        if self._file is not None and self._file != _identity(self._path):
            raise DatabaseFaultError(
                "the database's file was deleted or replaced under the server: it must be started again",
                reason="DATABASE_REPLACED",
            )

    def _check_open(self) -> None:
        if self._closed:
            raise shutting_down()


def sqlite_engine(
    path: str, *, begin: str | None, threads: int = 1, busy_timeout: float = BUSY_TIMEOUT_SECONDS
) -> Engine:
    """Return an engine whose transactions open with this statement (None: each stands alone)."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        ),
        hide_parameters=True,  # errors are logged
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another at the same path; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_busy(error: BaseException) -> bool:
    """Whether another process holds a lock; the code's upper bytes say which."""
    cause = error.orig if isinstance(error, DatabaseError) else error
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _translated(error: DatabaseError | sqlite3.DatabaseError) -> Exception:
    """Return what a driver's error means to the store; itself, if it is a fault of ours."""
    cause = error.orig if isinstance(error, DatabaseError) else error
    if type(cause) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
        return error
    log.warning("the database can't be used: %s", cause)
    return not_writable() if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _NOT_WRITABLE else unavailable()


def _version_of_closed_file(path: Path) -> str | None:
    """Return the version of the schema that a file has, without changing it or making one."""
    _check_folder(path)
    if not path.exists():
        return None
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(_uri(path, "ro"), uri=True))
    try:
        with engine.connect() as conn:
            return schema_version(conn)
    finally:
        engine.dispose()


def _write_nothing(path: Path) -> None:
    """Write what stands there to a file, to the disk: less proves nothing, and nothing less finds it full."""
    with closing(sqlite3.connect(_uri(path, "rw"), uri=True, timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE alembic_version SET version_num = version_num")
        connection.execute("COMMIT")


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


def _check_folder(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"DASHKEEPER_DATABASE_URL: there is no folder for {path}: make it first")
