"""One write of any kind of resource: read, change, compare and write, remember the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from protobuf import Message

from dashkeeper.errors import DashkeeperError
from dashkeeper.store.base import Entry, Outcome, Past, Reply, State, Stored, Write
from dashkeeper.store.sql.requests import hold_body, part_with_body, recall, remember

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

Past_co = TypeVar("Past_co", bound=Message, covariant=True)
Entry_contra = TypeVar("Entry_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[State]):
    """A resource as it is stored."""

    state: State
    revision: int
    changed_at: int
    """When it, or what a registration shows, last changed."""
    body_hash: bytes | None
    """The hash of its current body; None where it has none."""
    content_number: int = 0
    """The number of a registration's current content."""


class Rows(Protocol[State, Past_co, Entry_contra]):
    """What a kind of resource has of its own in a write: its tables."""

    def lock(self, conn: Connection, write: Write) -> None:
        """Lock the resource until the transaction ends."""
        ...

    def find(self, conn: Connection, write: Write) -> Found[State] | None:
        """Return the resource, a deleted one too; None where there is none."""
        ...

    def last_revision(self, conn: Connection, write: Write) -> int:
        """Return the last revision of one that was purged; 0 if there never was one."""
        ...

    def past(self, conn: Connection, write: Write, found: Found[State]) -> Past_co | None:
        """Return what `write.restores` names; None where it is not kept, or newer than what was found."""
        ...

    def check_new(self, conn: Connection, write: Write, state: State) -> None:
        """Check that a new resource may be written.

        Raises:
            DashkeeperError: If not.
        """
        ...

    def save(
        self,
        conn: Connection,
        write: Write,
        found: Found[State] | None,
        state: State,
        entry: Entry_contra | None,
    ) -> bytes | None:
        """Write the new state and its entry in the history; return the hash of its current body.

        Raises:
            LostRaceError: If another write came between.
        """
        ...


def write_resource(
    conn: Connection,
    write: Write,
    change: Callable[[Stored[State, Past]], Outcome[Reply, State, Entry]],
    reply_type: type[Reply],
    rows: Rows[State, Past, Entry],
    *,
    is_retry: bool,
) -> Reply:
    """Apply the change to the stored state and write what comes out of it.

    A retry locks the resource before it reads it, so that no other write comes first again.

    Raises:
        LostRaceError: If another write came first.
        DashkeeperError: What the change or the check of a new resource raises.
    """
    if write.request_id and (answered := recall(conn, write, reply_type)) is not None:
        return answered
    if is_retry:
        rows.lock(conn, write)
    found = rows.find(conn, write)
    try:
        if found is not None:
            past = rows.past(conn, write, found) if write.restores else None
            outcome = change(Stored(found.state, found.revision, found.changed_at, past))
        else:
            outcome = change(Stored(None, rows.last_revision(conn, write)))
            if outcome.state is not None:
                rows.check_new(conn, write, outcome.state)
    except DashkeeperError:
        # The same request may have been committed since we looked for its answer, and be why ours fails.
        if write.request_id and (answered := recall(conn, write, reply_type)) is not None:
            return answered
        raise
    if write.validate_only:
        return outcome.reply
    body_hash = found.body_hash if found is not None else None
    if outcome.state is not None:
        body_hash = rows.save(conn, write, found, outcome.state, outcome.entry)
    elif write.request_id and body_hash is not None and part_with_body(outcome.reply) is not None:
        hold_body(conn, write, body_hash)
    if write.request_id:
        remember(conn, write, outcome.reply, body_hash)
    return outcome.reply
