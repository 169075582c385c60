"""What every call is given, whether it blocks or not: project, request id, deadline, token."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

T = TypeVar("T")


class Defaults(NamedTuple):
    """What a call is given where it doesn't say otherwise."""

    project_id: str
    timeout: float
    is_encrypted: bool


class Head(NamedTuple):
    """What one attempt is sent with."""

    timeout: float
    metadata: tuple[tuple[str, str | bytes], ...]
    credentials: grpc.CallCredentials | None


class Prepared:
    """One call: the same request id and one deadline, however often it is sent."""

    def __init__(
        self,
        defaults: Defaults,
        timeout: float | None,
        metadata: Iterable[tuple[str, str | bytes]] | None,
        credentials: grpc.CallCredentials | None,
    ) -> None:
        self._is_encrypted = defaults.is_encrypted
        self._deadline = time.monotonic() + (defaults.timeout if timeout is None else timeout)
        self._metadata = tuple(metadata or ())
        self._credentials = credentials
        if all(key != "x-project-id" for key, _ in self._metadata):
            self._metadata += (("x-project-id", defaults.project_id),)

    def seconds_left(self) -> float:
        """Return how long the call may still take; 0 at the end."""
        return max(self._deadline - time.monotonic(), 0)

    def head(self, token: str) -> Head:
        """Return what an attempt with this token is sent with.

        gRPC itself sees to it that call credentials are sent encrypted. So it refuses them in
        plaintext, where the token is plain metadata.
        """
        timeout = self.seconds_left()
        if not self._is_encrypted:
            return Head(timeout, (*self._metadata, ("authorization", f"Bearer {token}")), self._credentials)
        credentials = grpc.access_token_call_credentials(token)
        if self._credentials is not None:
            credentials = grpc.composite_call_credentials(self._credentials, credentials)
        return Head(timeout, self._metadata, credentials)


def with_request_id(request: T) -> T:
    """Return the request as it is sent: a write without a request id gets one.

    It gets it in a copy: the same message used again is another write.
    """
    message = cast("Message", request)
    if "request_id" not in message.DESCRIPTOR.fields_by_name or getattr(message, "request_id"):  # noqa: B009
        return request
    copy = type(message)()
    copy.CopyFrom(message)
    setattr(copy, "request_id", str(uuid.uuid4()))  # noqa: B010 # of a message known at run time
    return cast("T", copy)
