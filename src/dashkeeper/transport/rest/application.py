"""The REST routes as ASGI: thin, over the same pipeline as the RPCs."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import TYPE_CHECKING

from connectrpc.request import Headers as RPCHeaders
from connectrpc.request import RequestContext
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route

from dashkeeper.codec import too_large
from dashkeeper.errors import CanceledError, InvalidRequestError, NotFoundError, UnimplementedError
from dashkeeper.transport.compression import Gzip
from dashkeeper.transport.content import coding, media_type
from dashkeeper.transport.reporting import current_call
from dashkeeper.transport.rest.answers import error_response, failure, response
from dashkeeper.transport.rest.query import parameters
from dashkeeper.transport.rest.resources import Exchange
from dashkeeper.transport.rest.routes import DESCRIPTION, PREFIX, ROUTES
from dashkeeper.transport.routing import decoded_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from dashkeeper.errors import DashkeeperError
    from dashkeeper.pipeline import Call, Pipeline
    from dashkeeper.transport.rest.resources import Answer
    from dashkeeper.transport.rest.routes import Operation

READ_HEADERS = {
    "cache-control": "private, no-cache",
    "vary": "authorization, x-project-id, origin, accept-encoding",
}
_JSON = "application/json"


class _UnsupportedMediaTypeError(InvalidRequestError):
    """A body in a form that isn't served: 415 in the terms of HTTP."""


def rest_routes(pipeline: Pipeline) -> list[Route]:
    """Return the routes of the REST form, its description, and an answer for every other path below."""
    nothing = _Nothing(pipeline)
    description = (files("dashkeeper.transport.rest") / "openapi.json").read_bytes()
    return [
        Route(DESCRIPTION, _Description(pipeline, description)),
        *(Route(path, _Resource(pipeline, operations)) for path, operations in ROUTES.items()),
        Route(PREFIX, nothing),
        Route(f"{PREFIX}/{{path:path}}", nothing),
    ]


class _Resource:
    """One route, all its methods."""

    def __init__(self, pipeline: Pipeline, operations: Mapping[str, Operation]) -> None:
        self._pipeline = pipeline
        self._operations = dict(operations)
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]  # uvicorn leaves the body out
        self._gzip = Gzip(pipeline.max_request_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        operation = self._operations.get(scope["method"])
        segment = scope.get("path_params", {}).get("id")
        registration_id = "" if segment is None else decoded_id(segment)
        if registration_id is None:
            answer = _not_found(self._pipeline)
        elif operation is None:
            answer = _not_allowed(self._pipeline, scope, self._operations)
        else:
            call = current_call()
            call.procedure, call.protocol = operation.procedure, "rest"
            answer = await self._answer(operation, call, registration_id, scope, receive)
            call.reply_bytes = len(answer.body)
        await answer(scope, receive, send)

    async def _answer(
        self, operation: Operation, call: Call, registration_id: str, scope: Scope, receive: Receive
    ) -> Response:
        headers = Headers(scope=scope)
        sent = READ_HEADERS if scope["method"] in {"GET", "HEAD"} else {}
        try:
            ctx = RequestContext(
                method=operation.info, http_method=scope["method"], request_headers=_rpc_headers(headers)
            )
            self._pipeline.admit(call, ctx)
            exchange = Exchange(
                self._pipeline,
                call,
                ctx,
                headers,
                id=registration_id,
                query=parameters(scope["query_string"], operation.parameters),
                body=await self._body(headers, receive) if operation.body is not None else b"",
            )
            call.request_bytes = len(exchange.body)
            return response(await _unless_gone(operation.run(exchange), receive), sent)
        except (Exception, asyncio.CancelledError) as error:
            known = self._pipeline.fail(call, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            answer = failure(
                known,
                request_id=call.request_id,
                message=operation.info.input.desc(),
                about=operation.about if operation.body is not None else "request",
                has_conditions="if-match" in headers or "if-none-match" in headers,
                headers=sent,
            )
            if isinstance(error, _UnsupportedMediaTypeError):
                answer.status_code = 415
            return answer

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Read the body, and stop at the limit."""
        if media_type(", ".join(headers.getlist("content-type"))) != _JSON:
            raise _UnsupportedMediaTypeError(
                f"the body must be {_JSON} in UTF-8: say so in content-type", reason="UNSUPPORTED_MEDIA_TYPE"
            )
        encoding = coding(", ".join(headers.getlist("content-encoding")))
        if encoding not in {"identity", "gzip"}:
            raise _UnsupportedMediaTypeError(
                "the body's content-encoding is not served: send gzip, or none",
                reason="UNSUPPORTED_CONTENT_ENCODING",
            )
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise CanceledError
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > self._pipeline.max_request_bytes:
                raise too_large(self._pipeline.max_request_bytes)
            more = event.get("more_body", False)
        body = b"".join(parts)
        return body if encoding == "identity" else self._gzip.decompress(body)


class _Description:
    """The OpenAPI description, as `make generate` made it: the same for everybody."""

    def __init__(self, pipeline: Pipeline, content: bytes) -> None:
        self._pipeline = pipeline
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] in {"GET", "HEAD"}:
            answer = Response(self._content, media_type=_JSON)
        else:
            answer = _not_allowed(self._pipeline, scope, ("GET", "HEAD"))
        await answer(scope, receive, send)


class _Nothing:
    """Every other path below the prefix."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await _not_found(self._pipeline)(scope, receive, send)


def _not_found(pipeline: Pipeline) -> Response:
    message = f"nothing is served at this path: see {DESCRIPTION}"
    return _refusal(pipeline, NotFoundError(message, reason="PATH_NOT_FOUND"), 404, {})


def _not_allowed(pipeline: Pipeline, scope: Scope, methods: Iterable[str]) -> Response:
    allowed = ", ".join(sorted(methods))
    message = f"{scope['method'][:20]} is not served here: use {allowed}"
    error = UnimplementedError(message, reason="METHOD_NOT_ALLOWED")
    return _refusal(pipeline, error, 405, {"allow": allowed})


def _refusal(pipeline: Pipeline, error: DashkeeperError, status: int, headers: Mapping[str, str]) -> Response:
    """Return the answer to a request that is no call, and note why for the report."""
    call = current_call()
    call.protocol = "rest"
    pipeline.fail(call, error)
    return error_response(status, error, error.message, request_id=call.request_id, headers=headers)


async def _unless_gone(work: Awaitable[Answer], receive: Receive) -> Answer:
    """Await the work; stop it when the client goes away."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CanceledError
        return working.result()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait({working, watching})
        if not working.cancelled():
            working.exception()  # else one that was raised on the way out is reported as never retrieved


def _rpc_headers(headers: Headers) -> RPCHeaders:
    """Return the headers as the pipeline reads them. REST alone takes a bare token too."""
    try:
        items = [(name.decode(), value.decode()) for name, value in headers.raw]
    except UnicodeDecodeError as error:
        raise InvalidRequestError("headers must be text in UTF-8", reason="MALFORMED_REQUEST") from error
    return RPCHeaders(
        [
            (name, f"Bearer {value}" if name == "authorization" and " " not in value.strip() else value)
            for name, value in items
        ]
    )
