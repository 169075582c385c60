"""A real server for tests: `dashkeeper serve` in a process of its own, on ports of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from tests import forks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator
    from pathlib import Path

SECRET = "a secret of the tests, long enough for HS512: 0123456789abcdefghijklmnopqrstuvwxyz"
ISSUER = "https://issuer.test"
AUDIENCE = "dashkeeper-tests"
STARTUP_SECONDS = 30
LOG_SECONDS = 30


@dataclass
class RunningServer:
    """A started server, and what a test needs to talk to it."""

    process: forks.Fork
    folder: Path
    http: str
    """`http://127.0.0.1:port`."""
    grpc: str
    """`127.0.0.1:port`."""
    database_url: str

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.folder / "dashkeeper.db"

    def log_records(self) -> list[dict[str, Any]]:
        """Return what the server has logged so far."""
        # Not splitlines, which also splits at characters that may stand in a text; the last may be half.
        lines = (self.folder / "log").read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged_call(self, request_id: str) -> dict[str, Any]:
        """Return the one line of a call."""
        (line,) = self.logged_calls(1, request_id=request_id)
        return line

    def logged_calls(self, count: int, **fields: str) -> list[dict[str, Any]]:
        """Return the lines of calls with these fields, once so many are there: one may follow its answer."""
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            calls = [record for record in self.log_records() if "duration_ms" in record]
            found = [call for call in calls if fields.items() <= call.items()]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.02)  # between two looks

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator would, by SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@contextlib.contextmanager
def running_server(folder: Path, **settings: str) -> Generator[RunningServer]:
    """Run a server on the database in this folder; settings by their names without the prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "log"
    defaults = {
        "DATABASE_URL": f"sqlite:///{folder / 'dashkeeper.db'}",
        "HTTP_ADDRESS": "127.0.0.1:0",
        "GRPC_ADDRESS": "127.0.0.1:0",
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "LOG_FORMAT": "json",
    }
    settings = defaults | settings
    log_path.write_bytes(b"")
    process = forks.Fork(["serve"], folder, forks.environment(**settings), stderr=log_path)
    server = RunningServer(process, folder, "", "", settings["DATABASE_URL"])
    try:
        deadline = time.monotonic() + STARTUP_SECONDS
        while not (server.http and server.grpc):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log_path.read_text(encoding='utf-8')}")
            time.sleep(0.02)  # between two looks at the log
            for record in server.log_records():
                kind, _, address = record["message"].partition(" is served on ")
                if kind == "HTTP":
                    server.http = f"http://{address}"
                elif kind == "gRPC":
                    server.grpc = address
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def purge(server: RunningServer, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `dashkeeper purge` beside the running server, on its database."""
    settings["DATABASE_URL"] = server.database_url
    return forks.run(["purge", *arguments], server.folder, **settings)


def make_token(
    *projects: str,
    scope: str = "dashboards:read dashboards:write",
    subject: str = "tester",
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Sign a token the test server takes; claims given as None are left out."""
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "exp": int(time.time()) + 3600,
        "projects": list(projects),
        "scope": scope,
    }
    payload |= claims
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)
