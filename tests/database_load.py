"""Load on a server whose database fails: what every call is answered, and how soon."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Self

import httpx

from tests.load import STEPS, WRITERS, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType

    from tests.api import Api, Reply
    from tests.cluster import Cluster
    from tests.load import Attempt
    from tests.server import RunningServer

WAIT_SECONDS = 60
DEADLINE_SECONDS = 20
"""Of each call: above the 10 s that a call waits for a connection and the 5 s that making one takes."""
READS = ("Get", "List", "ListRevisions")
_ABANDONED = ("Create", "Upsert", "Update")
"""What half of the writers doesn't repeat when it is refused; the steps after a Delete rest on it."""


@dataclass(frozen=True)
class Answer:
    """What a call was told, and when."""

    method: str
    code: str
    reason: str
    seconds: float


class Load:
    """Five writers, a reader and a look at /readyz, each on a thread, until the end of the with block.

    Even writers repeat what is refused, under its request id, until it is acknowledged; odd ones go on.
    """

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.writers = [Writer(number) for number in range(len(WRITERS))]
        self.answers: list[Answer] = []
        self.readiness: list[int] = []
        """What /readyz answered, one status after another."""
        self._ending = threading.Event()
        self._threads = ThreadPoolExecutor(len(WRITERS) + 2)
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._running = [self._threads.submit(self._write, writer) for writer in self.writers]
        self._running += [self._threads.submit(self._read), self._threads.submit(self._look)]
        self.wait_for_progress()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._threads.shutdown()
        if error is None:
            for thread in self._running:
                thread.result()

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for writer in self.writers for attempt in writer.attempts]

    @property
    def writes(self) -> list[Answer]:
        """The answers to writes."""
        return [answer for answer in self.answers if answer.method not in READS]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; fail if a thread failed before."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            for thread in self._running:
                if thread.done():
                    thread.result()
            assert time.monotonic() < deadline, self.answers[-20:]
            time.sleep(0.02)  # between two looks

    def wait_for_progress(self) -> None:
        """Wait until the server is ready and every writer has gone through all its steps once more."""
        goals = [(writer, len(_acknowledged(writer)) + len(STEPS)) for writer in self.writers]
        self.wait_until(lambda: all(len(_acknowledged(writer)) >= goal for writer, goal in goals))
        self.wait_until(lambda: self.readiness[-1:] == [200])

    def wait_for_refusals(self) -> None:
        """Wait until the server isn't ready and has refused writes and reads from now on."""
        seen = len(self.answers)

        def refused() -> bool:
            methods = {answer.method for answer in self.answers[seen:] if answer.code != "ok"}
            return "Get" in methods and len(methods) > 1 and self.readiness[-1:] == [503]

        self.wait_until(refused)

    def check(self, cluster: Cluster) -> None:
        """Fail unless every call succeeded or was UNAVAILABLE in time, and what is stored is right."""
        told = {(answer.code, answer.reason) for answer in self.answers}
        assert told == {("ok", ""), ("unavailable", "DATABASE_UNAVAILABLE")}
        assert max(answer.seconds for answer in self.answers) < DEADLINE_SECONDS
        stored = cluster.stored()
        stored.check_whole()
        stored.check_acknowledged(self.attempts)
        with contextlib.closing(self.writers[3].api(self.server)) as api:
            for attempt in self.attempts:
                if attempt.reply is None:
                    attempt.reply = api.call(attempt.method, attempt.request)
                    assert attempt.reply.code == "ok", attempt
            for attempt in (attempt for writer in self.writers for attempt in writer.attempts[-8:]):
                assert attempt.reply is not None
                assert api.call(attempt.method, attempt.request).body == attempt.reply.body
        stored = cluster.stored()
        stored.check_whole()
        stored.check_acknowledged(self.attempts)

    def _write(self, writer: Writer) -> None:
        with contextlib.closing(writer.api(self.server)) as api:
            while not self._ending.is_set() or len(writer.attempts) % len(STEPS):
                attempt = writer.begin()
                repeat = writer.number % 2 == 0 or attempt.method not in _ABANDONED
                while True:
                    reply = self._call(api, attempt.method, attempt.request)
                    if reply.code == "ok":
                        attempt.reply = reply
                        break
                    time.sleep(0.2)  # a client's pause
                    if not repeat:
                        break

    def _read(self) -> None:
        with contextlib.closing(Writer(1).api(self.server)) as api:
            for method in cycle(READS):
                if self._ending.is_set():
                    return
                self._call(api, method, {} if method == "List" else {"id": "shared"}, missing="not_found")
                time.sleep(0.01)  # leaves the processor to the writers

    def _look(self) -> None:
        with httpx.Client(base_url=self.server.http, timeout=30) as client:
            while not self._ending.is_set():
                self.readiness.append(client.get("/readyz").status_code)
                time.sleep(0.02)  # between two looks

    def _call(self, api: Api, method: str, request: dict[str, object], *, missing: str = "") -> Reply:
        started = time.monotonic()
        reply = api.call(method, request)
        if reply.code != missing:  # the reader may come before the first write
            self.answers.append(Answer(method, reply.code, reply.reason, time.monotonic() - started))
        return reply


def _acknowledged(writer: Writer) -> list[Attempt]:
    return [attempt for attempt in writer.attempts if attempt.reply is not None]
