"""Many clients at once through two servers on one database: some order of whole calls explains it all.

Every client does random calls, sends some of them twice (also at once, one to each server), and some
under the request id of another call. In the middle, one server is killed and another one started. Each
answer is then to be explained by an order of whole calls, and so is all that is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import uuid
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.api import Api, Reply
from tests.dashboard_calls import DashboardWorkload
from tests.history_checker import Answer, Call, Json, explain
from tests.postgresql import cut_connections
from tests.registration_calls import RegistrationWorkload
from tests.server import make_token, running_server
from tests.stores import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from protobuf import DescService

    from tests.server import RunningServer
    from tests.workload import Workload

log = logging.getLogger(__name__)

CALLS = int(os.environ.get("TEST_LINEARIZABILITY_CALLS") or 80)
"""How many each client does."""
SEED = os.environ.get("TEST_LINEARIZABILITY_SEED") or uuid.uuid4().hex
TRANSPORTS = ("grpc", "connect-json", "grpc", "connect-proto", "grpc", "grpc-web", "grpc", "connect-json")
"""One a client."""
UNKNOWN = {"unavailable", "deadline_exceeded", "canceled"}
"""Codes that leave open whether anything was written."""


class History:
    """What happened to each resource, as its callers saw it."""

    def __init__(self, workload: Workload) -> None:
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        """By resource."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Of answers, by method and code or reason."""
        self.unanswered = 0
        self._workload = workload
        self._lock = threading.Lock()

    def call(self, api: Api, method: str, request: Json) -> Reply | None:
        """Do a call; return None where nobody knows what became of it."""
        start = time.monotonic()
        try:
            reply = api.call(method, request)
        except httpx.TransportError:
            reply = Reply("unavailable")
        end = time.monotonic()
        with self._lock:
            self.counts[method, reply.reason or reply.code] += 1
            self.unanswered += reply.code in UNKNOWN
        if reply.code in UNKNOWN:
            if method in self._workload.writes:
                self._add(Call(method, request, start))
            return None
        # That others kept coming between may be said at any time, if only nothing was written.
        if reply.reason != "TOO_MANY_CONFLICTS":
            answer = Answer(reply.code, reply.body, reply.reason, reply.metadata)
            self._add(Call(method, request, start, end, answer))
        return reply

    def do(self, api: Api, method: str, request: Json) -> Reply:
        """Do a call, again until it is answered: a connection that was cut is found out when it is used."""
        while (reply := self.call(api, method, request)) is None:
            pass
        return reply

    def _add(self, call: Call) -> None:
        with self._lock:
            for name, parts in self._workload.parts(call).items():
                self.calls[name] += parts

    def read_all(self, apis: Sequence[Api]) -> None:
        """Read all there is of each resource through each server."""
        dos = [partial(self.do, api) for api in apis]
        for name in [*self.calls]:
            self.calls[name] += self._workload.read_all(name, dos)

    def explain(self) -> None:
        """Find an order that explains the calls, for each resource.

        Raises:
            UnexplainedError: If there is none.
        """
        steps, start = 0, time.monotonic()
        for name, calls in self.calls.items():
            steps += explain(calls, self._workload.model(name, calls)).steps
        log.info(
            "explained %d calls of %d resources in %.1f s, in %d steps: %s",
            self.counts.total(),
            len(self.calls),
            time.monotonic() - start,
            steps,
            {" ".join(key): count for key, count in sorted(self.counts.items())},
        )


class Servers:
    """Two servers on one database, and each client's way to them."""

    def __init__(self, url: str, folder: Path, project_id: str, service: DescService) -> None:
        self.url = url
        self.apis: list[list[Api]] = [[] for _ in TRANSPORTS]
        """Of each client, one a server."""
        self._folder = folder
        self._project_id = project_id
        self._service = service
        self._running: deque[RunningServer] = deque()
        self._open = contextlib.ExitStack()

    def start(self) -> None:
        settings = {"DATABASE_URL": self.url, "REVISIONS_KEPT": "1000000"}
        folder = self._folder / uuid.uuid4().hex
        server = self._open.enter_context(running_server(folder, **settings))
        token = make_token(self._project_id)
        for transport, apis in zip(TRANSPORTS, self.apis, strict=True):
            api = Api(server, transport, token, self._project_id, self._service)
            self._open.callback(api.close)
            apis.append(api)
        self._running.append(server)

    def kill(self) -> None:
        """Kill the one that was started first."""
        self._running.popleft().kill()
        for apis in self.apis:
            del apis[0]

    def close(self) -> None:
        self._open.close()


