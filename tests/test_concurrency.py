"""Many at once: nothing is lost, nothing is mixed, each change counts once.

Half of the callers speak gRPC, half Connect or gRPC-Web; on one server, and on two that share the
database.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.api import Api
from tests.database import DATABASES, server_on
from tests.server import make_token, running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.api import Reply
    from tests.server import RunningServer

TRANSPORTS = ("grpc", "connect-json", "grpc", "connect-proto", "grpc", "grpc-web")


@pytest.fixture(scope="module", params=DATABASES)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[RunningServer]]:
    """Two processes on one database."""
    with (
        server_on(request.param, tmp_path_factory.mktemp("first")) as first,
        running_server(tmp_path_factory.mktemp("second"), DATABASE_URL=first.database_url) as second,
    ):
        yield [first, second]


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def apis(
    servers: list[RunningServer], project_id: str, request: pytest.FixtureRequest
) -> Iterator[Sequence[Api]]:
    """Clients of every transport, half of them gRPC, evenly over the servers."""
    token = make_token(project_id)
    called = servers[: request.param]
    clients = [Api(each, transport, token, project_id) for transport in TRANSPORTS for each in called]
    yield clients
    for client in clients:
        client.close()


def at_once(apis: Sequence[Api], count: int, call: Callable[[Api, int], Reply]) -> list[Reply]:
    """Do `count` calls at the same time, taking the clients in turn; return the replies in order."""
    barrier = threading.Barrier(count, timeout=60)

    def run(index: int) -> Reply:
        barrier.wait()
        return call(apis[index % len(apis)], index)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def markdown_tile(tile_id: str, content: str) -> dict[str, Any]:
    return {
        "id": tile_id,
        "type": "TILE_TYPE_MARKDOWN",
        "position": {"w": 12, "h": 1},
        "markdown": {"content": content},
    }


def tile_set(writer: int) -> list[dict[str, Any]]:
    """Return tiles that only this writer sends: as many as no neighbour has, ids shared and own."""
    shared = [markdown_tile(f"shared{number}", f"by {writer}") for number in range(1 + writer % 5)]
    return [*shared, markdown_tile(f"own{writer}", f"by {writer}")]


def contents(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """Return ids and texts of the tiles, in order."""
    return [(tile["id"], tile["markdown"]["content"]) for tile in dashboard.get("tiles", [])]


def sent(writer: int) -> list[tuple[str, str]]:
    return contents({"tiles": tile_set(writer)})


def revision(reply: Reply) -> int:
    return int(reply.dashboard["revision"])


def updated_at(dashboard: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(dashboard["updatedAt"])


def by_revision(replies: Sequence[Reply]) -> list[Reply]:
    return sorted(replies, key=revision)


def create(apis: Sequence[Api], dashboard_id: str = "shared") -> Reply:
    reply = apis[0].call("Create", {"name": "Shared", "dashboardId": dashboard_id})
    assert reply.code == "ok", reply
    return reply


def test_upsert_fifty_at_once_on_one_dashboard_leaves_exactly_one_of_them(apis: Sequence[Api]) -> None:
    create(apis)
    replies = at_once(
        apis, 50, lambda api, writer: api.call("Upsert", {"dashboardId": "shared", "tiles": tile_set(writer)})
    )
    assert [reply.code for reply in replies] == ["ok"] * 50
    assert sorted(revision(reply) for reply in replies) == list(range(2, 52))
    assert len({reply.dashboard["etag"] for reply in replies}) == 50
    for writer, reply in enumerate(replies):
        assert contents(reply.dashboard) == sent(writer)
    last = by_revision(replies)[-1].dashboard
    for api in apis:
        assert api.call("Get", {"id": "shared"}).dashboard == last


def test_upsert_fifty_at_once_creating_one_dashboard_creates_it_once(apis: Sequence[Api]) -> None:
    replies = at_once(
        apis,
        50,
        lambda api, writer: api.call(
            "Upsert",
            {
                "dashboardId": "shared",
                "tiles": tile_set(writer),
                "allowMissing": True,
                "name": f"by {writer}",
            },
        ),
    )
    assert [reply.code for reply in replies] == ["ok"] * 50
    assert sorted(revision(reply) for reply in replies) == list(range(1, 51))
    first = by_revision(replies)[0]
    # Who came first gave it its name and its creation time, and nobody changed them since.
    assert first.dashboard["name"] == f"by {replies.index(first)}"
    for key in ("name", "createdAt"):
        assert {reply.dashboard[key] for reply in replies} == {first.dashboard[key]}
    assert apis[0].call("Get", {"id": "shared"}).dashboard == by_revision(replies)[-1].dashboard


def test_upsert_same_tiles_at_once_is_one_change(apis: Sequence[Api]) -> None:
    create(apis)
    request = {"dashboardId": "shared", "tiles": tile_set(0)}
    replies = at_once(apis, 20, lambda api, _: api.call("Upsert", request))
    assert [reply.code for reply in replies] == ["ok"] * 20
    assert [reply.dashboard for reply in replies] == [replies[0].dashboard] * 20
    assert revision(replies[0]) == 2


def test_upsert_with_etag_at_once_exactly_one_wins_each_round(apis: Sequence[Api]) -> None:
    etag = create(apis).dashboard["etag"]
    for round_number in range(6):
        request = {"dashboardId": "shared", "etag": etag}
        offset = round_number * 100

        def upsert(api: Api, writer: int, request: dict[str, Any] = request, offset: int = offset) -> Reply:
            return api.call("Upsert", request | {"tiles": tile_set(offset + writer)})

        replies = at_once(apis, 20, upsert)
        (winner,) = (reply for reply in replies if reply.code == "ok")
        losers = [reply for reply in replies if reply is not winner]
        etag = winner.dashboard["etag"]
        assert revision(winner) == round_number + 2
        assert contents(winner.dashboard) == sent(offset + replies.index(winner))
        assert {loser.code for loser in losers} == {"aborted"}
        assert {loser.reason for loser in losers} == {"ETAG_MISMATCH"}
        assert {loser.metadata["current_etag"] for loser in losers} == {etag}
        assert apis[0].call("Get", {"id": "shared"}).dashboard == winner.dashboard


@pytest.mark.parametrize("method", ["Create", "Create with id", "Upsert", "Update", "Delete"])
def test_write_same_request_id_at_once_is_one_write_with_equal_answers(
    apis: Sequence[Api], method: str
) -> None:
    if not method.startswith("Create"):
        create(apis)
    request = {
        "Create": {"name": "Twin", "tiles": tile_set(1)},
        "Create with id": {"name": "Twin", "dashboardId": "shared", "tiles": tile_set(1)},
        "Upsert": {"dashboardId": "shared", "tiles": [{**tile_set(1)[0], "id": ""}]},
        "Update": {"id": "shared", "description": "twin"},
        "Delete": {"id": "shared"},
    }[method] | {"requestId": str(uuid.uuid4())}
    replies = at_once(apis, 20, lambda api, _: api.call(method.partition(" ")[0], request))
    assert [reply.code for reply in replies] == ["ok"] * 20
    assert [reply.body for reply in replies] == [replies[0].body] * 20
    listed = apis[0].call("List", {"showDeleted": True}).body["dashboards"]
    assert len(listed) == 1
    assert int(listed[0]["revision"]) == (1 if method.startswith("Create") else 2)


def test_create_one_id_at_once_succeeds_once(apis: Sequence[Api]) -> None:
    replies = at_once(
        apis, 30, lambda api, writer: api.call("Create", {"name": f"by {writer}", "dashboardId": "mine"})
    )
    codes = [reply.code for reply in replies]
    assert codes.count("ok") == 1
    assert codes.count("already_exists") == 29
    winner = replies[codes.index("ok")]
    assert winner.dashboard["name"] == f"by {codes.index('ok')}"
    assert apis[0].call("Get", {"id": "mine"}).dashboard == winner.dashboard


def test_delete_and_undelete_at_once_each_takes_effect_once(apis: Sequence[Api]) -> None:
    create(apis)
    deleted = at_once(apis, 20, lambda api, _: api.call("Delete", {"id": "shared"}))
    assert sorted(reply.code for reply in deleted) == ["not_found"] * 19 + ["ok"]
    undeleted = at_once(apis, 20, lambda api, _: api.call("Undelete", {"id": "shared"}))
    assert sorted(reply.code for reply in undeleted) == ["already_exists"] * 19 + ["ok"]
    assert revision(apis[0].call("Get", {"id": "shared"})) == 3


def test_write_mixed_methods_at_once_lose_nothing(apis: Sequence[Api]) -> None:
    """The answers, taken by revision, are the story of one change after another."""
    state = create(apis).dashboard
    count = 48

    def change(writer: int) -> tuple[str, dict[str, Any]]:
        match writer % 4:
            case 0:
                return "Upsert", {"dashboardId": "shared", "tiles": tile_set(writer)}
            case 1:
                return "Update", {"id": "shared", "name": f"by {writer}"}
            case 2:
                return "Update", {"id": "shared", "description": f"by {writer}"}
            case _:
                return "Update", {"id": "shared", "labels": {"by": str(writer)}}

    replies = at_once(apis, count, lambda api, writer: api.call(*change(writer)))
    assert [reply.code for reply in replies] == ["ok"] * count
    writers = sorted(range(count), key=lambda writer: revision(replies[writer]))
    for number, writer in enumerate(writers):
        _, request = change(writer)
        changed = {key: value for key, value in request.items() if key not in {"id", "dashboardId"}}
        before, state = state, replies[writer].dashboard
        assert int(state["revision"]) == number + 2
        for key in ("name", "description", "labels"):
            assert state.get(key) == changed.get(key, before.get(key))
        assert contents(state) == contents(changed if "tiles" in changed else before)
        assert updated_at(state) >= updated_at(before)
    assert apis[0].call("Get", {"id": "shared"}).dashboard == state


def test_write_many_dashboards_at_once_all_arrive(apis: Sequence[Api]) -> None:
    replies = at_once(
        apis, 40, lambda api, writer: api.call("Create", {"name": f"by {writer}", "tiles": tile_set(writer)})
    )
    assert [reply.code for reply in replies] == ["ok"] * 40
    assert len({reply.dashboard["id"] for reply in replies}) == 40
    listed = apis[-1].call("List", {"orderBy": "name"}).body["dashboards"]
    assert [dashboard["name"] for dashboard in listed] == sorted(f"by {writer}" for writer in range(40))
    for writer, reply in enumerate(replies):
        got = apis[writer % len(apis)].call("Get", {"id": reply.dashboard["id"]})
        assert got.dashboard == reply.dashboard
        assert contents(got.dashboard) == sent(writer)
