"""Upsert: which ids tiles without one get, and dashboards that don't exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.database import stored_rows
from tests.tiles import Json, ids, insight, markdown, time

if TYPE_CHECKING:
    from tests.api import Api, Reply
    from tests.server import RunningServer


def make(api: Api, *tiles: Json) -> Json:
    """Create dashboard `a` with these tiles."""
    request = {"dashboardId": "a", "description": "d", "labels": {"team": "web"}, "tiles": tiles}
    return api.call("Create", {"name": "Growth", **request}).dashboard


def upsert(api: Api, *tiles: Json, **fields: object) -> Reply:
    return api.call("Upsert", {"dashboardId": "a", "tiles": tiles, **fields})


X0, X1, X2 = (markdown("", "X", y=place) for place in range(3))
"""Tiles without an id, equal in all but position."""
P0, Q1 = {"id": "p", **X0}, {"id": "q", **X1}


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        # Pass 1: equal in all but id.
        ([P0, Q1], [X0, X1], "p q"),
        ([P0, Q1], [X1, X0], "q p"),
        ([P0, Q1], [X1], "q"),
        # Pass 2: equal in all but id and position.
        ([P0], [X2], "p"),
        ([P0, Q1], [X2], "p"),
        ([P0, Q1], [X2, markdown("", "X", x=1)], "p q"),
        # Pass 1 goes over the whole request first.
        ([P0, Q1], [X2, X0], "q p"),
        ([P0, Q1], [X2, X1, X0], "new q p"),
        # Of several equal ones, in stored order.
        ([P0, {"id": "q", **X0}], [X0, X0], "p q"),
        ([{"id": "q", **X0}, P0], [X0], "q"),
        ([P0, {"id": "q", **X0}], [X0, X0, X0], "p q new"),
        # Those that the request names are skipped, wherever it does.
        ([P0, {"id": "q", **X0}], [P0, X0], "p q"),
        ([P0, {"id": "q", **X0}], [X0, P0], "q p"),
        ([P0], [X0, P0], "new p"),
        ([P0], [X0, {"id": "p", **X2}], "new p"),
        ([P0], [{"id": "other", **X0}, X0], "other p"),
        # The rest are new.
        ([P0], [markdown("", "Y")], "new"),
        ([P0], [X0 | {"title": "titled"}], "new"),
        ([P0], [insight()], "new"),
        ([], [X0, X0], "new new"),
        ([{"id": "i", **insight()}], [insight("", "signup", y=9)], "i"),
        ([{"id": "i", **insight()}], [insight("", "purchase")], "new"),
    ],
)
def test_upsert_gives_tiles_without_id_those_of_equal_stored_ones(
    one_api: Api, stored: list[Json], wanted: list[Json], expected: str
) -> None:
    make(one_api, *stored)
    reply = upsert(one_api, *wanted)
    found = ids(reply.dashboard["tiles"])
    assert " ".join("new" if tile_id.startswith("tile_") else tile_id for tile_id in found) == expected
    assert len(set(found)) == len(found)
    assert one_api.call("Get", {"id": "a"}).dashboard["tiles"] == reply.dashboard["tiles"]


def test_upsert_that_moves_a_tile_without_id_keeps_it(api: Api) -> None:
    first = upsert(api, X0, insight(), allowMissing=True, name="A").dashboard["tiles"]
    reply = upsert(api, insight("", y=7), markdown("", "X", x=3))
    assert ids(reply.dashboard["tiles"]) == ids(first)[::-1]
    assert reply.body["changes"] == {"moved": ids(first)[::-1]}


def test_upsert_assigns_ids_that_may_be_sent_back(api: Api) -> None:
    make(api)
    answered = upsert(api, X0, X0, insight()).dashboard["tiles"]
    assert all(re.fullmatch(r"tile_[A-Za-z0-9_-]{1,59}", tile_id) for tile_id in ids(answered))
    assert upsert(api, *answered).body["changes"] == {"unchanged": ids(answered)}


def test_create_with_tiles_without_id_may_be_followed_by_the_same_upsert(api: Api) -> None:
    created = make(api, X0, insight())
    assert upsert(api, X0, insight()).dashboard == created


# Dashboards that don't exist.


@pytest.mark.parametrize("state", ["never created", "deleted"])
@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({}, "not_found", "DASHBOARD_NOT_FOUND"),
        ({"etag": "x"}, "not_found", "DASHBOARD_NOT_FOUND"),
        ({"maxDeletions": 0}, "not_found", "DASHBOARD_NOT_FOUND"),
        ({"allowMissing": True, "name": "new", "etag": "x"}, "aborted", "ETAG_MISMATCH"),
        ({"allowMissing": True}, "invalid_argument", "INVALID_REQUEST"),
        ({"name": "new"}, "invalid_argument", "INVALID_REQUEST"),
        ({"allowMissing": False, "name": "new"}, "invalid_argument", "INVALID_REQUEST"),
    ],
)
def test_upsert_of_a_missing_dashboard_is_refused_unless_allowed(
    server: RunningServer, project_id: str, api: Api, state: str, fields: Json, code: str, reason: str
) -> None:
    if state == "deleted":
        make(api, P0)
        api.call("Delete", {"id": "a"})
    rows = stored_rows(server, project_id)
    reply = upsert(api, X0, **fields)
    assert (reply.code, reply.reason) == (code, reason)
    assert stored_rows(server, project_id) == rows


def test_upsert_of_a_deleted_dashboard_with_its_last_etag_is_aborted(one_api: Api) -> None:
    make(one_api)
    one_api.call("Delete", {"id": "a"})
    (found,) = one_api.call("List", {"showDeleted": True}).body["dashboards"]
    assert upsert(one_api, etag=found["etag"], allowMissing=True, name="new").code == "aborted"


def test_upsert_that_may_creates_the_dashboard_under_that_id(api: Api) -> None:
    reply = upsert(api, P0, X1, allowMissing=True, name="new", maxDeletions=0)
    assert reply.code == "ok"
    dashboard = reply.dashboard
    assert dashboard == {
        "id": "a",
        "name": "new",
        "tiles": dashboard["tiles"],
        "createdAt": dashboard["createdAt"],
        "updatedAt": dashboard["createdAt"],
        "createdBy": "tester",
        "updatedBy": "tester",
        "etag": dashboard["etag"],
        "revision": "1",
        "tileCount": 2,
    }
    assert reply.body["changes"] == {"created": ids(dashboard["tiles"])}
    assert api.call("Get", {"id": "a"}).dashboard == dashboard


def test_upsert_that_may_creates_an_empty_dashboard_too(one_api: Api) -> None:
    reply = upsert(one_api, allowMissing=True, name="new")
    assert reply.body["changes"] == {}
    assert one_api.call("Get", {"id": "a"}).dashboard == reply.dashboard


def test_upsert_that_may_creates_a_deleted_dashboard_anew(api: Api) -> None:
    before = make(api, P0, Q1)
    api.call("Delete", {"id": "a"})
    reply = upsert(api, X0, allowMissing=True, name="new", maxDeletions=0)
    after = reply.dashboard
    (tile_id,) = ids(after["tiles"])
    assert tile_id.startswith("tile_"), "nothing of the deleted one is recognised"
    assert reply.body["changes"] == {"created": [tile_id]}
    assert (after["name"], after["revision"]) == ("new", "3")
    assert not {"description", "labels", "deletedAt", "purgeAt"} & set(after)
    assert time(after["createdAt"]) > time(before["createdAt"])
    assert api.call("Get", {"id": "a"}).dashboard == after


def test_upsert_that_may_create_ignores_the_name_of_an_existing_dashboard(api: Api) -> None:
    make(api, P0)
    etag = ""
    for tiles in ([Q1, P0], [P0]):
        reply = upsert(api, *tiles, allowMissing=True, name="other", etag=etag)
        assert reply.code == "ok"
        assert (reply.dashboard["name"], reply.dashboard["description"]) == ("Growth", "d")
        assert ids(reply.dashboard["tiles"]) == ids(tiles)
        etag = reply.dashboard["etag"]
    stale = upsert(api, allowMissing=True, name="other", etag="stale")
    assert (stale.code, stale.metadata["current_etag"]) == ("aborted", etag)
    assert api.call("Get", {"id": "a"}).dashboard["etag"] == etag
