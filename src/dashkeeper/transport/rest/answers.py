"""How answers and errors of the REST form look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from starlette.responses import Response

from dashkeeper import strict_json
from dashkeeper.gen.google.rpc.error_details_pb import BadRequest, ErrorInfo
from dashkeeper.transport.rest.paths import in_words, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectrpc.errors import ConnectError
    from protobuf import DescMessage

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
    code: str,
    text: str,
    *,
    request_id: str,
    reason: str,
    headers: Mapping[str, str],
    metadata: Mapping[str, str] | None = None,
    violations: list[dict[str, str]] | None = None,
) -> Response:
    """Return an error as it is sent."""
    content: dict[str, Any] = {
        "status": "error",
        "error": text,
        "error_code": code,
        "error_id": request_id,
        "reason": reason,
        "violations": violations or [],
    }
    if metadata:
        content["metadata"] = dict(metadata)
    return Response(dump(content), status, headers, _MEDIA_TYPE)


def failure(
    error: ConnectError,
    *,
    request_id: str,
    message: DescMessage,
    about: str,
    has_conditions: bool,
    is_in_body_terms: bool,
    headers: Mapping[str, str],
) -> Response:
    """Return the answer for an error of the pipeline.

    Args:
        error: What the pipeline's `fail` made of it.
        request_id: That of the call.
        message: The RPC's request, which the error's paths are those of.
        about: What the call writes, for the error's text.
        has_conditions: Whether the call has an If-Match or If-None-Match.
        is_in_body_terms: Whether the error's paths are the body's already.
        headers: To be sent with it.
    """
    details = {detail.type_name: detail.message_bytes for detail in error.details}
    info = ErrorInfo.from_binary(details.get(ErrorInfo.desc().type_name, b""))
    bad = BadRequest.from_binary(details.get(BadRequest.desc().type_name, b""))
    violations = [
        {
            "field": found.field if is_in_body_terms else translated(found.field, message),
            "description": found.description if is_in_body_terms else in_words(found.description),
        }
        for found in bad.field_violations
    ]
    text = in_words(error.message)
    if violations and info.reason == _OF_INVALID_FIELDS:
        first = violations[0]
        text = f"Invalid {about}: {' '.join(filter(None, first.values()))}"
        if len(violations) > 1:
            text += f" (and {len(violations) - 1} more, see violations)"
    status = _status(error.code, info.reason, has_conditions=has_conditions)
    more = {"www-authenticate": "Bearer"} if status == 401 else {}
    return error_response(
        status,
        error.code.name,
        text,
        request_id=request_id,
        reason=info.reason,
        headers={**headers, **more},
        metadata=info.metadata,
        violations=violations,
    )


def dump(content: object) -> bytes:
    """Return JSON in UTF-8, without white space."""
    return strict_json.dump(content).encode()


def _status(code: Code, reason: str, *, has_conditions: bool) -> int:
    match code:
        case Code.ABORTED if has_conditions and reason == "ETAG_MISMATCH":
            return 412
        case Code.ALREADY_EXISTS if has_conditions:
            return 412
        case Code.FAILED_PRECONDITION if reason == "ETAG_REQUIRED":
            return 428
        case Code.RESOURCE_EXHAUSTED if reason.endswith("_TOO_LARGE") or reason == "TOO_MANY_ITEMS":
            return 413
        case _:
            return STATUSES[code]
