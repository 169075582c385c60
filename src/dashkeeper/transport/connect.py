"""Connect and gRPC-Web, on connectrpc's ASGI application: built by walking the service descriptors.

connectrpc speaks the protocols; it neither decodes nor encodes here. Its codecs are replaced by
ones that hand the bytes on as they are, so that the pipeline does both, as it does for gRPC.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from connectrpc.server import ConnectASGIApplication, Endpoint
from starlette.datastructures import Headers as HTTPHeaders
from starlette.responses import JSONResponse, PlainTextResponse

from dashkeeper.errors import UnauthenticatedError
from dashkeeper.methods import method_info, procedure
from dashkeeper.transport.compression import Gzip

if TYPE_CHECKING:
    from protobuf import DescMethod, DescService
    from starlette.types import Receive, Scope, Send

    from dashkeeper.codec import Encoding
    from dashkeeper.methods import Context
    from dashkeeper.pipeline import Call, Pipeline

_READ_ANSWER_HEADERS = {
    "cache-control": "private, no-cache",
    "vary": "authorization, x-project-id, origin, accept-encoding",
}

_current_call: ContextVar[Call] = ContextVar("_current_call")


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
        call = _current_call.get()
        ctx.response_headers["x-request-id"] = call.request_id
        if ctx.http_method == "GET":
            for name, value in _READ_ANSWER_HEADERS.items():
                ctx.response_headers[name] = value
        try:
            self._pipeline.admit(call, ctx)
        except Exception as error:
            if isinstance(error, UnauthenticatedError):
                ctx.response_headers["www-authenticate"] = "Bearer"
            raise self._pipeline.fail(call, error) from error

    async def on_end(self, token: None, ctx: Context, error: Exception | None, /) -> None:
        if error is not None:
            raise self._pipeline.fail(_current_call.get(), error) from error


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
            return await self._pipeline.answer(_current_call.get(), ctx, body.content, body.encoding)

        return Endpoint.unary(method=method_info(method), function=call_method)


class Reporting:
    """Wraps the application: opens and closes the pipeline's call around each request."""

    def __init__(self, application: ConnectApplication, pipeline: Pipeline) -> None:
        self._application = application
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (name := _undecodable_header(scope)) is not None:
            message = f"the header {name} must be text in UTF-8"
            refusal = JSONResponse({"code": "invalid_argument", "message": message}, 400)
            await refusal(scope, receive, send)
            return
        headers = HTTPHeaders(scope=scope)
        content_type = headers.get("content-type", "")
        if content_type.startswith("application/grpc") and not content_type.startswith(
            "application/grpc-web"
        ):
            refusal = PlainTextResponse("gRPC is served on the gRPC address: GRPC_ADDRESS\n", 415)
            await refusal(scope, receive, send)
            return
        protocol = "grpc-web" if content_type.startswith("application/grpc-web") else "connect"
        call = self._pipeline.open(scope["path"], protocol, headers.get("x-request-id"))
        token = _current_call.set(call)
        try:
            await self._application(scope, receive, send)
        finally:
            _current_call.reset(token)
            if call.caller is not None or call.error is not None:  # else the library refused it first
                self._pipeline.close(call)


def _undecodable_header(scope: Scope) -> str | None:
    """Return the name of a header that isn't UTF-8: connectrpc would answer 500 with the exception's text."""
    for name, value in scope["headers"]:
        try:
            (name + value).decode()
        except UnicodeDecodeError:
            return name.decode("ascii", "replace")
    return None
