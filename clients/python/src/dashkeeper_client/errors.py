"""What the server says of an error, beyond its code and message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


class NotSentError(grpc.aio.AioRpcError):
    """A call that ended before it was sent, for want of a token: an error of either client's calls."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


class Violation(NamedTuple):
    """A broken rule: the path of the field, such as `tiles[3].position.w`, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """An error, taken apart."""

    code: grpc.StatusCode
    message: str
    reason: str
    """What a program branches on, such as `ETAG_MISMATCH`; empty if it isn't the server who speaks."""
    metadata: Mapping[str, str]
    """What goes with the reason, such as the current etag."""
    violations: tuple[Violation, ...]
    """The fields at fault."""
    request_id: str
    """What the operator finds the call by; empty if it isn't the server who speaks."""

    @property
    def current_etag(self) -> str | None:
        """The etag that a write should have named (registrations: their content's id), if that was it."""
        return self.metadata.get("current_etag")


def error_details(error: grpc.RpcError) -> ErrorDetails:
    """Take apart what a call raised, blocking or not."""
    call = cast("grpc.Call", error)  # as every error of a call is
    info, request, violations = ErrorInfo(), RequestInfo(), BadRequest()
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in Status.FromString(value).details:
                for message in (info, request, violations):
                    detail.Unpack(message)
    if info.domain != "dashkeeper":
        info.Clear()  # a proxy's reasons aren't the server's
    return ErrorDetails(
        code=call.code(),
        message=call.details() or "",
        reason=info.reason,
        metadata=dict(info.metadata),
        violations=tuple(Violation(found.field, found.description) for found in violations.field_violations),
        request_id=request.request_id,
    )
