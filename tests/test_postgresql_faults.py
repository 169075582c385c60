"""PostgreSQL is stopped, killed, cut off and filled in the middle of load: nothing is lost or half."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.api import Api
from tests.database_load import READS, Load
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster

ALL_KEPT = "1000000"
"""REVISIONS_KEPT, so that every write can be looked for afterwards."""


def test_database_stopped_and_killed_under_load_loses_nothing(tmp_path: Path, cluster: Cluster) -> None:
    with running_server(tmp_path, DATABASE_URL=cluster.url, REVISIONS_KEPT=ALL_KEPT) as server:
        with Load(server) as load:
            for end in (cluster.stop, lambda: cluster.stop("immediate"), cluster.kill):
                end()
                load.wait_for_refusals()
                cluster.start()
                load.wait_for_progress()
        load.check(cluster)
        assert server.stop() == 0


def test_connections_cut_and_a_backend_killed_under_load_loses_nothing(
    tmp_path: Path, cluster: Cluster
) -> None:
    with running_server(tmp_path, DATABASE_URL=cluster.url, REVISIONS_KEPT=ALL_KEPT) as server:
        with Load(server) as load:
            for _ in range(20):
                seen = len(load.answers)
                cluster.cut_connections()
                load.wait_until(lambda seen=seen: len(load.answers) > seen + 20)
            load.wait_for_progress()
            cluster.kill_connection()
            load.wait_for_progress()
        load.check(cluster)


def test_disk_full_under_load_refuses_writes_alone_and_loses_nothing(
    tmp_path: Path, cluster: Cluster
) -> None:
    with running_server(tmp_path, DATABASE_URL=cluster.url, REVISIONS_KEPT=ALL_KEPT) as server:
        with Load(server) as load:
            cluster.fill_disk("revisions")
            # Until then, there is room in the pages that are there.
            load.wait_until(lambda: {it.code for it in load.writes[-40:]} == {"unavailable"})
            assert load.readiness[-1] == 200
            seen = len(load.answers)
            load.wait_until(lambda: len(load.answers) > seen + 100)
            while_full = load.answers[seen:]
            cluster.free_disk("revisions")
            load.wait_for_progress()
        assert {it.code for it in while_full if it.method in READS} == {"ok"}
        assert {it.code for it in while_full if it.method not in READS} == {"unavailable"}
        load.check(cluster)
    told = [record["message"] for record in server.log_records() if record["level"] == "warning"]
    assert any("No space left on device" in message for message in told)


def test_database_restarted_while_nobody_calls_refuses_nothing(
    tmp_path: Path, cluster: Cluster, project_id: str
) -> None:
    with (
        running_server(tmp_path, DATABASE_URL=cluster.url) as server,
        contextlib.closing(Api(server, "connect-json", make_token(project_id), project_id)) as api,
    ):
        assert api.call("Create", {"dashboardId": "d", "name": "A"}).code == "ok"
        cluster.stop()
        cluster.start()
        assert api.call("Update", {"id": "d", "name": "B"}).code == "ok"
