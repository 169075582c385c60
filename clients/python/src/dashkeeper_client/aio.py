"""The client for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
import grpc.aio

from dashkeeper_client.calls import Defaults, Prepared, with_request_id
from dashkeeper_client.channel import channel_credentials, channel_options, is_local
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2_grpc import DashboardsServiceStub
from dashkeeper_client.gen.registrations.v1.registrations_pb2_grpc import RegistrationsServiceStub
from dashkeeper_client.tokens import Asked, checked, in_thread, too_late

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

Request = TypeVar("Request")
Response = TypeVar("Response")


def connect(
    target: str,
    *,
    token: str | Callable[[], str | Awaitable[str]],
    project_id: str,
    timeout: float = 30,
    credentials: grpc.ChannelCredentials | None = None,
    insecure: bool = False,
    options: Sequence[tuple[str, int | str]] = (),
) -> Client:
    """Make a client for the running event loop: `dashkeeper_client.connect` says what the arguments are.

    What returns a token may be a coroutine function; another is called in a thread of its own.
    """
    encryption = channel_credentials(target, credentials, insecure=insecure)
    all_options = channel_options(options, is_local=is_local(target))
    defaults = Defaults(project_id, timeout, is_encrypted=encryption is not None)
    interceptors = [_Interceptor(defaults, _Tokens(token, timeout))]
    if encryption is None:
        return Client(grpc.aio.insecure_channel(target, all_options, interceptors=interceptors))
    return Client(grpc.aio.secure_channel(target, encryption, all_options, interceptors=interceptors))


class Client:
    """The services, as gRPC's own stubs: `await client.dashboards.Get(GetRequest(id="growth"))`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.dashboards = DashboardsServiceStub(channel)
        self.registrations = RegistrationsServiceStub(channel)

    async def close(self) -> None:
        """Close the connections; calls in flight are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class _Tokens:
    """The token, kept until the server refuses it."""

    def __init__(self, source: str | Callable[[], str | Awaitable[str]], patience: float) -> None:
        self._source = source
        self._patience = patience
        self._asked: Asked[asyncio.Task[str]] | None = None

    async def get(self, seconds: float) -> str:
        """Return the token, if it comes within so many seconds."""
        source = self._source
        if isinstance(source, str):
            return checked(source)
        if self._asked is None or not self._asked.is_of_use():
            task = asyncio.ensure_future(_ask(source))
            task.add_done_callback(_look_at)
            self._asked = Asked(task, self._patience)
        # Not cancelled with the call: others wait for it too.
        done, _ = await asyncio.wait([self._asked.answer], timeout=seconds)
        if not done:
            raise too_late()
        return done.pop().result()

    def refuse(self, token: str) -> bool:
        """Forget a token, unless another call has done so; return whether there may be a new one."""
        if self._asked is not None and self._asked.is_token(token):
            self._asked = None
        return not isinstance(self._source, str)


def _look_at(task: asyncio.Task[str]) -> None:
    """Let asyncio not log an error that came when no call waited for it any more."""
    if not task.cancelled():
        task.exception()


async def _ask(source: Callable[[], str | Awaitable[str]]) -> str:
    """Return a source's token; a function that isn't a coroutine's may block, and holds up only itself."""
    if inspect.iscoroutinefunction(source):
        return checked(await source())
    answer = await asyncio.wrap_future(in_thread(source))
    return checked(await answer if inspect.isawaitable(answer) else answer)


class _Interceptor(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, defaults: Defaults, tokens: _Tokens) -> None:
        self._defaults = defaults
        self._tokens = tokens

    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, Request], Awaitable[grpc.aio.UnaryUnaryCall[Request, Response]]
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Request,
    ) -> grpc.aio.UnaryUnaryCall[Request, Response]:
        details = client_call_details
        request = with_request_id(request)
        prepared = Prepared(self._defaults, details.timeout, details.metadata, details.credentials)

        async def send() -> tuple[grpc.aio.UnaryUnaryCall[Request, Response], bool]:
            token = await self._tokens.get(prepared.seconds_left())
            timeout, metadata, credentials = prepared.head(token)
            sent = grpc.aio.ClientCallDetails(
                details.method, timeout, grpc.aio.Metadata(*metadata), credentials, details.wait_for_ready
            )
            call = await continuation(sent, request)
            try:
                await call  # waiting for its code may hang, and cancelled leaves the call running
            except grpc.aio.AioRpcError as error:
                is_refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
                return call, is_refused and self._tokens.refuse(token)
            return call, False

        call, is_to_be_repeated = await send()
        if is_to_be_repeated:
            call, _ = await send()
        return call
