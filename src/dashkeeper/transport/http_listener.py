"""The HTTP listener: uvicorn, on sockets of ours, started and stopped by us."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, cast

import uvicorn

from dashkeeper.transport.addresses import bound_sockets, cannot_listen, remove_socket
from dashkeeper.transport.http1 import BoundedHttpProtocol
from dashkeeper.transport.http1_messages import Http1Messages

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Sequence
    from datetime import timedelta

    from starlette.types import ASGIApp

    from dashkeeper.config import Address

_BACKLOG = 2_048


class HttpListener:
    """Serves an ASGI application over HTTP/1.1."""

    def __init__(self, application: ASGIApp, *, keep_alive: timedelta, request_timeout: timedelta) -> None:
        protocol = functools.partial(BoundedHttpProtocol, request_timeout=request_timeout.total_seconds())
        self._server = _Server(
            uvicorn.Config(
                Http1Messages(application),
                http=cast("type[asyncio.Protocol]", protocol),
                timeout_keep_alive=int(keep_alive.total_seconds()),
                backlog=_BACKLOG,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing asks for the client's address or scheme
            )
        )
        self._address: Address | None = None
        self._sockets: Sequence[socket.socket] = ()
        self._serving: asyncio.Task[None] | None = None

    def bind(self, address: Address, setting: str) -> Address:
        """Take the address, and return it with the port that was taken.

        Raises:
            ConfigError: If it can't be used.
        """
        self._address, self._sockets = bound_sockets(address, setting)
        try:
            for one in self._sockets:
                one.listen(_BACKLOG)
        except OSError as error:
            raise cannot_listen(address, setting, error.strerror or str(error)) from error
        return self._address

    async def start(self) -> None:
        """Take calls from now on."""
        self._serving = asyncio.create_task(self._server.serve([*self._sockets]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({listening, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            listening.cancel()
            self._serving.result()

    async def stop(self, grace: int) -> None:
        """Take no new call, and wait up to `grace` seconds for calls in flight."""
        self._server.config.timeout_graceful_shutdown = grace
        self._server.should_exit = True
        try:
            if self._serving is not None:
                await self._serving
        finally:
            if self._address is not None:
                remove_socket(self._address)


class _Server(uvicorn.Server):
    """uvicorn, told when to stop by us instead of by signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.more_body:  # its request hasn't arrived whole: don't wait for it
                connection.transport.abort()
        await super().shutdown(sockets)
