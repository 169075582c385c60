"""Upsert: the request's tiles are the source of truth; what the answer says of each; its guards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, as_answered, ids, insight, markdown

if TYPE_CHECKING:
    from tests.api import Reply
    from tests.server import RunningServer

A, B, C, D = (markdown(name, name.upper(), y=place) for place, name in enumerate("abcd"))


def make(api: Api, *tiles: Json) -> Json:
    """Create dashboard `a` with these tiles."""
    request = {"dashboardId": "a", "description": "d", "labels": {"team": "web"}, "tiles": tiles}
    reply = api.call("Create", {"name": "Growth", **request})
    assert reply.code == "ok", reply
    return reply.dashboard


def upsert(api: Api, *tiles: Json, **fields: object) -> Reply:
    return api.call("Upsert", {"dashboardId": "a", "tiles": tiles, **fields})


def changed(reply: Reply) -> Json:
    """Return what an Upsert did, the ids joined: {"created": "a b"}."""
    assert reply.code == "ok", reply
    return {kind: " ".join(tile_ids) for kind, tile_ids in reply.body["changes"].items()}


def test_upsert_keeps_a_window_that_ends_now(api: Api) -> None:
    make(api)
    window, other, fixed = (insight(name) for name in ("window", "other", "fixed"))
    window["insight"]["query"]["timeRange"] = {"last": "604800s"}
    other["insight"]["query"]["timeRange"] = {"last": "60s"}
    fixed["insight"]["query"]["timeRange"] = {"start": "2026-05-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"}
    assert changed(upsert(api, window, other, fixed)) == {"created": "window other fixed"}
    tiles = api.call("Get", {"id": "a"}).dashboard["tiles"]
    assert tiles == as_answered([window, other, fixed])
    other["insight"]["query"]["timeRange"] = {"last": "61s"}
    assert changed(upsert(api, window, other, fixed)) == {"updated": "other", "unchanged": "window fixed"}


def test_upsert_makes_the_tiles_exactly_those_of_the_request(api: Api) -> None:
    before = make(api, A, B, C)
    tiles = [markdown("new", "N"), C, B | {"title": "changed"}]
    reply = upsert(api, *tiles)
    assert reply.code == "ok"
    after = reply.dashboard
    assert after["tiles"] == as_answered(tiles)
    assert after == before | {
        "tiles": after["tiles"],
        "updatedAt": after["updatedAt"],
        "etag": after["etag"],
        "revision": "2",
    }
    assert after["etag"] != before["etag"]
    assert api.call("Get", {"id": "a"}).dashboard == after


def test_upsert_without_tiles_empties_the_dashboard(api: Api) -> None:
    make(api, A, B)
    reply = upsert(api)
    assert changed(reply) == {"deleted": "a b"}
    assert "tiles" not in reply.dashboard
    assert "tileCount" not in api.call("Get", {"id": "a"}).dashboard
    assert changed(upsert(api)) == {}


@pytest.mark.parametrize(
    ("tiles", "expected"),
    [
        ([A, B, C, D], {"unchanged": "a b c d"}),
        # Another index.
        ([D, A, B, C], {"moved": "d a b c"}),
        ([A, C, B, D], {"moved": "c b", "unchanged": "a d"}),
        # What comes or goes moves no other tile.
        ([markdown("n"), A, B, C, D], {"created": "n", "unchanged": "a b c d"}),
        ([B, C, D], {"deleted": "a", "unchanged": "b c d"}),
        ([A, markdown("m"), C, markdown("n")], {"created": "m n", "deleted": "b d", "unchanged": "a c"}),
        # Another position, or more.
        ([A, B | {"position": {"x": 3, "y": 9, "w": 1, "h": 1}}, C, D], {"moved": "b", "unchanged": "a c d"}),
        ([A, B, markdown("c", "C", y=7), D], {"moved": "c", "unchanged": "a b d"}),
        ([A, B, markdown("c", "changed", y=2), D], {"updated": "c", "unchanged": "a b d"}),
        ([A, B, markdown("c", "changed", y=7), D], {"updated": "c", "unchanged": "a b d"}),
        ([A | {"title": "changed"}, B, C, D], {"updated": "a", "unchanged": "b c d"}),
        ([insight("a"), B, C, D], {"updated": "a", "unchanged": "b c d"}),
        # Another index and another content: updated.
        ([B | {"title": "changed"}, A, C, D], {"updated": "b", "moved": "a", "unchanged": "c d"}),
        # All at once.
        (
            [markdown("n"), A, C | {"title": "changed"}, B],
            {"created": "n", "updated": "c", "moved": "b", "deleted": "d", "unchanged": "a"},
        ),
    ],
)
def test_upsert_says_what_it_did_to_each_tile(one_api: Api, tiles: list[Json], expected: Json) -> None:
    before = make(one_api, A, B, C, D)
    reply = upsert(one_api, *tiles)
    assert changed(reply) == expected
    assert reply.dashboard["tiles"] == as_answered(tiles)
    assert (
        (reply.dashboard["revision"] == "1")
        == (reply.dashboard == before)
        == (list(expected) == ["unchanged"])
    )


def test_upsert_that_changes_nothing_writes_nothing(server: RunningServer, project_id: str, api: Api) -> None:
    before = make(api, A, insight("i"))
    rows = stored_rows(server, project_id)
    reply = upsert(
        api, A, insight("i"), changeMessage="nothing", maxDeletions=0, allowMissing=True, name="other"
    )
    assert reply.body == {"dashboard": before, "changes": {"unchanged": ["a", "i"]}}
    assert stored_rows(server, project_id) == rows


def test_upsert_of_an_id_twice_is_refused_with_its_path(api: Api) -> None:
    before = make(api, A)
    reply = upsert(api, A, B, C, B)
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["tiles[3].id"])
    assert api.call("Get", {"id": "a"}).dashboard == before


def test_upsert_of_ids_that_differ_in_case_keeps_both(one_api: Api) -> None:
    make(one_api, markdown("a", "small"))
    reply = upsert(one_api, markdown("A", "large"), markdown("a", "small"))
    assert changed(reply) == {"created": "A", "unchanged": "a"}


def test_upsert_of_500_tiles_is_taken_whole(api: Api) -> None:
    tiles = [markdown(f"t{number}", str(number)) for number in range(500)]
    make(api)
    assert len(upsert(api, *tiles).body["changes"]["created"]) == 500
    assert api.call("Get", {"id": "a"}).dashboard["tiles"] == as_answered(tiles)


# max_deletions


@pytest.mark.parametrize("limit", [0, 1])
def test_upsert_that_deletes_more_than_allowed_is_refused_and_names_them(
    server: RunningServer, project_id: str, api: Api, limit: int
) -> None:
    make(api, A, B, C, D)
    rows = stored_rows(server, project_id)
    reply = upsert(api, markdown("n"), D, B, maxDeletions=limit)
    assert (reply.code, reply.reason) == ("failed_precondition", "TOO_MANY_DELETIONS")
    assert reply.metadata == {"deletions": "2", "tile_ids": "a,c"}
    assert stored_rows(server, project_id) == rows


@pytest.mark.parametrize("limit", [2, 3, None])
def test_upsert_that_deletes_no_more_than_allowed_is_carried_out(api: Api, limit: int | None) -> None:
    make(api, A, B, C)
    assert changed(upsert(api, B, maxDeletions=limit)) == {"deleted": "a c", "unchanged": "b"}


def test_upsert_that_may_delete_none_and_deletes_none_is_carried_out(api: Api) -> None:
    make(api, A, B)
    assert changed(upsert(api, B, A, C, maxDeletions=0)) == {"created": "c", "moved": "b a"}


def test_upsert_that_would_delete_500_says_how_many(api: Api) -> None:
    """All their ids are more than trailers may hold."""
    make(api, *(markdown(f"{number:064}") for number in range(500)))
    reply = upsert(api, maxDeletions=499)
    assert (reply.code, reply.reason) == ("failed_precondition", "TOO_MANY_DELETIONS")
    assert reply.metadata["deletions"] == "500"
    assert reply.metadata["tile_ids"].split(",")[:3] == [f"{number:064}" for number in range(3)]


# At once


def test_upserts_at_once_are_whole_one_after_the_other(
    server: RunningServer, project_id: str, one_api: Api
) -> None:
    make(one_api)
    clients = [
        Api(server, transport, make_token(project_id), project_id) for transport in ("grpc", "connect-proto")
    ]

    def write(number: int) -> Reply:
        names = [f"w{number}-{place}" for place in range(40)]
        return upsert(clients[number % 2], *(markdown(name, f"text {number}") for name in names))

    def read(_: int) -> Reply:
        return clients[0].call("Get", {"id": "a"})

    with ThreadPoolExecutor(8) as threads:
        reads = threads.map(read, range(40))
        writes = list(threads.map(write, range(16)))
    for reply in (*reads, *writes):
        assert reply.code == "ok", reply
        found = reply.dashboard.get("tiles", [])
        assert len(found) in (0, 40)
        assert len({tile["id"].partition("-")[0] for tile in found}) <= 1
    assert sorted(int(reply.dashboard["revision"]) for reply in writes) == list(range(2, 18))
    last = max(writes, key=lambda reply: int(reply.dashboard["revision"]))
    assert one_api.call("Get", {"id": "a"}).dashboard == last.dashboard
    for before, after in zip(sorted_by_revision(writes), sorted_by_revision(writes)[1:], strict=False):
        assert after.body["changes"]["deleted"] == ids(before.dashboard["tiles"])
    for client in clients:
        client.close()


def sorted_by_revision(replies: list[Reply]) -> list[Reply]:
    return sorted(replies, key=lambda reply: int(reply.dashboard["revision"]))
