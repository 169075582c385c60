"""How a query, a plain function of a connection, is run on each database: only here do they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from dashkeeper.errors import DatabaseFaultError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

T = TypeVar("T")


class RetryableError(Exception):
    """The transaction was rolled back and may succeed if all of it runs again."""


class Database(Protocol):
    """Runs queries. Each method raises UnavailableError while the database can't be used."""

    migrates_itself: bool
    """Whether `serve` brings the schema to this version's by itself."""

    async def lookup(self, query: Callable[[Connection], T]) -> T:
        """Run one statement that finds rows by key."""
        ...

    async def scan(self, query: Callable[[Connection], T]) -> T:
        """Run a query that may take long, on one snapshot; it is stopped when its call ends early."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction; it is durable when this returns, and nothing is written if it raises.

        Raises:
            RetryableError: If another transaction stood in the way.
            IntegrityError: If another transaction inserted the same key.
        """
        ...

    async def schema_version(self) -> str | None:
        """Return the version of the schema that the database has; None where it has none yet."""
        ...

    async def check_writable(self) -> None:
        """Prove that this account can write, by what changes nothing; a lock that is busy is no fault.

        Raises:
            DatabaseFaultError: If the file, the account or its rights don't allow it.
        """
        ...

    async def migrate(self, to: str) -> None:
        """Bring the database to a version of the schema, in one transaction, one process at a time.

        Raises:
            ConfigError: If there is no such version, or the database has one newer than ours.
        """
        ...

    async def close(self) -> None:
        """Finish the writes in progress and close every connection."""
        ...


def unavailable() -> UnavailableError:
    """Make the error of a database that can't be used now."""
    return UnavailableError(
        "the database can't be used right now: try again in a moment", reason="DATABASE_UNAVAILABLE"
    )


def not_writable() -> DatabaseFaultError:
    """Make the error of a database that takes no writes until somebody mends it."""
    return DatabaseFaultError(
        "the database can't be written, only read: whoever runs this server must mend that, its log says why",
        reason="DATABASE_READ_ONLY",
    )


def read_only() -> UnavailableError:
    """Make the error of a database that takes no writes, but may again without anybody's doing: a standby."""
    return UnavailableError(
        "the database takes no writes now, only reads: whoever runs this server finds the reason in its log",
        reason="DATABASE_READ_ONLY",
    )
