"""What every call passes, on every listener: one implementation, in one order.

request id → authenticate → authorise (on headers alone) → decode → validate → call → encode →
translate errors → report

An adapter calls `open`, `admit`, `answer` and `close` in this order; one that decodes and encodes by
itself calls `perform` in the place of `answer`. `fail` turns whatever was raised into the error for
the caller. A request that is no call, such as one for a path where nothing is served, is refused by
`open`, `fail` and `close` alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from dashkeeper.auth import READ, REQUIRED_SCOPE, authorise
from dashkeeper.codec import decode, encode, too_large
from dashkeeper.errors import (
    CanceledError,
    DashkeeperError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    UnauthenticatedError,
    UnimplementedError,
)
from dashkeeper.methods import function_name, procedure
from dashkeeper.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protobuf import DescService, Message

    from dashkeeper.auth import Authenticator, Caller
    from dashkeeper.codec import Encoding
    from dashkeeper.methods import Context

log = logging.getLogger(__name__)
calls_log = logging.getLogger("dashkeeper.calls")

_MAX_LOGGED_PATH = 200
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Service:
    """A service to be served: its descriptor, and how to make one that acts for a caller."""

    desc: DescService
    acting_for: Callable[[Caller], Any]
    """Make the service for one call. The result implements the protocol generated for `desc`."""


@dataclass(slots=True, eq=False)
class Call:
    """One call, from its headers to its report."""

    procedure: str
    """As in the path: `/dashboards.v1.DashboardsService/Get`; the path itself where nothing is served."""
    protocol: str
    """`grpc`, `connect`, `grpc-web` or `rest`; `http` for what is none of them."""
    request_id: str = ""
    caller: Caller | None = None
    error: DashkeeperError | None = None
    change_message: str = ""
    """Why the caller makes the change, as it says: for the log, beside the history."""
    refusal: str = ""
    """Why the token wasn't taken: for the log, not for the caller."""
    started: float = 0.0
    """On the clock of time.perf_counter, seconds."""
    request_bytes: int = 0
    reply_bytes: int = 0


class Pipeline:
    """Takes calls through the steps."""

    def __init__(
        self, authenticator: Authenticator, services: Sequence[Service], *, max_request_bytes: int
    ) -> None:
        """Make the pipeline of these services.

        Raises:
            TypeError: If a method isn't unary: every adapter would serve it as if it were.
        """
        for service in services:
            for method in service.desc.methods:
                if method.method_kind != "unary":
                    raise TypeError(
                        f"{procedure(method)} is {method.method_kind}: only unary methods are served"
                    )
        self.services = services
        self.max_request_bytes = max_request_bytes
        self.library_max_bytes = max_request_bytes + 64 * 1024
        """What the libraries refuse: above our limit, so that the ordinary too-large case is ours."""
        self._authenticator = authenticator
        self._methods = {procedure(method): method for service in services for method in service.desc.methods}
        self._functions = {
            method.input.type_name: (procedure(method), service, function_name(method))
            for service in services
            for method in service.desc.methods
        }

    def open(self, procedure_name: str, protocol: str, request_id: str | None) -> Call:
        """Begin a call. Takes over the caller's `x-request-id` where it is well-formed."""
        return Call(procedure_name, protocol, usable_request_id(request_id), started=time.perf_counter())

    def admit(self, call: Call, ctx: Context) -> None:
        """Authenticate and authorise on the headers alone. Sets the call's caller.

        Raises:
            DashkeeperError: If the call isn't allowed.
        """
        claims = self._authenticator.authenticate(ctx.request_headers)
        call.caller = authorise(call.procedure, ctx.request_headers, claims)

    async def answer(self, call: Call, ctx: Context, body: bytes, encoding: Encoding) -> bytes:
        """Decode the body, validate it, call the service's method and encode its answer.

        Raises:
            DashkeeperError: If something is wrong with the request.
            Exception: Whatever else happened; `fail` hides it.
        """
        call.request_bytes = len(body)
        message = self._methods[call.procedure].input.type
        request = decode(body, encoding, message, max_bytes=self.max_request_bytes)
        reply = encode(await self.perform(call, ctx, request), encoding)
        call.reply_bytes = len(reply)
        return reply

    async def perform(self, call: Call, ctx: Context, request: Message) -> Any:
        """Validate a decoded request and call the method that takes it: the call's own, or one that reads.

        Raises:
            DashkeeperError: If something is wrong with the request.
            Exception: Whatever else happened; `fail` hides it.
        """
        if call.caller is None:  # an adapter forgot to admit: refuse rather than serve
            raise UnauthenticatedError("not admitted")
        procedure_name, service, function_name = self._functions[request.desc().type_name]
        if procedure_name != call.procedure and REQUIRED_SCOPE[procedure_name] != READ:
            # Whoever may write may read too; nothing else may be called on the way.
            raise RuntimeError(f"{call.procedure} must not call {procedure_name}")
        validate(request)
        call.change_message = getattr(request, "change_message", call.change_message)
        return await getattr(service.acting_for(call.caller), function_name)(request, ctx)

    def fail(self, call: Call, error: BaseException) -> DashkeeperError:
        """Return what the caller is told of an error, and remember it for the report.

        An unforeseen one is logged with its traceback and becomes "internal error".
        """
        match error:
            case DashkeeperError():
                known = error
            case ConnectError(__cause__=DashkeeperError() as cause):
                known = cause  # raised where the library asked us, such as to decompress
            case ConnectError():
                known = self._refusal_of_the_library(error)
            case asyncio.CancelledError():
                known = CanceledError()
            case TimeoutError():
                known = DeadlineExceededError()
            case _:
                log.error("unforeseen error, request id %s", call.request_id, exc_info=error)
                known = InternalError()
        if isinstance(known, UnauthenticatedError):
            call.refusal = known.cause
        call.error = known
        return known

    def close(self, call: Call) -> None:
        """Report a finished call: the one place that does."""
        if not calls_log.isEnabledFor(logging.INFO):
            return
        caller = call.caller
        calls_log.info(
            "call",
            extra={
                "request_id": call.request_id,
                "method": call.procedure[:_MAX_LOGGED_PATH],
                "protocol": call.protocol,
                "project": caller.project_id if caller else "",
                "subject": caller.subject if caller else "",
                "code": call.error.CODE.value if call.error else "ok",
                "duration_ms": round((time.perf_counter() - call.started) * 1000, 3),
                "request_bytes": call.request_bytes,
                "reply_bytes": call.reply_bytes,
                **({"change_message": call.change_message} if call.change_message else {}),
                **({"refusal": call.refusal} if call.refusal else {}),
            },
        )

    def _refusal_of_the_library(self, error: ConnectError) -> DashkeeperError:
        """Give what connectrpc itself refuses, such as an unknown compression, our form."""
        match error.code:
            case Code.DEADLINE_EXCEEDED:
                return DeadlineExceededError()
            case Code.CANCELED:
                return CanceledError()
            case Code.INVALID_ARGUMENT:
                return InvalidRequestError(error.message, reason="MALFORMED_REQUEST")
            case Code.RESOURCE_EXHAUSTED:
                return too_large(self.max_request_bytes)
            case Code.UNIMPLEMENTED:
                return UnimplementedError(error.message, reason="UNIMPLEMENTED")
            case _:
                return InternalError()


def usable_request_id(given: str | None) -> str:
    """Return the caller's request id where it is well-formed, else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
