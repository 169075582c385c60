"""gRPC, on grpcio's own asyncio server: built by walking the service descriptors."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import grpc
import grpc.aio
from connectrpc.code import Code
from connectrpc.request import Headers, RequestContext
from protobuf.wkt import Any as AnyMessage

from dashkeeper.codec import decode
from dashkeeper.config import Address
from dashkeeper.errors import UnimplementedError, shutting_down
from dashkeeper.gen.google.rpc.status_pb import Status
from dashkeeper.methods import function_name, method_info, procedure
from dashkeeper.transport.addresses import bound_sockets, cannot_listen, check_unused, ipv6_kept_out
from dashkeeper.transport.details import details
from dashkeeper.transport.http1 import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from protobuf import DescMethod, DescService, Message

    from dashkeeper.pipeline import Call, Pipeline

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

    def __init__(self, pipeline: Pipeline, *, keep_alive: timedelta, request_timeout: timedelta) -> None:
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
                ("grpc.server_handshake_timeout_ms", int(request_timeout.total_seconds() * 1_000)),
                ("grpc.max_connection_idle_ms", int(keep_alive.total_seconds() * 1_000)),
            )
        )
        for service in pipeline.services:
            self._add(service.desc, {method.name: self._handler(method) for method in service.desc.methods})

    def add_open_service(self, desc: DescService, service: object) -> None:
        """Serve a service that needs no token, past the pipeline."""
        self._add(desc, {method.name: self._open_handler(method, service) for method in desc.methods})

    def bind(self, address: Address, setting: str) -> Address:
        """Take the address, and return it with the port that was taken.

        grpcio takes no sockets: they are held until it has bound the same addresses.

        Raises:
            ConfigError: If it can't be used.
        """
        with contextlib.ExitStack() as held:
            if address.path:
                check_unused(address, setting)
                names = [str(address)]
            else:
                address, sockets = bound_sockets(address, setting)
                for one in sockets:
                    held.enter_context(one)
                held.enter_context(ipv6_kept_out(address))
                names = [str(Address(*one.getsockname()[:2])) for one in sockets]
            try:
                for name in names:
                    self._server.add_insecure_port(name)
            except RuntimeError as error:
                reason = "it is in use, or can't be had on this machine"
                raise cannot_listen(address, setting, reason) from error
        return address

    async def start(self) -> None:
        """Take calls from now on."""
        self._server.add_generic_rpc_handlers((_NotServed(self._pipeline),))  # the last that is asked
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
                await _abort(context, pipeline, call, error)
                raise
            finally:
                pipeline.close(call)

        return grpc.unary_unary_rpc_method_handler(call_method)

    def _open_handler(self, method: DescMethod, service: object) -> grpc.RpcMethodHandler[Any, Any]:
        pipeline, path, info = self._pipeline, procedure(method), method_info(method)
        function = getattr(service, function_name(method))

        def opened(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Call, RequestContext[Any, Any]]:
            headers = _headers(context)
            call = pipeline.open(path, "grpc", headers.get("x-request-id"))
            context.set_trailing_metadata((("x-request-id", call.request_id),))
            return call, RequestContext(method=info, http_method="POST", request_headers=headers)

        def decoded(body: bytes) -> Message:
            return decode(body, "proto", method.input.type, max_bytes=_MAX_OPEN_REQUEST_BYTES)

        async def call_unary(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            call, ctx = opened(context)
            try:
                return (await function(decoded(body), ctx)).to_binary()
            except Exception as error:
                await _refuse(context, pipeline, call, error)
                raise

        async def call_stream(
            body: bytes | AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[bytes]:
            call, ctx = opened(context)
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
                await _abort(context, pipeline, call, shutting_down())
            except Exception as error:  # noqa: BLE001 # whatever it is, nothing of it may leave
                await _refuse(context, pipeline, call, error)
            finally:
                self._streams.discard(task)

        match method.method_kind:
            case "unary":
                return grpc.unary_unary_rpc_method_handler(call_unary)
            case "server_streaming":
                return grpc.unary_stream_rpc_method_handler(call_stream)
            case _:
                return grpc.stream_stream_rpc_method_handler(call_stream)


class _NotServed(grpc.GenericRpcHandler):
    """Answers for whatever nothing else is there for: grpcio would, without a request id or a log line."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a handler that refuses, before it has read anything, whatever kind of call it is."""
        path = handler_call_details.method

        async def refuse(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            call = self._pipeline.open(path, "grpc", _headers(context).get("x-request-id"))
            message = "there is no such method: it must be /package.Service/Method, byte for byte"
            await _refuse(context, self._pipeline, call, UnimplementedError(message, reason="PATH_NOT_FOUND"))

        return grpc.stream_stream_rpc_method_handler(cast("Any", refuse))


def _headers(context: grpc.aio.ServicerContext[Any, Any]) -> Headers:
    metadata = context.invocation_metadata() or ()
    return Headers([(key, value.strip(" \t")) for key, value in metadata if isinstance(value, str)])


async def _refuse(
    context: grpc.aio.ServicerContext[Any, Any], pipeline: Pipeline, call: Call, error: Exception
) -> None:
    """End a call past the pipeline, and report it, as those are that fail."""
    try:
        await _abort(context, pipeline, call, error)
    finally:
        pipeline.close(call)


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], pipeline: Pipeline, call: Call, error: Exception
) -> None:
    """End the call with the error and its details, as google.rpc.Status in the trailers."""
    known = pipeline.fail(call, error)
    code = _STATUS_CODES[known.CODE]
    status = Status(
        code=code.value[0],
        message=_fitting(known.message),
        details=[
            AnyMessage.pack(detail) for detail in details(known, call.request_id, max_bytes=_MAX_DETAIL_BYTES)
        ],
    )
    await context.abort(
        code,
        status.message,
        (("x-request-id", call.request_id), ("grpc-status-details-bin", status.to_binary())),
    )


def _fitting(message: str) -> str:
    """Return the message, cut where it would grow too long for the trailers, which percent-encode it."""
    if len(quote(message)) <= _MAX_MESSAGE_BYTES:
        return message
    longest = _MAX_MESSAGE_BYTES if message.isascii() else _MAX_MESSAGE_BYTES // len(quote("\U0010ffff"))
    return message[:longest]
