"""What stands between client and server: an ingress that ends TLS, a network that loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Proxy:
    """Passes bytes on to a server; its answers can be held back, and its connections cut."""

    def __init__(self, address: str) -> None:
        self.address = ""
        """Where it listens."""
        self.passes_answers = asyncio.Event()
        self.passes_answers.set()
        self._host, _, self._port = address.rpartition(":")
        self._writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        """Cut every connection, with what was held back; later ones are passed on."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.passes_answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        server_reader, server_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, server_writer]
        answers = self._pass_on(server_reader, writer, self.passes_answers)
        await asyncio.gather(self._pass_on(reader, server_writer), answers)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event | None = None
    ) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                if passes is not None:
                    await passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy_of(address: str, context: ssl.SSLContext | None = None) -> AsyncGenerator[Proxy]:
    """Run a proxy in front of `host:port`, with TLS if there are settings for it."""
    proxy = Proxy(address)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        proxy.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield proxy
        proxy.cut()
