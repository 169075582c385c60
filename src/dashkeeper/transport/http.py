"""The HTTP listener's application: Connect and gRPC-Web, the REST form, health, the descriptors, CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protobuf.wkt import FileDescriptorSet
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashkeeper.errors import InvalidRequestError, UnimplementedError
from dashkeeper.transport.connect import rpc_routes
from dashkeeper.transport.reporting import Reporting, current_call, refusal
from dashkeeper.transport.rest.application import rest_routes
from dashkeeper.transport.routing import ExactRouter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from protobuf import DescFile
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

    from dashkeeper.health import Health
    from dashkeeper.pipeline import Pipeline

_ALLOWED_HEADERS = (
    "authorization",
    "baggage",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-change-message",
    "x-grpc-web",
    "x-project-id",
    "x-request-id",
    "x-user-agent",
)
_EXPOSED_HEADERS = (
    "etag",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "location",
    "x-request-id",
)
_PREFLIGHT_SECONDS = 7_200


def http_application(pipeline: Pipeline, health: Health, *, cors_origins: Sequence[str]) -> ASGIApp:
    """Return the ASGI application of the HTTP listener."""

    async def alive() -> Response:
        return PlainTextResponse("ok\n")

    async def ready() -> Response:
        problem = await health.problem()
        return PlainTextResponse(f"{problem or 'ok'}\n", 503 if problem else 200)

    content = descriptor_set([service.desc.file for service in pipeline.services])

    async def descriptors() -> Response:
        return Response(content, media_type="application/x-protobuf")

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        message = "nothing is served at this path: it must be /package.Service/Method, byte for byte"
        answer = refusal(pipeline, UnimplementedError(message, reason="PATH_NOT_FOUND"), 404)
        await answer(scope, receive, send)

    application: ASGIApp = ExactRouter(
        [
            Route("/healthz", _Page(pipeline, alive)),
            Route("/readyz", _Page(pipeline, ready)),
            Route("/descriptors.binpb", _Page(pipeline, descriptors)),
            *rpc_routes(pipeline),
            *rest_routes(pipeline),
        ],
        not_found=not_found,
    )
    if cors_origins:
        application = _CORS(
            application,
            pipeline,
            allow_origins=cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            allow_credentials=False,
            max_age=_PREFLIGHT_SECONDS,
        )
    return Reporting(application, pipeline)


class _Page:
    """What anybody may read."""

    def __init__(self, pipeline: Pipeline, read: Callable[[], Awaitable[Response]]) -> None:
        self._pipeline = pipeline
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] in {"GET", "HEAD"}:
            answer = await self._read()
        else:
            message = f"{scope['method'][:20]} is not served here: use GET or HEAD"
            error = UnimplementedError(message, reason="METHOD_NOT_ALLOWED")
            answer = refusal(self._pipeline, error, 405, {"allow": "GET, HEAD"})
        await answer(scope, receive, send)


class _CORS(CORSMiddleware):
    """Notes the refusal of a preflight for the report."""

    def __init__(self, application: ASGIApp, pipeline: Pipeline, **rules: Any) -> None:
        super().__init__(application, **rules)
        self._pipeline = pipeline

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight."""
        answer = super().preflight_response(request_headers)
        if answer.status_code >= 400:
            error = InvalidRequestError(bytes(answer.body).decode(), reason="PREFLIGHT_REFUSED")
            self._pipeline.fail(current_call(), error)
        return answer


def descriptor_set(files: Sequence[DescFile]) -> bytes:
    """Return the files and all they import as a google.protobuf.FileDescriptorSet, imports first."""
    found: dict[str, DescFile] = {}

    def add(file: DescFile) -> None:
        for dependency in file.dependencies:
            add(dependency)
        found.setdefault(file.name, file)

    for file in files:
        add(file)
    return FileDescriptorSet(file=[file.proto for file in found.values()]).to_binary()