@pytest.fixture(params=[DashboardWorkload, RegistrationWorkload], ids=["dashboards", "registrations"])
def workload(request: pytest.FixtureRequest) -> Workload:
    return request.param()


@pytest.fixture
def servers(empty_url: str, tmp_path: Path, project_id: str, workload: Workload) -> Iterator[Servers]:
    asyncio.run(migrate(empty_url))
    made = Servers(empty_url, tmp_path, project_id, workload.service)
    with contextlib.closing(made):
        made.start()
        made.start()
        yield made


class Client:
    """One of the callers: takes one server or the other for each call."""

    def __init__(
        self,
        number: int,
        apis: Sequence[Api],
        workload: Workload,
        history: History,
        sent: deque[tuple[str, Json]],
    ) -> None:
        self._number = number
        self._apis = apis
        self._history = history
        self._sent = sent  # the last calls with a request id, of any client
        self._random = Random(f"{SEED} {number}")  # noqa: S311 # that can be had again
        self._calls = workload.calls(self._random)

    def run(self) -> None:
        with ThreadPoolExecutor(2) as threads:
            for number in range(CALLS):
                self._act(threads, f"client {self._number} call {number}")

    def _act(self, threads: ThreadPoolExecutor, title: str) -> None:
        apis, random = list(self._apis), self._random
        if self._sent and random.random() < 0.12:
            method, request = random.choice(list(self._sent))
            if random.random() < 0.25:
                request = {**request, "changeMessage": title}  # another call under its id
            self._history.call(random.choice(apis), method, request)
            return
        method, request = self._calls.next(title)
        if "requestId" in request:
            self._sent.append((method, request))
            if random.random() < 0.5:
                twins = [threads.submit(self._history.call, api, method, request) for api in apis]
                replies = [twin.result() for twin in twins]
            else:
                replies = [self._history.call(random.choice(apis), method, request)]
            if None in replies:  # nobody knows: the same call again finds out
                replies = [self._history.call(random.choice(apis), method, request)]
        else:
            replies = [self._history.call(random.choice(apis), method, request)]
        for reply in replies:
            self._calls.learn(request, reply.body if reply is not None else {})


def run_clients(servers: Servers, workload: Workload, history: History) -> None:
    """Have all clients do their calls; kill a server and cut connections meanwhile."""
    sent: deque[tuple[str, Json]] = deque(maxlen=40)
    clients = [Client(number, apis, workload, history, sent) for number, apis in enumerate(servers.apis)]
    with ThreadPoolExecutor(len(clients)) as threads:
        running = [threads.submit(client.run) for client in clients]

        def wait_for(share: float) -> None:
            while history.counts.total() < share * CALLS * len(clients):
                if all(client.done() for client in running):
                    return
                time.sleep(0.01)  # between two looks

        wait_for(0.5)
        assert history.unanswered == 0, history.counts
        servers.kill()
        servers.start()
        wait_for(0.8)
        if servers.url.startswith("postgresql"):
            asyncio.run(cut_connections(servers.url))
        for client in running:
            client.result()


def test_calls_at_once_through_two_servers_are_explained_by_an_order_of_whole_calls(
    servers: Servers, workload: Workload
) -> None:
    history = History(workload)
    try:
        workload.begin(partial(history.do, servers.apis[0][0]))
        run_clients(servers, workload, history)
        history.read_all(servers.apis[0])
        history.explain()
    except AssertionError as error:
        error.add_note(f"for the same calls again: TEST_LINEARIZABILITY_SEED={SEED}")
        raise
