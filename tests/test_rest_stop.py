"""A REST call whose caller goes away."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

import pytest

from tests.rest import Rest, registration
from tests.server import running_server
from tests.test_stop import write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server import RunningServer


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as running:
        yield running


def test_a_write_whose_caller_goes_away_stops_and_is_not_written(own_server: RunningServer) -> None:
    rest = Rest(own_server, "p")
    path = f"/dashboards/{rest.create()['id']}"
    headers = {
        "authorization": rest.authorization,
        "x-project-id": "p",
        "content-type": "application/json",
        "x-request-id": "gone",
    }
    with write_lock(own_server.database_path) as release:
        connection = http.client.HTTPConnection(own_server.http.removeprefix("http://"))
        connection.request("PUT", f"/v1{path}", json.dumps(registration(title="gone")), headers)
        connection.close()
        assert own_server.logged_call("gone")["code"] == "canceled"
        release()
    # Writes are carried out in turn, so what was to be written before this one never will be.
    rest.create(title="after")
    assert rest.call("GET", path).json()["data"]["title"] == registration()["title"]
    assert "error" not in {record["level"] for record in own_server.log_records()}
    rest.close()
