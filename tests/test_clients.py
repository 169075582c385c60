"""The whole life of a dashboard by each client that others use, as it is, against the running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from connectrpc.codec import proto_json_codec
from connectrpc.protocol import ProtocolType

from tests.clients import BufCurl, Connectrpc, Curl, Grpcio, Grpcurl, generate_stubs
from tests.server import make_token
from tests.tiles import as_answered, ids, payload, time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.clients import Client
    from tests.server import RunningServer


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated stubs for Google's protobuf."""
    folder = tmp_path_factory.mktemp("stubs")
    generate_stubs(folder)
    return folder


CLIENTS: dict[str, Callable[[RunningServer, Mapping[str, str]], Client]] = {
    "grpcurl": Grpcurl,
    "buf-curl-grpc-v1": lambda server, headers: BufCurl(
        server, headers, "grpc", "--reflect-protocol=grpc-v1"
    ),
    "buf-curl-grpc-v1alpha": lambda server, headers: BufCurl(
        server, headers, "grpc", "--reflect-protocol=grpc-v1alpha"
    ),
    "buf-curl-grpcweb": lambda server, headers: BufCurl(server, headers, "grpcweb"),
    "buf-curl-connect": lambda server, headers: BufCurl(server, headers, "connect"),
    "curl": Curl,
    "curl-get": lambda server, headers: Curl(server, headers, get=True),
    "connectrpc-connect": lambda server, headers: Connectrpc(server, headers, ProtocolType.CONNECT),
    "connectrpc-json": lambda server, headers: Connectrpc(
        server, headers, ProtocolType.CONNECT, proto_json_codec()
    ),
    "connectrpc-grpc-web": lambda server, headers: Connectrpc(server, headers, ProtocolType.GRPC_WEB),
    "connectrpc-grpc": lambda server, headers: Connectrpc(server, headers, ProtocolType.GRPC),
}


@pytest.fixture(params=["grpcio", *CLIENTS])
def client(sqlite_server: RunningServer, project_id: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    headers = {"authorization": f"Bearer {make_token(project_id)}", "x-project-id": project_id}
    if request.param == "grpcio":
        made: Client = Grpcio(request.getfixturevalue("stubs"), sqlite_server, headers)
    else:
        made = CLIENTS[request.param](sqlite_server, headers)
    yield made
    made.close()


def test_client_takes_a_dashboard_through_its_life(client: Client) -> None:
    created = client.call("Create", {"name": "Größe 🎯", "dashboardId": "dash_abc123"})
    assert created.code == "ok"
    assert created.dashboard["name"] == "Größe 🎯"

    rich = payload("dashboards-upsert-rich")
    filled = client.call("Upsert", {**rich, "maxDeletions": 0})
    assert filled.dashboard["tiles"] == as_answered(rich["tiles"])
    assert filled.body["changes"] == {"created": ids(rich["tiles"])}

    got = client.call("Get", {"id": "dash_abc123"})
    assert got.dashboard == filled.dashboard
    assert time(got.dashboard["createdAt"]) == time(created.dashboard["createdAt"])

    (found,) = client.call("List", {"nameContains": "größe"}).body["dashboards"]
    assert found == {name: value for name, value in got.dashboard.items() if name != "tiles"}

    request = {"id": "dash_abc123", "description": "", "name": "Growth", "updateMask": "name,description"}
    updated = client.call("Update", {**request, "etag": got.dashboard["etag"]})
    assert (updated.dashboard["name"], updated.dashboard["revision"]) == ("Growth", "3")
    stale = client.call("Update", {**request, "etag": got.dashboard["etag"]})
    assert (stale.code, stale.reason) == ("aborted", "ETAG_MISMATCH")
    assert stale.metadata["current_etag"] == updated.dashboard["etag"]

    assert client.call("Delete", {"id": "dash_abc123"}).body == {}
    gone = client.call("Get", {"id": "dash_abc123"})
    assert (gone.code, gone.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    assert client.call("List", {}).body == {}

    back = client.call("Undelete", {"id": "dash_abc123"})
    assert back.dashboard["tiles"] == filled.dashboard["tiles"]
    assert back.dashboard["revision"] == "5"
