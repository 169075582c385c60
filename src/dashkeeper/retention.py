"""Keeps the database from growing without end: a task of low priority, and `dashkeeper purge`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from dashkeeper.errors import DashkeeperError
from dashkeeper.times import now

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dashkeeper.store.base import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL_SECONDS = 60
_SHARE_OF_TIME = 0.1
"""The task works at most this share of the time, however much there is to do."""


async def purge(store: Store, *, share_of_time: float = 1.0) -> int:
    """Delete all that may go, one small batch after another; return how many dashboards were purged.

    Args:
        store: The store.
        share_of_time: Work this share of the time, and pause for the rest.

    Raises:
        UnavailableError: If the database can't be used.
    """
    purged = 0
    while (some := await _unhurried(store.purge_due(now()), share_of_time)) is not None:
        purged += some
    while await _unhurried(store.forget_expired(now()), share_of_time):
        pass
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        after = await _unhurried(store.trim_some(after), share_of_time)
    return purged


async def erase_project(store: Store, project_id: str) -> None:
    """Purge every dashboard of a project, deleted or not, and all answers kept for it.

    What is left is each dashboard's id and last revision.

    Raises:
        UnavailableError: If the database can't be used.
    """
    while await store.erase_some(project_id):
        pass


async def keep_purging(store: Store) -> None:
    """Purge every minute, until cancelled. A failure is logged, and the next round tries again."""
    while True:
        try:
            if purged := await purge(store, share_of_time=_SHARE_OF_TIME):
                log.info("purged dashboards that were deleted", extra={"dashboards": purged})
        except DashkeeperError as error:
            log.warning("purging failed, the next round tries again: %s", error.message)
        except Exception:
            log.exception("purging failed, the next round tries again")
        await asyncio.sleep(INTERVAL_SECONDS)


async def _unhurried(batch: Awaitable[T], share_of_time: float) -> T:
    started = time.monotonic()
    result = await batch
    await asyncio.sleep((time.monotonic() - started) * (1 / share_of_time - 1))
    return result
