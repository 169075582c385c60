"""What attacks on a server are made of, and the proof that they did no harm."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.api import TRANSPORTS, Api
from tests.server import make_token

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from tests.server import RunningServer

PROJECT = "attacked"
SERVICE = "/dashboards.v1.DashboardsService"
MIB = 1 << 20
CPU_SECONDS, MEMORY_MIB, WAIT_SECONDS = 1.5, 200, 10
"""The most that one request may cost the server, and the longest that another caller may wait meanwhile."""
LEAKS = ("Traceback", 'File "', ".py", "SELECT", "INSERT", "sqlite", "sqlalchemy")


@contextlib.contextmanager
def unharmed(server: RunningServer) -> Generator[dict[str, Api]]:
    """Give a client for each transport; at the end the server lives, answers, and has logged no error."""
    apis = {name: Api(server, name, make_token(PROJECT), PROJECT) for name in TRANSPORTS}
    apis["grpc"].call("Upsert", {"dashboardId": "a", "allowMissing": True, "name": "a"})
    seen = len(server.log_records())
    try:
        yield apis
        assert server.process.poll() is None, "the server's process has ended"
        codes = {name: api.call("Get", {"id": "a"}).code for name, api in apis.items()}
        assert codes == dict.fromkeys(apis, "ok")
        assert [record for record in server.log_records()[seen:] if record["level"] == "error"] == []
    finally:
        for api in apis.values():
            api.close()


@contextlib.contextmanager
def at_little_cost(server: RunningServer) -> Generator[None]:
    """Bound what the block costs the server (on Linux), and how long another caller waits meanwhile.

    The cost is processor time, which doesn't depend on what else the machine does.
    """
    proc = Path(f"/proc/{server.process.pid}")
    other = Api(server, "connect-json", make_token(PROJECT), PROJECT)
    waits: list[float] = []
    done = threading.Event()

    def keep_calling() -> None:
        while not waits or not done.wait(0.05):
            started = time.monotonic()
            other.call("Get", {"id": "a"})
            waits.append(time.monotonic() - started)

    def cpu_seconds() -> float:
        times = (proc / "stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(name: str) -> int:
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return int(status[name].split()[0]) >> 10

    has_proc = proc.exists()
    cpu_before, memory_before = 0.0, 0
    if has_proc:
        (proc / "clear_refs").write_text("5")  # the peak begins anew
        cpu_before, memory_before = cpu_seconds(), memory_mib("VmRSS")
    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        yield
    finally:
        done.set()
        caller.join()
        other.close()
    if has_proc:
        assert cpu_seconds() - cpu_before < CPU_SECONDS
        assert memory_mib("VmHWM") - memory_before < MEMORY_MIB
    assert max(waits) < WAIT_SECONDS


def bearer() -> dict[str, str]:
    """Return the headers of a caller who may do everything in the project."""
    return {"authorization": f"Bearer {make_token(PROJECT)}", "x-project-id": PROJECT}


def assert_clean(text: str) -> None:
    """Find no trace of the server's inner life in an answer."""
    assert [leak for leak in LEAKS if leak in text] == []


def varint(number: int) -> bytes:
    content = b""
    while number > 0x7F:
        content += bytes([number & 0x7F | 0x80])
        number >>= 7
    return content + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """Write a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def raw_http(server: RunningServer, *parts: bytes) -> bytes:
    """Send bytes as they are, and return what comes back until the server closes."""
    address = httpx.URL(server.http)
    answer = b""
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        with contextlib.suppress(OSError):  # it may refuse before it has everything
            for part in parts:
                connection.sendall(part)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                answer += chunk
    return answer


def grpc_web(server: RunningServer, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """Send a gRPC-Web body as it stands to Get; return the headers and trailers of its answer."""
    answer = httpx.post(
        f"{server.http}{SERVICE}/Get",
        content=body,
        headers={"content-type": "application/grpc-web+proto", **bearer(), **headers},
        timeout=60,
    )
    assert answer.status_code == 200
    if "grpc-status" in answer.headers:
        return dict(answer.headers)
    lines = answer.content[answer.content.index(b"grpc-status:") :].decode().splitlines()
    trailers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {**answer.headers, **trailers}
