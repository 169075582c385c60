"""What the protocols of RPC send of an error beside its code and message: details of google.rpc.

Each has an ErrorInfo {reason, domain, metadata}, a RequestInfo with the request id and, where fields are at
fault, a BadRequest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashkeeper.errors import counted
from dashkeeper.gen.google.rpc.error_details_pb import BadRequest, ErrorInfo, RequestInfo
from dashkeeper.maps import sort_maps
from dashkeeper.paths import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protobuf import Message

    from dashkeeper.errors import DashkeeperError, Violation

DOMAIN = "dashkeeper"


def details(error: DashkeeperError, request_id: str, *, max_bytes: int | None = None) -> list[Message]:
    """Return the details of an error, their maps in the order in which they are serialised.

    Args:
        error: The error.
        request_id: That of the call.
        max_bytes: The most that the violations may take; those beyond it are counted instead of told.
    """
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    sort_maps(info, for_binary=True)
    violations = [_bad_request(error.violations, max_bytes)] if error.violations else []
    return [info, *violations, RequestInfo(request_id=request_id)]


def _bad_request(violations: Sequence[Violation], max_bytes: int | None) -> BadRequest:
    told = [
        BadRequest.FieldViolation(field=written(path), description=description)
        for path, description in violations
    ]
    result = BadRequest(field_violations=told)
    if max_bytes is None or len(result.to_binary()) <= max_bytes:
        return result
    kept: list[BadRequest.FieldViolation] = []
    size = 0
    for violation in told:
        size += len(violation.to_binary())
        if size > max_bytes:
            break
        kept.append(violation)
    left_out = f"and {counted(len(told) - len(kept), 'more violation')}, left out here"
    return BadRequest(field_violations=[*kept, BadRequest.FieldViolation(description=left_out)])
