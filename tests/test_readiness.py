"""A server says that it is ready where it can write, and a fault that stays never says "try again"."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from dashkeeper.errors import DashkeeperError, DatabaseFaultError, UnavailableError
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from dashkeeper.gen.grpc.health.v1.health_pb import HealthCheckRequest, HealthCheckResponse
from tests.api import Api
from tests.postgresql import run_sql
from tests.server import make_token, running_server
from tests.stores import CTX, create, make_store, migrate, service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cluster import Cluster
    from tests.server import RunningServer

READY_SECONDS = 30
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
Status = HealthCheckResponse.ServingStatus


@pytest.fixture
def powerless() -> Sequence[str]:
    """What runs a command as somebody whom file modes bind, root too."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []


def wait_until(server: RunningServer, code: int) -> str:
    """Wait until /readyz answers this code, and gRPC's health the same; return what /readyz says."""
    deadline = time.monotonic() + READY_SECONDS
    while (answer := httpx.get(f"{server.http}/readyz")).status_code != code:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)  # between two looks
    with grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.to_binary,
            response_deserializer=HealthCheckResponse.from_binary,
        )
        assert check(HealthCheckRequest()).status == (Status.SERVING if code == 200 else Status.NOT_SERVING)
    return answer.text


def refusal_of_a_write(server: RunningServer) -> httpx.Response:
    headers = {"authorization": f"Bearer {make_token('p')}", "x-project-id": "p"}
    url = f"{server.http}/dashboards.v1.DashboardsService/Create"
    return httpx.post(url, json={"name": "A", "dashboardId": "new"}, headers=headers)


@pytest.mark.parametrize("mode", ["file", "folder"])
def test_serve_on_a_sqlite_file_that_cannot_be_written_is_refused(
    tmp_path: Path, powerless: Sequence[str], mode: str
) -> None:
    path = tmp_path / "dashkeeper.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    path.chmod(0o444)
    if mode == "folder":
        tmp_path.chmod(0o555)
    done = subprocess.run(
        [*powerless, sys.executable, "-m", "dashkeeper", "serve", "--log-level", "error"],
        cwd=tmp_path,
        env={"DASHKEEPER_JWT_SECRET": "x" * 64, "DASHKEEPER_JWT_ISSUER": "i", "DASHKEEPER_JWT_AUDIENCE": "a"}
        | {"DASHKEEPER_HTTP_ADDRESS": "127.0.0.1:0", "DASHKEEPER_GRPC_ADDRESS": "127.0.0.1:0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    tmp_path.chmod(0o755)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dashkeeper: the database can't be used: ")
    assert len(done.stderr.splitlines()) == 1


def test_sqlite_that_cannot_be_written_any_more_is_not_ready_and_is_again_when_mended(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        wait_until(server, 200)
        # No file may grow above this: as on a full disk, what is open can't be written either.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (16 * 1024, resource.RLIM_INFINITY))
        wait_until(server, 503)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        wait_until(server, 200)


def test_sqlite_lock_that_is_busy_is_no_fault(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        sqlite3.connect(server.database_path, isolation_level=None) as holder,
    ):
        holder.execute("BEGIN IMMEDIATE")
        time.sleep(1.1)  # longer than a proof holds: what comes is a new one
        wait_until(server, 200)
        holder.execute("ROLLBACK")
    holder.close()


READ_ONLY_STORE = """
import asyncio, sys
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from tests.stores import CTX, create, make_store, service

async def main():
    store = make_store(sys.argv[1])
    api = service(store, "p")
    print((await api.get(GetRequest(id="d"), CTX)).dashboard.name)
    for call in (create(api, "new"), store.check()):
        try:
            await call
        except Exception as error:
            print(type(error).__name__, error)
    await store.close()

asyncio.run(main())
"""


def test_write_to_a_read_only_sqlite_file_says_who_must_mend_it_and_reads_go_on(
    tmp_path: Path, powerless: Sequence[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'dashkeeper.db'}"
    asyncio.run(migrate(url))
    asyncio.run(_make_dashboard(url))
    (tmp_path / "dashkeeper.db").chmod(0o444)
    done = subprocess.run(
        [*powerless, sys.executable, "-c", READ_ONLY_STORE, url], capture_output=True, text=True, check=True
    )
    name, *refused = done.stdout.splitlines()
    assert name == "A"
    assert len(refused) == 2
    for line in refused:
        assert line.startswith("DatabaseFaultError the database can't be written, only read")
        assert "again" not in line


def test_standby_is_served_but_not_ready_until_it_is_promoted(
    tmp_path: Path, cluster: Cluster, standby: Cluster
) -> None:
    asyncio.run(_make_dashboard(cluster.url))
    with running_server(tmp_path, DATABASE_URL=standby.url) as server:
        assert "can't be written" in wait_until(server, 503)
        api = Api(server, "connect-json", make_token("p"), "p")
        assert api.call("Get", {"id": "d"}).dashboard["name"] == "A"
        api.close()
        answer = refusal_of_a_write(server)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "again" not in answer.json()["message"]
        standby.promote()
        wait_until(server, 200)


async def _make_dashboard(url: str) -> None:
    store = make_store(url)
    await create(service(store, "p"))
    await store.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("ALTER ROLE reader SET default_transaction_read_only = on", UnavailableError),
        ("REVOKE INSERT ON revisions FROM reader", DatabaseFaultError),
    ],
)
async def test_postgresql_account_that_may_not_write_is_not_ready(
    cluster: Cluster, change: str, error: type[DashkeeperError]
) -> None:
    statements = "CREATE ROLE reader LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO reader; " + change
    await run_sql(statements, url=cluster.url)
    await _make_dashboard(cluster.url)
    store = make_store(cluster.url.replace("postgres@", "reader@"))
    api = service(store, "p")
    assert (await api.get(GetRequest(id="d"), CTX)).dashboard is not None
    with pytest.raises(DatabaseFaultError, match="can't be written"):
        await store.check()
    with pytest.raises(error) as refused:
        await create(api, "new")
    assert "again" not in refused.value.message
    await store.close()
