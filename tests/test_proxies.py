"""nginx and HAProxy in front of both listeners, configured as docs/operations.md says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.api import TRANSPORTS, Api
from tests.cluster import free_port
from tests.server import make_token, running_server
from tests.wire import Wire, connected_ports, head

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.server import RunningServer

DOCUMENT = Path(__file__).parents[1] / "docs" / "operations.md"
PROGRAMS = ("nginx", "haproxy")
KEEP_ALIVE, POOL = 2, 1
"""Seconds an idle connection is kept by the server, and by the proxy."""
PAUSES = [0, *(about + by for about in (POOL, KEEP_ALIVE) for by in (-0.02, 0, 0.02))]
SERVICE = "/dashboards.v1.DashboardsService"
NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    %s
}
"""


class Front(NamedTuple):
    """A proxy, and the server behind it."""

    server: RunningServer
    """Its addresses are the proxy's."""
    behind: RunningServer


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("behind"), KEEP_ALIVE=f"{KEEP_ALIVE}s") as server:
        yield server


@pytest.fixture(scope="module", params=PROGRAMS)
def front(
    request: pytest.FixtureRequest, behind: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    with proxy(request.param, behind, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(params=PROGRAMS)
def impatient(request: pytest.FixtureRequest, behind: RunningServer, tmp_path: Path) -> Iterator[Front]:
    """A proxy that gives idle connections up well before the server does."""
    # HAProxy gives up half of them each time: all of these few in less than a second.
    with proxy(request.param, behind, tmp_path, option="pool-purge-delay 200ms") as running:
        yield running


@contextlib.contextmanager
def proxy(
    program: str, behind: RunningServer, folder: Path, rule: str = "", option: str = ""
) -> Generator[Front]:
    """Run a proxy in front of a server, with a rule of nginx or an option of HAProxy's server more."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is missing: install it, on Debian by `apt-get install {program}`")
    found = re.search(rf"```{program}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{DOCUMENT.name} has no configuration of {program}"
    http, grpc = free_port(), free_port()
    addresses = {
        "127.0.0.1:8080": behind.http.removeprefix("http://"),
        "127.0.0.1:50051": behind.grpc,
        "127.0.0.1:80": f"127.0.0.1:{http}",
        "127.0.0.1:81": f"127.0.0.1:{grpc}",
        "keepalive 32;": f"keepalive 32; keepalive_timeout {POOL}s;",
        " check": f" check {option}",
    }
    text = re.sub("|".join(map(re.escape, addresses)), lambda match: addresses[match[0]], found[1])
    file = folder / "configuration"
    if program == "nginx":
        file.write_text(NGINX % text.replace("    location / {", f"    {rule}\n    location / {{", 1))
        command = [path, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    else:
        file.write_text(text)
        command = [path, "-db", "-f", str(file)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        deadline = time.monotonic() + 30
        for port in (http, grpc):
            while True:
                assert process.poll() is None, (folder / "log").read_text()
                with (
                    contextlib.suppress(ConnectionRefusedError),
                    socket.create_connection(("127.0.0.1", port)),
                ):
                    break
                assert time.monotonic() < deadline
                time.sleep(0.02)  # between two tries
        server = type(behind)(
            behind.process,
            behind.folder,
            f"http://127.0.0.1:{http}",
            f"127.0.0.1:{grpc}",
            behind.database_url,
        )
        yield Front(server, behind)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=TRANSPORTS)
def api(request: pytest.FixtureRequest, front: Front, project_id: str) -> Iterator[Api]:
    client = Api(front.server, request.param, make_token(project_id), project_id)
    yield client
    client.close()


def test_calls_and_errors_pass_through(api: Api) -> None:
    created = api.call("Create", {"dashboardId": "a", "name": "a"})
    assert (created.code, created.dashboard["name"]) == ("ok", "a")
    missing = api.call("Get", {"id": "b"})
    assert (missing.code, bool(missing.request_id)) == ("not_found", True)
    wrong = api.call("Get", {})
    assert (wrong.code, set(wrong.violations)) == ("invalid_argument", {"id"})


def test_connections_to_the_server_are_used_again(front: Front, api: Api) -> None:
    address = front.behind.grpc if api.transport == "grpc" else front.behind.http
    assert api.call("Create", {"dashboardId": "a", "name": "a"}).code == "ok"
    before = connected_ports(front.behind, address)
    for number in range(20):
        assert api.call("Create", {"name": str(number)}).code == "ok"
    assert before
    assert connected_ports(front.behind, address) <= before


def test_writes_with_pauses_as_long_as_connections_are_kept_are_answered(
    impatient: Front, project_id: str
) -> None:
    def write(transport: str) -> list[str]:
        api = Api(impatient.server, transport, make_token(project_id), project_id)
        codes: list[str] = []
        for pause in PAUSES:
            time.sleep(pause)  # this is what is tried
            codes.append(api.call("Create", {"name": "a"}).code)
        api.close()
        return codes

    with ThreadPoolExecutor() as threads:
        results = list(threads.map(write, TRANSPORTS))
    assert results == [["ok"] * len(PAUSES)] * len(TRANSPORTS)


def test_upgrade_through_nginx_does_not_pass_a_rule_by(
    behind: RunningServer, tmp_path: Path, project_id: str
) -> None:
    passes_on = (
        f"location {SERVICE}/Delete {{ return 403; }}\n"
        f"location {SERVICE}/Get {{ proxy_pass http://dashkeeper_http; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade;"
        " proxy_request_buffering off; }"
    )
    direct = Api(behind, "connect-json", make_token(project_id), project_id)
    assert direct.call("Create", {"dashboardId": "a", "name": "a"}).code == "ok"
    lines = (
        f"authorization: Bearer {make_token(project_id)}",
        f"x-project-id: {project_id}",
        "content-type: application/json",
    )
    hidden = head("POST", f"{SERVICE}/Delete", *lines, "content-length: 10") + b'{"id":"a"}'
    upgrade = ("connection: Upgrade", "upgrade: h2c")
    carrier = head("POST", f"{SERVICE}/Get", *lines, *upgrade, f"content-length: {len(hidden)}")
    with proxy("nginx", behind, tmp_path, passes_on) as front:
        with Wire(front.server) as wire:
            wire.send(hidden)
            assert wire.answer().status == 403
        with Wire(front.server) as wire:
            wire.send(carrier, hidden)
            answer = wire.answer()
            assert answer.status == 400, answer.body  # the body isn't JSON
            assert wire.send(head("GET", "/healthz")).answer().status == 200
    assert direct.call("Get", {"id": "a"}).code == "ok"
    direct.close()
