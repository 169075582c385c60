"""The blocking client."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import grpc

from dashkeeper_client.calls import Defaults, Prepared, with_request_id
from dashkeeper_client.channel import channel_credentials, channel_options, is_local
from dashkeeper_client.gen.dashboards.v1.dashboards_pb2_grpc import DashboardsServiceStub
from dashkeeper_client.gen.registrations.v1.registrations_pb2_grpc import RegistrationsServiceStub
from dashkeeper_client.tokens import Asked, checked, in_thread, too_late

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    # The stub's name for a call that is a future too; nothing public has it.
    from grpc import _CallFuture as CallFuture  # pyright: ignore[reportPrivateUsage]

Request = TypeVar("Request")
Response = TypeVar("Response")


def connect(
    target: str,
    *,
    token: str | Callable[[], str],
    project_id: str,
    timeout: float = 30,
    credentials: grpc.ChannelCredentials | None = None,
    insecure: bool = False,
    options: Sequence[tuple[str, int | str]] = (),
) -> Client:
    """Make a client; it connects with its first call.

    Args:
        target: As gRPC names it: `host:port`, `dns:///host:port`, `ipv4:10.0.0.1:50051,10.0.0.2:50051`,
            `unix:/path`. Calls go to all its addresses in turn.
        token: The JWT, or what returns one. That is asked with the first call, in a thread of its own, and
            again when the server refuses what it returned; the refused call is then sent once more.
        project_id: The project of the calls; the metadata `x-project-id` of a call overrides it.
        timeout: Seconds that a call may take, all its attempts together; a call's own `timeout` overrides it.
        credentials: What encrypts, from `grpc.ssl_channel_credentials`. Without, it is TLS by gRPC's own
            certificates of authorities; targets on this machine, by loopback or a Unix socket, are
            spoken to in plaintext.
        insecure: Whether plaintext, the token with it, may go over the network.
        options: More options of the channel, or other ones.
    """
    encryption = channel_credentials(target, credentials, insecure=insecure)
    all_options = channel_options(options, is_local=is_local(target))
    if encryption is None:
        channel = grpc.insecure_channel(target, all_options)
    else:
        channel = grpc.secure_channel(target, encryption, all_options)
    defaults = Defaults(project_id, timeout, is_encrypted=encryption is not None)
    return Client(channel, _Interceptor(defaults, _Tokens(token, timeout)))


class Client:
    """The services, as gRPC's own stubs: `client.dashboards.Get(GetRequest(id="growth"))`."""

    def __init__(self, channel: grpc.Channel, interceptor: _Interceptor) -> None:
        self._channel = channel
        self._interceptor = interceptor
        intercepted = grpc.intercept_channel(channel, interceptor)
        self.dashboards = DashboardsServiceStub(intercepted)
        self.registrations = RegistrationsServiceStub(intercepted)

    def close(self) -> None:
        """Close the connections; calls in flight are cancelled, and later ones raise ValueError."""
        self._interceptor.is_closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Tokens:
    """The token, kept until the server refuses it."""

    def __init__(self, source: str | Callable[[], str], patience: float) -> None:
        self._source = source
        self._patience = patience
        self._lock = threading.Lock()
        self._asked: Asked[Future[str]] | None = None

    def get(self, seconds: float) -> str:
        """Return the token, if it comes within so many seconds."""
        source = self._source
        if isinstance(source, str):
            return checked(source)
        with self._lock:
            if self._asked is None or not self._asked.is_of_use():
                self._asked = Asked(in_thread(lambda: checked(source())), self._patience)
            answer = self._asked.answer
        if not wait([answer], seconds).done:
            raise too_late()
        return answer.result()

    def refuse(self, token: str) -> bool:
        """Forget a token, unless another call has done so; return whether there may be a new one."""
        with self._lock:
            if self._asked is not None and self._asked.is_token(token):
                self._asked = None
        return not isinstance(self._source, str)


@dataclass
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Interceptor(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, defaults: Defaults, tokens: _Tokens) -> None:
        self._defaults = defaults
        self._tokens = tokens
        self.is_closed = False

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Request], CallFuture[Response]],
        client_call_details: grpc.ClientCallDetails,
        request: Request,
    ) -> CallFuture[Response]:
        details = client_call_details
        request = with_request_id(request)
        prepared = Prepared(self._defaults, details.timeout, details.metadata, details.credentials)

        def send() -> tuple[CallFuture[Response], bool]:
            token = self._tokens.get(prepared.seconds_left())
            if self.is_closed:
                raise ValueError("the client is closed")  # gRPC's own interceptors crash the process here
            sent = _CallDetails(
                details.method, *prepared.head(token), details.wait_for_ready, details.compression
            )
            call = continuation(sent, request)

            def is_to_be_repeated() -> bool:
                return call.code() is grpc.StatusCode.UNAUTHENTICATED and self._tokens.refuse(token)

            def forget_refused(_: grpc.Future[Response]) -> None:
                is_to_be_repeated()

            if call.done():
                return call, is_to_be_repeated()
            # A `future` must not wait here. It isn't repeated, but the next call has a new token.
            call.add_done_callback(forget_refused)
            return call, False

        call, is_to_be_repeated = send()
        if is_to_be_repeated:
            call, _ = send()
        return call
