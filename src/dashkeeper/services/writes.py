"""What every write request carries besides its change: an etag, a request id, a reason."""

from __future__ import annotations

import hashlib
from copy import copy
from typing import TYPE_CHECKING, Protocol, cast

from dashkeeper import times
from dashkeeper.errors import FailedPreconditionError, changed_since_read
from dashkeeper.maps import sort_maps
from dashkeeper.store.base import Write

if TYPE_CHECKING:
    from protobuf import Message

    from dashkeeper.auth import Caller


class WriteRequest(Protocol):
    """A request that writes."""

    request_id: str
    change_message: str
    validate_only: bool

    def to_binary(self) -> bytes:
        """Return the message, serialised."""
        ...


def new_write(
    caller: Caller, method: str, request: WriteRequest, resource_id: str, *, restores: str = ""
) -> Write:
    """Return what a write of this request carries.

    Args:
        caller: Who makes it.
        method: As `DashboardsService/Create`.
        request: The request.
        resource_id: What is written.
        restores: The entry of its history that the change needs too.
    """
    return Write(
        project_id=caller.project_id,
        resource_id=resource_id,
        subject=caller.subject,
        method=method,
        now=times.now(),
        change_message=request.change_message,
        validate_only=request.validate_only,
        request_id=request.request_id.lower(),
        request_hash=_hash(request) if request.request_id else b"",
        restores=restores,
    )


def check_etag(kind: str, resource_id: str, current: str, etag: str, *, required: bool) -> None:
    """Compare the etag that a write carries with the current one (RFC 9110 §13.1.1, AIP-154).

    Raises:
        AbortedError: If it is another one.
        FailedPreconditionError: If there is none, and one is required.
    """
    if etag and etag != current:
        raise changed_since_read(kind, resource_id, current)
    if not etag and required:
        raise FailedPreconditionError(
            f'a write of {kind} "{resource_id}" needs an etag: read it and send the etag you got',
            reason="ETAG_REQUIRED",
            metadata={"id": resource_id},
        )


def _hash(request: WriteRequest) -> bytes:
    """Return a hash of all that the request says, the same however its maps were ordered."""
    content = copy(request)
    content.request_id = ""
    sort_maps(cast("Message", content))
    return hashlib.sha256(content.to_binary()).digest()
