"""How answers and errors of the REST form look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from starlette.responses import Response

from dashkeeper import strict_json
from dashkeeper.errors import Violation
from dashkeeper.paths import written
from dashkeeper.transport.rest.paths import InOwnTermsError, in_words, translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protobuf import DescMessage

    from dashkeeper.errors import DashkeeperError
    from dashkeeper.transport.rest.resources import Answer

STATUSES: Mapping[Code, int] = {
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.FAILED_PRECONDITION: 400,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.CANCELED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
}
"""The status of each code, where `status` doesn't know better."""

_MEDIA_TYPE = "application/json"
_OF_INVALID_FIELDS = "INVALID_REQUEST"


def response(answer: Answer, headers: Mapping[str, str]) -> Response:
    """Return an answer as it is sent."""
    body = b"" if answer.content is None else dump(answer.content)
    media_type = None if answer.content is None else _MEDIA_TYPE
    return Response(body, answer.status, {**headers, **answer.headers}, media_type)


def error_response(
    status: int,
    error: DashkeeperError,
    text: str,
    *,
    request_id: str,
    violations: Sequence[Violation] = (),
    headers: Mapping[str, str],
) -> Response:
    """Return an error as it is sent."""
    content: dict[str, Any] = {
        "status": "error",
        "error": text,
        "error_code": error.CODE.name,
        "error_id": request_id,
        "reason": error.reason,
        "violations": [
            {"field": written(path), "description": description} for path, description in violations
        ],
    }
    if error.metadata:
        content["metadata"] = dict(sorted(error.metadata.items()))
    return Response(dump(content), status, headers, _MEDIA_TYPE)


def failure(
    error: DashkeeperError,
    *,
    request_id: str,
    message: DescMessage,
    about: str,
    has_conditions: bool,
    headers: Mapping[str, str],
) -> Response:
    """Return the answer for an error of the pipeline.

    Args:
        error: What the pipeline's `fail` made of it.
        request_id: That of the call.
        message: The RPC's request, which the error's paths are those of.
        about: What the call writes, for the error's text.
        has_conditions: Whether the call has an If-Match or If-None-Match.
        headers: To be sent with it.
    """
    violations = [*error.violations]
    if not isinstance(error, InOwnTermsError):
        violations = [Violation(translated(path, message), in_words(text)) for path, text in violations]
    text = in_words(error.message)
    if violations and error.reason == _OF_INVALID_FIELDS:
        first = violations[0]
        text = f"Invalid {about}: {' '.join(filter(None, (written(first.path), first.description)))}"
        if len(violations) > 1:
            text += f" (and {len(violations) - 1} more, see violations)"
    status = _status(error, has_conditions=has_conditions)
    more = {"www-authenticate": "Bearer"} if status == 401 else {}
    return error_response(
        status, error, text, request_id=request_id, violations=violations, headers={**headers, **more}
    )


def dump(content: object) -> bytes:
    """Return JSON in UTF-8, without white space."""
    return strict_json.dump(content).encode()


def _status(error: DashkeeperError, *, has_conditions: bool) -> int:
    reason = error.reason
    match error.CODE:
        case Code.ABORTED if has_conditions and reason == "ETAG_MISMATCH":
            return 412
        case Code.ALREADY_EXISTS if has_conditions:
            return 412
        case Code.FAILED_PRECONDITION if reason == "ETAG_REQUIRED":
            return 428
        case Code.RESOURCE_EXHAUSTED if reason.endswith("_TOO_LARGE") or reason == "TOO_MANY_ITEMS":
            return 413
        case _:
            return STATUSES[error.CODE]
