"""PostgreSQL is stopped, killed, cut off and filled in the middle of load: nothing is lost or half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.database_load import Load
from tests.server import running_server

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
                load.wait_until(lambda seen=seen: any(it.code != "ok" for it in load.answers[seen:]))
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
            load.wait_until(lambda: all(writer.is_refused for writer in load.writers))
            seen = len(load.answers)
            load.wait_until(lambda: len(load.answers) > seen + 200)
            while_full = load.answers[seen:]
            cluster.free_disk("revisions")
            load.wait_for_progress()
        reads = {answer.code for answer in while_full if answer.method in READS}
        writes = {answer.code for answer in while_full if answer.method not in READS}
        assert (reads, writes) == ({"ok"}, {"unavailable"})
        load.check(cluster)
    told = [record["message"] for record in server.log_records() if record["level"] == "WARNING"]
    assert any("No space left on device" in message for message in told)
