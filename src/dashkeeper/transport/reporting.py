"""A call for each request over HTTP: opened before anything else, reported when it is answered."""

from __future__ import annotations

from base64 import b64encode
from contextvars import ContextVar
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from dashkeeper.transport.details import details
from dashkeeper.transport.routing import sent_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dashkeeper.pipeline import Call, Pipeline

_current_call: ContextVar[Call] = ContextVar("_current_call")


def current_call() -> Call:
    """Return the call of the request that is being served."""
    return _current_call.get()


class Reporting:
    """Wraps the whole application: every answer has its request id, every refusal its log line.

    What anybody may read, health and descriptions, is not reported when it is read.
    """

    def __init__(self, application: ASGIApp, pipeline: Pipeline) -> None:
        self._application = application
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        call = self._pipeline.open(sent_path(scope), "http", given.decode("latin-1"))
        is_answered = False

        async def send_with_id(event: Message) -> None:
            nonlocal is_answered
            if event["type"] == "http.response.start":
                is_answered = True
                event["headers"] = [*event["headers"], (b"x-request-id", call.request_id.encode())]
            await send(event)

        token = _current_call.set(call)
        try:
            await self._application(scope, receive, send_with_id)
        except Exception as error:
            if is_answered:
                raise
            await refusal(self._pipeline, error, 500)(scope, receive, send_with_id)
        finally:
            _current_call.reset(token)
            if call.caller is not None or call.error is not None:
                self._pipeline.close(call)


def refusal(
    pipeline: Pipeline, error: Exception, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to a request that is no call, in Connect's form, and note why for the report."""
    call = current_call()
    known = pipeline.fail(call, error)
    content = {
        "code": known.CODE.value,
        "message": known.message,
        "details": [
            {
                "type": detail.desc().type_name,
                "value": b64encode(detail.to_binary()).decode().rstrip("="),
            }
            for detail in details(known, call.request_id)
        ],
    }
    return JSONResponse(content, status, headers)
