"""What both clients do about tokens: ask for one without being held up, and look at it before it is sent."""

from __future__ import annotations

import contextvars
import re
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import grpc

from dashkeeper_client.errors import NotSentError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_SENDABLE = re.compile(r"[\x21-\x7e]+")


class _Answer(Protocol):
    """A future, of threads or of asyncio."""

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def exception(self) -> BaseException | None: ...
    def result(self) -> str: ...


A = TypeVar("A", bound=_Answer)


class Asked(Generic[A]):
    """The last answer that a source was asked for, there or still to come."""

    def __init__(self, answer: A, patience: float) -> None:
        """Keep an answer, but no longer than so many seconds where it doesn't come."""
        self.answer = answer
        self._given_up_at = time.monotonic() + patience

    def is_of_use(self) -> bool:
        """Whether it is a token, or may still become one."""
        return self._is_there() if self.answer.done() else time.monotonic() < self._given_up_at

    def is_token(self, token: str) -> bool:
        """Whether it is this token."""
        return self._is_there() and self.answer.result() == token

    def _is_there(self) -> bool:
        return self.answer.done() and not self.answer.cancelled() and self.answer.exception() is None


def in_thread(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own, for which no program waits at its end."""
    future: Future[T] = Future()

    future.set_running_or_notify_cancel()  # from now on nobody can cancel it

    def run() -> None:
        try:
            result = function()
        except StopIteration as error:
            # No future of asyncio takes one, and in a generator it would mean its end (PEP 479).
            told = RuntimeError("the token function raised StopIteration")
            told.__cause__ = error
            future.set_exception(told)
        except BaseException as error:  # noqa: BLE001 # whoever waits is told
            future.set_exception(error)
        else:
            future.set_result(result)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="dashkeeper-token", daemon=True).start()
    return future


def checked(token: object) -> str:
    """Return the token without white space around it: one from a file ends with a newline.

    Raises:
        NotSentError: If it can't be sent; it says nothing of the token.
    """
    trimmed = token.strip() if isinstance(token, str) else ""
    if not _SENDABLE.fullmatch(trimmed):
        raise NotSentError(
            grpc.StatusCode.UNAUTHENTICATED, "the token must be a JWT: a text of printable ASCII characters"
        )
    return trimmed


def too_late() -> NotSentError:
    """Make the error of a call whose deadline passed before there was a token."""
    return NotSentError(
        grpc.StatusCode.DEADLINE_EXCEEDED, "the token function gave no token before the call's deadline"
    )
