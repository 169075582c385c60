"""A connection on which a test says each byte, and reads each answer."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from tests.server import RunningServer

PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """One answer, as it stood on the wire."""

    status: int
    version: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """Connects at once. As a context, closes at the end."""

    def __init__(self, server: RunningServer) -> None:
        address = httpx.URL(server.http)
        self._server = server
        self._got = b""
        self.socket = socket.create_connection((address.host, address.port or 80), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> Self:
        """Send each part in a segment of its own: the server has read one before the next is sent."""
        for number, part in enumerate(parts):
            if number:
                self.wait_until_read()
            self.socket.sendall(part)
        return self

    def wait_until_read(self) -> None:
        """Wait until the server has read what was sent: it has answered another, who came later."""
        for _ in range(2):
            assert httpx.get(f"{self._server.http}/healthz").status_code == 200

    def half_close(self) -> Self:
        """Send nothing more, but go on reading."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def answer(self) -> Answer:
        """Read one answer."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = head[0].split(" ", 2)
        headers: dict[str, str] = {}
        for line in filter(None, head[1:]):
            name, _, value = line.partition(": ")
            name = name.lower()
            assert name not in headers, f"a header twice: {head}"
            headers[name] = value
        if int(status) < 200:
            return self.answer()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self._exactly(size + 2)[:-2]
            self._until(b"\r\n")
        else:
            body = self._exactly(int(headers.get("content-length", "0")))
        return Answer(int(status), version, headers, body)

    def rest(self) -> bytes:
        """Read until the server closes."""
        try:
            while chunk := self.socket.recv(65_536):
                self._got += chunk
        except ConnectionResetError:
            self._got += b"(reset)"
        got, self._got = self._got, b""
        return got

    def _until(self, end: bytes) -> bytes:
        while end not in self._got:
            self._more()
        found, _, self._got = self._got.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes:
        while len(self._got) < size:
            self._more()
        found, self._got = self._got[:size], self._got[size:]
        return found

    def _more(self) -> None:
        chunk = self.socket.recv(65_536)
        assert chunk, f"the server closed after {self._got!r}"
        self._got += chunk


def connected_ports(server: RunningServer, address: str | None = None) -> set[int]:
    """Return the ports of the clients the server has connections with, by default for HTTP (on Linux)."""
    port = int((address or server.http).rpartition(":")[2])
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {
        int(row[2].split(":")[1], 16)
        for row in rows
        if int(row[1].split(":")[1], 16) == port and row[3] in {"01", "08"}  # established, close-wait
    }


def head(method: str, target: str, *lines: str, version: str = "HTTP/1.1", host: str = "a") -> bytes:
    """Write a request's head."""
    return "\r\n".join([f"{method} {target} {version}", f"host: {host}", *lines, "", ""]).encode("latin-1")


def chunked(*parts: bytes) -> bytes:
    """Write a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))
