"""Every error a caller can get, each with its code.

    DashkeeperError
    ├── UnauthenticatedError      UNAUTHENTICATED      no, bad or expired token
    ├── PermissionDeniedError     PERMISSION_DENIED    the token doesn't allow it
    ├── InvalidRequestError       INVALID_ARGUMENT     malformed, or a rule is broken
    ├── NotFoundError             NOT_FOUND            no such resource
    ├── AlreadyExistsError        ALREADY_EXISTS       the id is in use
    ├── AbortedError              ABORTED              stale etag, or a lost race
    ├── FailedPreconditionError   FAILED_PRECONDITION  a guard of the caller's own was hit
    ├── ResourceExhaustedError    RESOURCE_EXHAUSTED   too large, or too many
    ├── UnavailableError          UNAVAILABLE          database away, or shutting down
    ├── DeadlineExceededError     DEADLINE_EXCEEDED    the caller's deadline passed
    ├── UnimplementedError        UNIMPLEMENTED        a form of call that isn't served
    ├── CanceledError             CANCELED             the caller went away
    ├── DatabaseFaultError        INTERNAL             the database's operator must mend it first
    └── InternalError             INTERNAL             unforeseen; says nothing of what happened

An error keeps what a program needs to know as attributes; the listeners alone make of it what their
protocols send. Messages are lower case, name the thing and say what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from connectrpc.code import Code

from dashkeeper.paths import Path, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_VIOLATIONS = 100
"""The most violations that one error lists."""


def counted(number: int, noun: str) -> str:
    """Say how many: `no tiles`, `1 tile`, `2 tiles`."""
    return f"{number or 'no'} {noun}{'s' * (number != 1)}"


class Violation(NamedTuple):
    """One broken rule: where the field is, as `("tiles", 3, "position", "w")`, and what is wrong with it."""

    path: Path
    description: str

    def __str__(self) -> str:
        """Return it as a message says it."""
        return f"{written(self.path)}: {self.description}" if self.path else self.description


class DashkeeperError(Exception):
    """An error that is meant for the caller: its whole text may be shown."""

    CODE: ClassVar[Code]

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        """Create the error.

        Args:
            message: What is wrong and what to do, lower case.
            reason: `UPPER_SNAKE`, stable: what a program branches on.
            metadata: What a program needs, such as the current etag.
            violations: The fields at fault.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        self.violations = violations


class ConfigError(Exception):
    """A setting is wrong, or together they are unsafe: for the operator. The text says what to do."""


class UnauthenticatedError(DashkeeperError):
    """Who calls is not known. One message for every cause: the log says which."""

    CODE = Code.UNAUTHENTICATED

    def __init__(self, cause: str) -> None:
        """Create the error; the cause is for the log alone."""
        super().__init__(
            "a valid token is needed: send `authorization: Bearer <JWT>`", reason="UNAUTHENTICATED"
        )
        self.cause = cause


class PermissionDeniedError(DashkeeperError):
    """Who calls is known, and may not do this."""

    CODE = Code.PERMISSION_DENIED


class InvalidRequestError(DashkeeperError):
    """The request is malformed or breaks a rule, whatever is stored."""

    CODE = Code.INVALID_ARGUMENT

    @classmethod
    def of(
        cls,
        violations: Sequence[Violation],
        *,
        reason: str = "INVALID_REQUEST",
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Make the error of these violations; the message holds the first and counts the rest."""
        text = str(violations[0])
        if len(violations) > 1:
            text += f" (and {len(violations) - 1} more, see the details)"
        return cls(text, reason=reason, metadata=metadata, violations=violations)


class NotFoundError(DashkeeperError):
    """The resource isn't there, or isn't there for this project."""

    CODE = Code.NOT_FOUND


class AlreadyExistsError(DashkeeperError):
    """The id is in use."""

    CODE = Code.ALREADY_EXISTS


class AbortedError(DashkeeperError):
    """Somebody else changed the resource first: read it again and retry."""

    CODE = Code.ABORTED


class FailedPreconditionError(DashkeeperError):
    """A guard stands against the call, such as max_deletions."""

    CODE = Code.FAILED_PRECONDITION


class ResourceExhaustedError(DashkeeperError):
    """The request or what it would store is too large, or there are too many."""

    CODE = Code.RESOURCE_EXHAUSTED


class UnavailableError(DashkeeperError):
    """The server can't answer now: the same call may succeed in a moment."""

    CODE = Code.UNAVAILABLE


class DatabaseFaultError(DashkeeperError):
    """The database refuses until somebody mends it: unlike UNAVAILABLE, repeating the call doesn't help."""

    CODE = Code.INTERNAL


def no_registration(registration_id: str) -> NotFoundError:
    """Make the error of a registration that isn't there, for whatever reason."""
    return NotFoundError(
        f'there is no registration "{registration_id}" in this project',
        reason="REGISTRATION_NOT_FOUND",
        metadata={"id": registration_id},
    )


def changed_since_read(kind: str, resource_id: str, current_etag: str) -> AbortedError:
    """Make the error of a resource whose etag is another one by now."""
    return AbortedError(
        f'{kind} "{resource_id}" changed since it was read: read it again and retry',
        reason="ETAG_MISMATCH",
        metadata={"id": resource_id, "current_etag": current_etag},
    )


def not_on_community(organisation_id: str) -> InvalidRequestError:
    """Make the error of an organisation that is on another community than said."""
    description = f'organisation "{organisation_id}" is on another community: name that one'
    return InvalidRequestError.of(
        [Violation(("community_id",), description)],
        reason="ORGANISATION_NOT_ON_COMMUNITY",
        metadata={"organisation_id": organisation_id},
    )


def shutting_down() -> UnavailableError:
    """Make the error of a server that is stopping."""
    return UnavailableError("the server is shutting down: try another one", reason="SHUTTING_DOWN")


class DeadlineExceededError(DashkeeperError):
    """The caller's deadline passed; the work was stopped."""

    CODE = Code.DEADLINE_EXCEEDED

    def __init__(self) -> None:
        super().__init__(
            "the call's deadline passed before it was done: what it was to write may or may not be "
            "written, so read before you repeat, or repeat with the same request_id",
            reason="DEADLINE_EXCEEDED",
        )


class UnimplementedError(DashkeeperError):
    """The call has a form that isn't served, such as an unknown compression."""

    CODE = Code.UNIMPLEMENTED


class CanceledError(DashkeeperError):
    """The caller went away before the answer."""

    CODE = Code.CANCELED

    def __init__(self) -> None:
        super().__init__("the caller cancelled the call", reason="CANCELED")


class InternalError(DashkeeperError):
    """Something unforeseen. What it was stands in the log, and nowhere else."""

    CODE = Code.INTERNAL

    def __init__(self) -> None:
        super().__init__("internal error", reason="INTERNAL")
