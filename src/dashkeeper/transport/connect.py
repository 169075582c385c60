"""Connect and gRPC-Web, on connectrpc's ASGI application: built by walking the service descriptors.

connectrpc speaks the protocols; it neither decodes nor encodes here. Its codecs are replaced by
ones that hand the bytes on as they are, so that the pipeline does both, as it does for gRPC.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel
from connectrpc.server import ConnectASGIApplication, Endpoint
from starlette.routing import Route

from dashkeeper.errors import UnauthenticatedError
from dashkeeper.maps import sort_maps
from dashkeeper.methods import method_info, procedure
from dashkeeper.transport.compression import Gzip
from dashkeeper.transport.connect_requests import Arrival, RefusedByHTTPError, arrival
from dashkeeper.transport.details import details
from dashkeeper.transport.reporting import current_call, refusal

if TYPE_CHECKING:
    from protobuf import DescMethod, DescService
    from starlette.types import Receive, Scope, Send

    from dashkeeper.codec import Encoding
    from dashkeeper.methods import Context
    from dashkeeper.pipeline import Pipeline

_READ_ANSWER_HEADERS = {
    "cache-control": "private, no-cache",
    "vary": "authorization, x-project-id, origin, accept-encoding",
}

_arrival: ContextVar[Arrival] = ContextVar("_arrival")


class _Body(NamedTuple):
    """A request's body as it arrived, decompressed."""

    content: bytes
    encoding: Encoding


class _BytesCodec:
    """Hands bytes on in both directions, remembering which encoding they are in."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding: Encoding = encoding

    def name(self) -> str:
        return self._encoding

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        return _Body(bytes(data), self._encoding)


class _Admission:
    """Admits each call before its body is read, and gives every failure its final form."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def on_start(self, ctx: Context) -> None:
        call, arrived = current_call(), _arrival.get()
        if arrived.protocol == "grpc-web":
            ctx.response_headers["grpc-accept-encoding"] = "identity, gzip"
        if ctx.http_method == "GET":
            for name, value in _READ_ANSWER_HEADERS.items():
                ctx.response_headers[name] = value
        try:
            self._pipeline.admit(call, ctx)
            if arrived.problem is not None:
                raise arrived.problem
        except Exception as error:
            if isinstance(error, UnauthenticatedError):
                ctx.response_headers["www-authenticate"] = "Bearer"
            raise self._told(error) from error

    async def on_end(self, token: None, ctx: Context, error: Exception | None, /) -> None:
        if error is not None:
            raise self._told(error) from error

    def _told(self, error: Exception) -> ConnectError:
        """Return an error as connectrpc sends it."""
        call = current_call()
        known = self._pipeline.fail(call, error)
        sent = details(known, call.request_id)
        result = ConnectError(known.CODE, known.message, sent)
        for detail in sent:
            sort_maps(detail)  # shown as JSON too, beside the bytes that were just made
        return result


class ConnectApplication(ConnectASGIApplication[None]):
    """The ASGI application of one service."""

    def __init__(self, pipeline: Pipeline, desc: DescService) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] # Endpoint without its arguments
            service=None,
            endpoints=lambda _: {procedure(method): self._endpoint(method) for method in desc.methods},
            interceptors=[_Admission(pipeline)],
            read_max_bytes=pipeline.library_max_bytes,
            compressions=[Gzip(pipeline.max_request_bytes)],
            codecs=[_BytesCodec("proto"), _BytesCodec("json")],
        )
        self._pipeline = pipeline
        self._path = f"/{desc.type_name}"

    @property
    def path(self) -> str:
        """The path below which the service's methods stand."""
        return self._path

    def _endpoint(self, method: DescMethod) -> Any:
        async def call_method(body: _Body, ctx: Context) -> bytes:
            return await self._pipeline.answer(current_call(), ctx, body.content, body.encoding)

        return Endpoint.unary(method=method_info(method), function=call_method)


class _Method:
    """The route of one method."""

    def __init__(self, application: ConnectApplication, pipeline: Pipeline, method: DescMethod) -> None:
        self._application = application
        self._pipeline = pipeline
        is_read = method_info(method).idempotency_level is IdempotencyLevel.NO_SIDE_EFFECTS
        self._http_methods = ("GET", "POST") if is_read else ("POST",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = current_call()
        call.protocol = "connect"
        try:
            arrived = arrival(scope, self._http_methods)
        except RefusedByHTTPError as refused:
            answer = refusal(self._pipeline, refused.error, refused.status, refused.headers)
            await answer(scope, receive, send)
            return
        call.protocol = arrived.protocol
        token = _arrival.set(arrived)
        try:
            await self._application(arrived.scope, receive, send)
        finally:
            _arrival.reset(token)


def rpc_routes(pipeline: Pipeline) -> list[Route]:
    """Return the routes of every method."""
    applications = [ConnectApplication(pipeline, service.desc) for service in pipeline.services]
    return [
        Route(procedure(method), _Method(application, pipeline, method))
        for application, service in zip(applications, pipeline.services, strict=True)
        for method in service.desc.methods
    ]
