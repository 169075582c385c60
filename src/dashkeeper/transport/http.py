"""The HTTP listener's application: Connect and gRPC-Web, the REST form, health, the descriptors, CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf.wkt import FileDescriptorSet
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashkeeper.methods import procedure
from dashkeeper.transport.connect import ConnectApplication, Reporting
from dashkeeper.transport.rest.application import rest_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protobuf import DescFile
    from starlette.requests import Request

    from dashkeeper.health import Health
    from dashkeeper.pipeline import Pipeline

_ALLOWED_HEADERS = (
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "if-match",
    "if-none-match",
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


def http_application(pipeline: Pipeline, health: Health, *, cors_origins: Sequence[str]) -> Starlette:
    """Return the ASGI application of the HTTP listener."""

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        problem = await health.problem()
        return PlainTextResponse(f"{problem or 'ok'}\n", 503 if problem else 200)

    content = descriptor_set([service.desc.file for service in pipeline.services])

    async def descriptors(_: Request) -> Response:
        return Response(content, media_type="application/x-protobuf")

    services = [
        (service.desc, Reporting(ConnectApplication(pipeline, service.desc), pipeline))
        for service in pipeline.services
    ]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=cors_origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
        allow_headers=_ALLOWED_HEADERS,
        expose_headers=_EXPOSED_HEADERS,
        allow_credentials=False,
        max_age=_PREFLIGHT_SECONDS,
    )
    return Starlette(
        routes=[
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/descriptors.binpb", descriptors),
            *(Route(procedure(method), app) for desc, app in services for method in desc.methods),
            *rest_routes(pipeline),
        ],
        middleware=[cors] if cors_origins else [],
    )


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
