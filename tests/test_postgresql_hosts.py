"""Several hosts in the URL: when the primary is gone and a standby promoted, the server follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster import running_standby
from tests.database_load import Load
from tests.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster


def test_standby_promoted_under_load_has_all_that_was_acknowledged(tmp_path: Path, cluster: Cluster) -> None:
    with running_standby(cluster) as standby:
        # The standby first: it must be passed over as long as it only reads.
        url = (
            f"postgresql://postgres@{standby.address},{cluster.address}/postgres"
            "?target_session_attrs=read-write"
        )
        with running_server(tmp_path, DATABASE_URL=url, REVISIONS_KEPT="1000000") as server:
            with Load(server) as load:
                cluster.kill()
                load.wait_for_refusals()
                standby.promote()
                load.wait_for_progress()
            load.check(standby)
