"""Several hosts in the URL: when the primary is gone and a standby promoted, the server follows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dashkeeper.errors import UnavailableError
from dashkeeper.gen.dashboards.v1.dashboards_pb import GetRequest
from dashkeeper.store.databases import postgresql
from tests.database_load import Load
from tests.server import running_server
from tests.stores import CTX, create, make_store, service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster

WRITABLE = "target_session_attrs=read-write"


def both(first: Cluster, second: Cluster) -> str:
    """Return the URL of two hosts, of which one takes writes."""
    return f"postgresql://postgres@{first.address},{second.address}/postgres?{WRITABLE}"


def test_standby_promoted_under_load_has_all_that_was_acknowledged(
    tmp_path: Path, cluster: Cluster, standby: Cluster
) -> None:
    # The standby first: it must be passed over as long as it only reads.
    url = both(standby, cluster)
    with running_server(tmp_path, DATABASE_URL=url, REVISIONS_KEPT="1000000") as server:
        with Load(server) as load:
            cluster.kill()
            load.wait_for_refusals()
            standby.promote()
            load.wait_for_progress()
        load.check(standby)


async def test_primary_that_falls_silent_is_left_for_the_promoted_standby(
    cluster: Cluster, standby: Cluster, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither answers nor closes connections, as a machine without power."""
    monkeypatch.setattr(postgresql, "TRANSACTION_SECONDS", 1)
    monkeypatch.setattr(postgresql, "CHECK_SECONDS", 1)
    store = make_store(both(cluster, standby))
    api = service(store, project_id)
    await create(api)
    await asyncio.gather(*(api.get(GetRequest(id="d"), CTX) for _ in range(10)))  # fills the pool
    cluster.freeze()
    try:
        for call in (create(api, "new"), api.get(GetRequest(id="d"), CTX), store.check()):
            async with asyncio.timeout(10):
                with pytest.raises(UnavailableError):
                    await call
        standby.promote()
        monkeypatch.undo()
        async with asyncio.timeout(30):
            await create(api, "after")
            await store.check()
    finally:
        cluster.thaw()
    await store.close()


async def test_host_that_only_reads_is_unavailable_for_a_url_that_wants_to_write(
    standby: Cluster, project_id: str
) -> None:
    store = make_store(f"{standby.url}?{WRITABLE}")
    with pytest.raises(UnavailableError):
        await create(service(store, project_id))
    await store.close()
