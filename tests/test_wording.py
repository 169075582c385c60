"""What is counted in messages: one tile is no "1 tiles"."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dashkeeper.auth import Caller
from dashkeeper.config import ConfigError, load_settings
from dashkeeper.errors import FailedPreconditionError, InvalidRequestError, Violation
from dashkeeper.gen.dashboards.v1.upsert_pb import UpsertRequest
from dashkeeper.gen.google.rpc.error_details_pb import BadRequest
from dashkeeper.services.dashboard_changes import DashboardLimits
from dashkeeper.services.dashboards import Dashboards
from dashkeeper.transport.details import details
from tests.api import Api
from tests.server import make_token, purge, running_server
from tests.stores import CTX, create, tile

if TYPE_CHECKING:
    from pathlib import Path

    from dashkeeper.store.sql.store import SQLStore


COUNTS = [(1, "1 tile would"), (2, "2 tiles would")]


@pytest.mark.parametrize(("count", "text"), COUNTS)
async def test_deletions_beyond_the_guard_are_counted(dashboards: Dashboards, count: int, text: str) -> None:
    tiles = [tile(f"t{number}") for number in range(count)]
    await create(dashboards, tiles=tiles)
    with pytest.raises(FailedPreconditionError, match=f"^{text} be deleted, max_deletions allows 0:"):
        await dashboards.upsert(UpsertRequest(dashboard_id="d", max_deletions=0), CTX)


async def test_tiles_beyond_the_limit_are_counted(store: SQLStore, project_id: str) -> None:
    limits = DashboardLimits(max_tiles=1, require_etag=False, purge_after=timedelta(0))
    small = Dashboards(store, limits, Caller(subject="tester", project_id=project_id))
    with pytest.raises(InvalidRequestError, match="holds 2 tiles: a dashboard may have 1"):
        await create(small, tiles=[tile("a"), tile("b")])


def test_purge_says_how_many_in_words_for_any_number(tmp_path: Path, project_id: str) -> None:
    with running_server(tmp_path, PURGE_AFTER="0s") as server:
        api = Api(server, "grpc", make_token(project_id), project_id)
        api.call("Create", {"dashboardId": "d", "name": "A"})
        api.call("Delete", {"id": "d"})
        api.close()
        run = purge(server, PURGE_AFTER="0s")
    assert (run.returncode, run.stdout) == (0, "deleted dashboards and registrations purged: 1\n")


def test_secret_of_one_byte_is_told_as_one() -> None:
    with pytest.raises(ConfigError, match="has 1 of the 32 bytes that HS256 needs"):
        load_settings(jwt_secret="x").token_rules()  # to be refused


def test_one_violation_that_is_left_out_is_told_as_one() -> None:
    violations = [Violation((f"f{n}",), "x" * 500) for n in range(20)]
    shortened: list[str] = []
    for count in range(2, 20):
        _, bad_request, _ = details(InvalidRequestError.of(violations[:count]), "id", max_bytes=3_500)
        assert isinstance(bad_request, BadRequest)
        shortened.append(bad_request.field_violations[-1].description)
    assert "and 1 more violation, left out here" in shortened
    assert "and 2 more violations, left out here" in shortened
