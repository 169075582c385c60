"""gRPC, on grpcio's own asyncio server: built by walking the service descriptors."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
import grpc.aio
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.request import Headers, RequestContext
from protobuf.wkt import Any as AnyMessage

from dashkeeper.codec import decode
from dashkeeper.errors import InternalError, counted, shutting_down, with_request_id
from dashkeeper.gen.google.rpc.error_details_pb import BadRequest
from dashkeeper.gen.google.rpc.status_pb import Status
from dashkeeper.methods import function_name, method_info, procedure
from dashkeeper.pipeline import usable_request_id
from dashkeeper.transport.http1 import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from protobuf import DescMethod, DescService, Message

    from dashkeeper.methods import Context
    from dashkeeper.pipeline import Pipeline

log = logging.getLogger(__name__)

_MAX_OPEN_REQUEST_BYTES = 64 * 1024
"""Of a request to health or reflection, which anybody may send."""

_MAX_DETAIL_BYTES = 3_500
_MAX_MESSAGE_BYTES = 1_000
"""Clients refuse trailers above 8 KiB, and base64 adds a third: what is longer is shortened."""

_STATUS_CODES = {
    code: grpc.StatusCode.CANCELLED if code is Code.CANCELED else grpc.StatusCode[code.name] for code in Code
}


class GrpcListener:
    """Serves the pipeline's services, and open ones such as health, over gRPC."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._streams: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", pipeline.library_max_bytes),
                ("grpc.max_metadata_size", MAX_HEAD_BYTES),  # its own is 8 KiB, refused at random above
                ("grpc.absolute_max_metadata_size", MAX_HEAD_BYTES),
                ("grpc.so_reuseport", 0),  # or a second server would share the port in silence
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            )
        )
        for service in pipeline.services:
            self._add(service.desc, {method.name: self._handler(method) for method in service.desc.methods})

    def add_open_service(self, desc: DescService, service: object) -> None:
        """Serve a service that needs no token, past the pipeline."""
        self._add(desc, {method.name: self._open_handler(method, service) for method in desc.methods})

    def bind(self, address: str) -> int:
        """Bind `host:port` or `unix:/path`; return the port that was taken.

        Raises:
            RuntimeError: If the address can't be bound.
        """
        return self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Take calls from now on."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no new call, end open streams, and wait up to `grace` seconds for calls in flight."""
        self._is_stopping = True
        stopping = asyncio.ensure_future(self._server.stop(grace))
        await asyncio.sleep(0)  # the port closes first, or a client would open its stream again
        for stream in self._streams:
            stream.cancel()
        await stopping

    def _add(self, desc: DescService, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(desc.type_name, handlers),)
        )

    def _handler(self, method: DescMethod) -> grpc.RpcMethodHandler[bytes, bytes]:
        pipeline, path, info = self._pipeline, procedure(method), method_info(method)

        async def call_method(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            headers = _headers(context)
            ctx = RequestContext(method=info, http_method="POST", request_headers=headers)
            call = pipeline.open(path, "grpc", headers.get("x-request-id"))
            context.set_trailing_metadata((("x-request-id", call.request_id),))
            try:
                async with asyncio.timeout(context.time_remaining()):
                    pipeline.admit(call, ctx)
                    return await pipeline.answer(call, ctx, body, "proto")
            except asyncio.CancelledError as error:
                pipeline.fail(call, error)
                raise
            except Exception as error:
                await _abort(context, pipeline.fail(call, error), call.request_id)
                raise
            finally:
                pipeline.close(call)

        return grpc.unary_unary_rpc_method_handler(call_method)

    def _open_handler(self, method: DescMethod, service: object) -> grpc.RpcMethodHandler[Any, Any]:
        function = getattr(service, function_name(method))
        info = method_info(method)

        def opened(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Context, str]:
            ctx = RequestContext(method=info, http_method="POST", request_headers=_headers(context))
            request_id = usable_request_id(ctx.request_headers.get("x-request-id"))
            context.set_trailing_metadata((("x-request-id", request_id),))
            return ctx, request_id

        def decoded(body: bytes) -> Message:
            return decode(body, "proto", method.input.type, max_bytes=_MAX_OPEN_REQUEST_BYTES)

        async def call_unary(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            ctx, request_id = opened(context)
            try:
                return (await function(decoded(body), ctx)).to_binary()
            except Exception as error:
                await _abort(context, _as_connect_error(error, request_id), request_id)
                raise

        async def call_stream(
            body: bytes | AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[bytes]:
            ctx, request_id = opened(context)
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            try:
                request: Any = (
                    decoded(body) if isinstance(body, bytes) else (decoded(part) async for part in body)
                )
                async for message in function(request, ctx):
                    yield message.to_binary()
            except asyncio.CancelledError:
                if not self._is_stopping:
                    raise
                # A cancelled stream gets no status from grpcio, and stop would wait for it.
                task.uncancel()
                await _abort(context, with_request_id(shutting_down(), request_id), request_id)
            except Exception as error:  # noqa: BLE001 # whatever it is, nothing of it may leave
                await _abort(context, _as_connect_error(error, request_id), request_id)
            finally:
                self._streams.discard(task)

        match method.method_kind:
            case "unary":
                return grpc.unary_unary_rpc_method_handler(call_unary)
            case "server_streaming":
                return grpc.unary_stream_rpc_method_handler(call_stream)
            case _:
                return grpc.stream_stream_rpc_method_handler(call_stream)


def _headers(context: grpc.aio.ServicerContext[Any, Any]) -> Headers:
    metadata = context.invocation_metadata() or ()
    return Headers([(key, value) for key, value in metadata if isinstance(value, str)])


def _as_connect_error(error: Exception, request_id: str) -> ConnectError:
    if not isinstance(error, ConnectError):
        log.error("unforeseen error, request id %s", request_id, exc_info=error)
        error = InternalError()
    return with_request_id(error, request_id)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: ConnectError, request_id: str) -> None:
    """End the call with the error and its details, as google.rpc.Status in the trailers."""
    code = _STATUS_CODES[error.code]
    status = Status(code=code.value[0], message=_fitting(error.message))
    for detail in error.details:
        status.details.append(
            AnyMessage(type_url=f"type.googleapis.com/{detail.type_name}", value=_shortened(detail))
        )
    await context.abort(
        code,
        status.message,
        (("x-request-id", request_id), ("grpc-status-details-bin", status.to_binary())),
    )


def _fitting(message: str) -> str:
    """Return the message, cut where it would grow too long for the trailers, which percent-encode it."""
    if len(quote(message)) <= _MAX_MESSAGE_BYTES:
        return message
    longest = _MAX_MESSAGE_BYTES if message.isascii() else _MAX_MESSAGE_BYTES // len(quote("\U0010ffff"))
    return message[:longest]


def _shortened(detail: ErrorDetail) -> bytes:
    """Return the detail in binary form, with only as many field violations as fit the trailers."""
    content = detail.message_bytes
    bad_request = detail.value(BadRequest) if len(content) > _MAX_DETAIL_BYTES else None
    if bad_request is None:
        return content
    kept: list[BadRequest.FieldViolation] = []
    size = 0
    for violation in bad_request.field_violations:
        size += len(violation.to_binary())
        if size > _MAX_DETAIL_BYTES:
            break
        kept.append(violation)
    left_out = len(bad_request.field_violations) - len(kept)
    kept.append(
        BadRequest.FieldViolation(description=f"and {counted(left_out, 'more violation')}, left out here")
    )
    return BadRequest(field_violations=kept).to_binary()
