"""The store on a SQL database."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random

from dashkeeper.errors import AbortedError, UnavailableError
from dashkeeper.store import tables
from dashkeeper.store.databases import RetryableError
from dashkeeper.store.migrations import SCHEMA
from dashkeeper.store.sql import contents, dashboards, history, organisations, registrations, retention
from dashkeeper.store.sql.quota import Quota
from dashkeeper.store.sql.requests import LostRaceError
from dashkeeper.store.sql.writes import write_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy import Connection

    from dashkeeper.gen.dashboards.v1.dashboard_pb import Dashboard
    from dashkeeper.gen.registrations.v1.registration_pb import DashboardRegistration
    from dashkeeper.store.base import (
        Cursor,
        DashboardOutcome,
        Entry,
        Outcome,
        Past,
        RegistrationOutcome,
        Reply,
        State,
        Stored,
        StoredDashboard,
        StoredRegistration,
        Write,
    )
    from dashkeeper.store.databases import Database
    from dashkeeper.store.queries import (
        ContentPage,
        ContentQuery,
        DashboardPage,
        DashboardQuery,
        RegistrationPage,
        RegistrationQuery,
        RegistrationWithContent,
        RevisionPage,
        RevisionQuery,
    )
    from dashkeeper.store.sql.writes import Rows

T = TypeVar("T")

_MAX_ATTEMPTS = 10
_LONGEST_PAUSE_SECONDS = 0.02
_WRITABLE_SECONDS = 1
"""How long a proof that the database can be written holds: it takes the lock, and anybody may ask for it."""


class SQLStore:
    """Keeps dashboards and registrations in a SQL database: implements the Store contract."""

    def __init__(self, database: Database, *, max_dashboards: int, revisions_kept: int) -> None:
        """Make a store.

        Args:
            database: Where everything is kept.
            max_dashboards: Of a project; as many registrations may be beside them.
            revisions_kept: How many entries of a resource's history are kept.
        """
        self._database = database
        self._revisions_kept = revisions_kept
        self._writable_until = 0.0  # on the clock of time.monotonic
        self._quotas = [Quota(table, max_dashboards) for table in (tables.dashboards, tables.registrations)]
        self._dashboard_rows = dashboards.DashboardRows(self._quotas[0], revisions_kept)
        self._registration_rows = registrations.RegistrationRows(self._quotas[1], revisions_kept)

    async def get_dashboard(self, project_id: str, dashboard_id: str) -> Dashboard | None:
        """See Store."""
        return await self._database.lookup(
            partial(dashboards.get_dashboard, project_id=project_id, dashboard_id=dashboard_id)
        )

    async def list_dashboards(self, project_id: str, query: DashboardQuery) -> DashboardPage:
        """See Store."""
        return await self._database.scan(
            partial(dashboards.list_dashboards, project_id=project_id, query=query)
        )

    async def write_dashboard(
        self,
        write: Write,
        change: Callable[[StoredDashboard], DashboardOutcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        """See Store."""
        return await self._write_resource(write, change, reply_type, self._dashboard_rows, "dashboard")

    async def get_revision(self, project_id: str, dashboard_id: str, revision: int) -> Dashboard | None:
        """See Store."""
        return await self._database.lookup(
            partial(history.get_revision, project_id=project_id, dashboard_id=dashboard_id, revision=revision)
        )

    async def list_revisions(
        self, project_id: str, dashboard_id: str, query: RevisionQuery
    ) -> RevisionPage | None:
        """See Store."""
        return await self._database.scan(
            partial(history.list_revisions, project_id=project_id, dashboard_id=dashboard_id, query=query)
        )

    async def get_registration(self, project_id: str, registration_id: str) -> DashboardRegistration | None:
        """See Store."""
        return await self._database.lookup(
            partial(registrations.get_registration, project_id=project_id, registration_id=registration_id)
        )

    async def list_registrations(self, project_id: str, query: RegistrationQuery) -> RegistrationPage:
        """See Store."""
        return await self._database.scan(
            partial(registrations.list_registrations, project_id=project_id, query=query)
        )

    async def count_registrations(self, project_id: str, query: RegistrationQuery) -> int:
        """See Store."""
        return await self._database.scan(
            partial(registrations.count_registrations, project_id=project_id, query=query)
        )

    async def communities_of(self, project_id: str, organisation_ids: Collection[str]) -> Mapping[str, str]:
        """See Store."""
        return await self._database.lookup(
            partial(organisations.communities_of, project_id=project_id, organisation_ids=organisation_ids)
        )

    async def write_registration(
        self,
        write: Write,
        change: Callable[[StoredRegistration], RegistrationOutcome[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        """See Store."""
        return await self._write_resource(write, change, reply_type, self._registration_rows, "registration")

    async def get_content(
        self, project_id: str, registration_id: str, content_id: str
    ) -> RegistrationWithContent | None:
        """See Store."""
        return await self._database.lookup(
            partial(
                contents.get_content,
                project_id=project_id,
                registration_id=registration_id,
                content_id=content_id,
            )
        )

    async def list_contents(self, project_id: str, registration_id: str, query: ContentQuery) -> ContentPage:
        """See Store."""
        return await self._database.scan(
            partial(
                contents.list_contents, project_id=project_id, registration_id=registration_id, query=query
            )
        )

    async def purge_due(self, now: int) -> int | None:
        """See Store."""
        purged = await self._write(partial(retention.purge_due, now=now))
        self._count_anew(purged)
        return purged

    async def forget_expired(self, now: int) -> int:
        """See Store."""
        return await self._write(partial(retention.forget_expired, now=now))

    async def trim_some(self, after: Cursor) -> Cursor | None:
        """See Store."""
        return await self._write(partial(retention.trim_some, after=after, kept=self._revisions_kept))

    async def erase_some(self, project_id: str) -> int:
        """See Store."""
        found = await self._write(partial(retention.erase_some, project_id=project_id))
        self._count_anew(found)
        return found

    async def check(self) -> None:
        """See Store."""
        found = await self._database.schema_version()
        if found != SCHEMA:
            raise UnavailableError(
                f"the database has schema {found or 'none'}, this version needs {SCHEMA}:"
                " run `dashkeeper migrate`",
                reason="SCHEMA_MISMATCH",
            )
        if (now := time.monotonic()) >= self._writable_until:
            await self._database.check_writable()
            self._writable_until = now + _WRITABLE_SECONDS

    async def close(self) -> None:
        """See Store."""
        await self._database.close()

    def _count_anew(self, purged: int | None) -> None:
        for quota in self._quotas if purged else ():
            quota.count_anew()

    async def _write_resource(
        self,
        write: Write,
        change: Callable[[Stored[State, Past]], Outcome[Reply, State, Entry]],
        reply_type: type[Reply],
        rows: Rows[State, Past, Entry],
        kind: str,
    ) -> Reply:
        attempts = 0

        def work(conn: Connection) -> Reply:
            nonlocal attempts
            attempts += 1
            return write_resource(conn, write, change, reply_type, rows, is_retry=attempts > 1)

        return await self._write(work, f'{kind} "{write.resource_id}"')

    async def _write(self, work: Callable[[Connection], T], subject: str = "what is to be purged") -> T:
        """Run a transaction, and run all of it again if another one stood in its way.

        The other one changed the row first, inserted the same key first, or (as the database says)
        was in a deadlock with ours.

        Raises:
            AbortedError: If that happened ten times.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception_type((LostRaceError, RetryableError)),
            stop=stop_after_attempt(_MAX_ATTEMPTS),
            wait=wait_random(0, _LONGEST_PAUSE_SECONDS),
        )
        try:
            return await attempts(self._database.write, work)
        except RetryError as error:
            raise AbortedError(
                f"{subject} is being changed by too many at once: try again in a moment",
                reason="TOO_MANY_CONFLICTS",
            ) from error
