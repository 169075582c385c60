"""The history of a dashboard, over the wire: told, read and restored."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.server import make_token
from tests.tiles import Json, ids, markdown, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Reply
    from tests.server import RunningServer


def done(api: Api, method: str, **request: Any) -> Reply:
    reply = api.call(method, request)
    assert reply.code == "ok", reply
    return reply


def history(api: Api, dashboard_id: str = "d", **request: Any) -> list[Json]:
    return done(api, "ListRevisions", id=dashboard_id, **request).body.get("revisions", [])


def at(api: Api, revision: int | str, dashboard_id: str = "d") -> Json:
    return done(api, "GetRevision", id=dashboard_id, revision=str(revision)).dashboard


def a_life(api: Api) -> list[Reply]:
    """Do one of each write, and return their answers."""
    return [
        done(api, "Create", dashboardId="d", name="One", tiles=[markdown("a"), markdown("b")]),
        done(api, "Update", id="d", name="Two", labels={"k": "v"}, changeMessage="renamed"),
        done(
            api,
            "Upsert",
            dashboardId="d",
            tiles=[markdown("c"), markdown("a", x=6), markdown("e", "new")],
            changeMessage="über \U0001f600",
        ),
        done(api, "Delete", id="d", changeMessage="away"),
        done(api, "Undelete", id="d"),
        done(api, "Restore", id="d", revision="1", changeMessage="as it was"),
    ]


KINDS = ["CREATE", "UPDATE", "UPSERT", "DELETE", "UNDELETE", "RESTORE"]


def test_list_revisions_tells_every_write_newest_first(api: Api) -> None:
    answers = a_life(api)
    found = history(api)[::-1]
    assert [int(it["revision"]) for it in found] == [1, 2, 3, 4, 5, 6]
    assert [it["kind"] for it in found] == [f"REVISION_KIND_{kind}" for kind in KINDS]
    messages = ["", "renamed", "über \U0001f600", "away", "", "as it was"]
    assert [it.get("changeMessage", "") for it in found] == messages
    assert [it["name"] for it in found] == ["One", "Two", "Two", "Two", "Two", "One"]
    assert {it["createdBy"] for it in found} == {"tester"}
    for told, answer in zip(found, answers, strict=True):
        if told["kind"] != "REVISION_KIND_DELETE":
            assert (told["etag"], told["createdAt"]) == (
                answer.dashboard["etag"],
                answer.dashboard["updatedAt"],
            )


def test_list_revisions_tells_what_became_of_which_tile(api: Api) -> None:
    done(api, "Create", dashboardId="d", name="A", tiles=[markdown(it) for it in ("a", "b", "c", "d")])
    tiles = [markdown("new"), markdown("a"), markdown("b", "other"), markdown("c", x=1)]
    upserted = done(api, "Upsert", dashboardId="d", tiles=tiles)
    done(api, "Update", id="d", name="B")
    done(api, "Restore", id="d", revision="1")
    created, upsert, update, restore = (it.get("changes", {}) for it in history(api)[::-1])
    assert created == {"created": ["a", "b", "c", "d"]}
    assert upsert == {"created": ["new"], "updated": ["b"], "moved": ["c"], "deleted": ["d"]}
    assert upserted.body["changes"] == upsert | {"unchanged": ["a"]}
    assert update == {}
    assert restore == {"created": ["d"], "updated": ["b"], "moved": ["c"], "deleted": ["new"]}


def test_get_revision_answers_what_the_call_that_made_it_answered(api: Api) -> None:
    answers = a_life(api)
    for number, answer in enumerate(answers, start=1):
        if number != KINDS.index("DELETE") + 1:
            assert at(api, number) == answer.dashboard
            assert int(answer.dashboard["revision"]) == number
    deleted = at(api, 4)
    own = {"etag", "revision", "updatedAt", "deletedAt", "purgeAt"}
    assert {key: deleted[key] for key in deleted.keys() - own} == {
        key: value for key, value in at(api, 3).items() if key not in own
    }
    assert deleted["deletedAt"] == deleted["updatedAt"]
    assert time(deleted["purgeAt"]) > time(deleted["deletedAt"])


def test_history_of_a_deleted_dashboard_can_be_read_and_goes_on(one_api: Api) -> None:
    first = done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")]).dashboard
    done(one_api, "Delete", id="d")
    assert [it["kind"] for it in history(one_api)] == ["REVISION_KIND_DELETE", "REVISION_KIND_CREATE"]
    assert at(one_api, 1) == first
    again = done(one_api, "Create", dashboardId="d", name="B").dashboard
    assert again["revision"] == "3"
    assert [it["revision"] for it in history(one_api)] == ["3", "2", "1"]
    assert history(one_api)[0].get("changes", {}) == {}


def test_history_of_no_dashboard_or_revision_is_not_found(api: Api) -> None:
    done(api, "Create", dashboardId="d", name="A")
    listed = api.call("ListRevisions", {"id": "none"})
    assert (listed.code, listed.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    for request in ({"id": "d", "revision": "2"}, {"id": "none", "revision": "1"}):
        got = api.call("GetRevision", request)
        assert (got.code, got.reason) == ("not_found", "REVISION_NOT_FOUND")
        assert got.metadata == request
    restored = api.call("Restore", {"id": "d", "revision": "9223372036854775807"})
    assert (restored.code, restored.reason) == ("not_found", "REVISION_NOT_FOUND")


@pytest.mark.parametrize("revision", ["0", "-1"])
@pytest.mark.parametrize("method", ["GetRevision", "Restore"])
def test_revision_below_one_is_invalid(one_api: Api, method: str, revision: str) -> None:
    reply = one_api.call(method, {"id": "d", "revision": revision})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["revision"])


def pages(api: Api, page_size: int) -> Iterator[list[str]]:
    token = ""
    while True:
        body = done(api, "ListRevisions", id="d", pageSize=page_size, pageToken=token).body
        yield [it["revision"] for it in body["revisions"]]
        if not (token := body.get("nextPageToken", "")):
            return


@pytest.mark.parametrize(
    ("page_size", "expected"),
    [
        (1, [["5"], ["4"], ["3"], ["2"], ["1"]]),
        (2, [["5", "4"], ["3", "2"], ["1"]]),
        (5, [["5", "4", "3", "2", "1"]]),
        (0, [["5", "4", "3", "2", "1"]]),
        (2_147_483_647, [["5", "4", "3", "2", "1"]]),
    ],
)
def test_list_revisions_pages_hold_each_once(api: Api, page_size: int, expected: list[list[str]]) -> None:
    done(api, "Create", dashboardId="d", name="0")
    for number in range(4):
        done(api, "Update", id="d", name=f"{number + 1}")
    assert list(pages(api, page_size)) == expected


def test_list_revisions_page_goes_on_where_it_was_when_revisions_are_added(one_api: Api) -> None:
    done(one_api, "Create", dashboardId="d", name="0")
    done(one_api, "Update", id="d", name="1")
    following = pages(one_api, 1)
    assert next(following) == ["2"]
    done(one_api, "Update", id="d", name="2")
    assert list(following) == [["1"]]


def test_list_revisions_token_of_another_list_is_refused(one_api: Api) -> None:
    for dashboard_id in ("d", "other"):
        done(one_api, "Create", dashboardId=dashboard_id, name="0")
        done(one_api, "Update", id=dashboard_id, name="1")
    tokens = [
        done(one_api, "ListRevisions", id="other", pageSize=1).body["nextPageToken"],
        done(one_api, "List", pageSize=1).body["nextPageToken"],
        "nonsense",
    ]
    for token in tokens:
        reply = one_api.call("ListRevisions", {"id": "d", "pageToken": token})
        assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_PAGE_TOKEN")


def test_list_revisions_page_size_below_zero_is_refused(one_api: Api) -> None:
    reply = one_api.call("ListRevisions", {"id": "d", "pageSize": -1})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["page_size"])


CONTENT = ("name", "description", "labels", "tiles", "tileCount")


def test_restore_makes_an_old_state_the_newest(api: Api) -> None:
    tiles = [markdown("a"), markdown("b")]
    old = done(api, "Create", dashboardId="d", name="A", labels={"k": "v"}, tiles=tiles).dashboard
    done(
        api,
        "Update",
        id="d",
        name="B",
        description="later",
        labels={"x": "y"},
        updateMask="name,description,labels",
    )
    before = done(api, "Upsert", dashboardId="d", tiles=[markdown("b", "other")]).dashboard
    restored = done(api, "Restore", id="d", revision="1").dashboard
    assert [restored.get(it) for it in CONTENT] == [old.get(it) for it in CONTENT]
    assert ids(restored["tiles"]) == ["a", "b"]
    assert restored["revision"] == "4"
    assert restored["createdAt"] == old["createdAt"]
    assert time(restored["updatedAt"]) > time(before["updatedAt"])
    assert restored["etag"] not in {old["etag"], before["etag"]}
    assert done(api, "Get", id="d").dashboard == restored == at(api, 4)
    assert ids(done(api, "List", labels={"k": "v"}).body["dashboards"]) == ["d"]
    assert "dashboards" not in done(api, "List", labels={"x": "y"}).body


def test_restore_of_the_present_content_changes_nothing(one_api: Api) -> None:
    done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    done(one_api, "Update", id="d", name="B")
    last = done(one_api, "Update", id="d", name="A").dashboard
    assert done(one_api, "Restore", id="d", revision="1").dashboard == last
    assert done(one_api, "Restore", id="d", revision="3").dashboard == last
    assert len(history(one_api)) == 3


def test_restore_with_a_stale_etag_is_aborted_before_anything(one_api: Api) -> None:
    stale = done(one_api, "Create", dashboardId="d", name="A").dashboard["etag"]
    current = done(one_api, "Update", id="d", name="B").dashboard
    for revision in ("1", "2", "9"):  # a change, none, no such revision
        reply = one_api.call("Restore", {"id": "d", "revision": revision, "etag": stale})
        assert (reply.code, reply.reason) == ("aborted", "ETAG_MISMATCH")
        assert reply.metadata["current_etag"] == current["etag"]
    assert done(one_api, "Get", id="d").dashboard == current
    done(one_api, "Restore", id="d", revision="1", etag=current["etag"])


def test_restore_of_a_deleted_dashboard_is_not_found(one_api: Api) -> None:
    done(one_api, "Create", dashboardId="d", name="A")
    done(one_api, "Delete", id="d")
    for request in ({"id": "d", "revision": "1"}, {"id": "none", "revision": "1"}):
        reply = one_api.call("Restore", request)
        assert (reply.code, reply.reason) == ("not_found", "DASHBOARD_NOT_FOUND")
    assert len(history(one_api)) == 2


def test_restore_validate_only_answers_and_writes_nothing(
    server: RunningServer, one_api: Api, project_id: str
) -> None:
    done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    current = done(one_api, "Upsert", dashboardId="d", tiles=[]).dashboard
    before = stored_rows(server, project_id)
    shown = done(one_api, "Restore", id="d", revision="1", validateOnly=True).dashboard
    assert ids(shown["tiles"]) == ["a"]
    for key in ("etag", "revision", "updatedAt"):
        assert shown[key] == current[key]
    assert stored_rows(server, project_id) == before


def test_restore_with_the_same_request_id_is_done_once(one_api: Api) -> None:
    done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    done(one_api, "Upsert", dashboardId="d", tiles=[])
    request = {"id": "d", "revision": "1", "requestId": str(uuid.uuid4())}
    first = done(one_api, "Restore", **request)
    done(one_api, "Upsert", dashboardId="d", tiles=[markdown("z")])
    assert done(one_api, "Restore", **request).body == first.body
    assert len(history(one_api)) == 4
    reply = one_api.call("Restore", request | {"revision": "2"})
    assert (reply.code, reply.reason) == ("invalid_argument", "REQUEST_ID_REUSED")


def test_restore_is_by_who_restores(server: RunningServer, project_id: str) -> None:
    one, other = (
        Api(server, "grpc", make_token(project_id, subject=subject), project_id)
        for subject in ("one", "other")
    )
    done(one, "Create", dashboardId="d", name="A")
    done(one, "Update", id="d", name="B")
    restored = done(other, "Restore", id="d", revision="1").dashboard
    assert (restored["createdBy"], restored["updatedBy"]) == ("one", "other")
    assert [it["createdBy"] for it in history(one)] == ["other", "one", "one"]
    one.close()
    other.close()


def test_identical_tiles_are_stored_once(server: RunningServer, one_api: Api, project_id: str) -> None:
    done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    for number in range(6):
        done(one_api, "Upsert", dashboardId="d", tiles=[markdown("a", str(number % 2))])
        done(one_api, "Update", id="d", name=f"{number}")
    rows = stored_rows(server, project_id)
    assert len(rows["bodies"]) == 3
    assert len(rows["revisions"]) == 13


def test_write_that_changes_nothing_is_no_revision(
    server: RunningServer, one_api: Api, project_id: str
) -> None:
    done(one_api, "Create", dashboardId="d", name="A", tiles=[markdown("a")])
    before = stored_rows(server, project_id)
    done(one_api, "Upsert", dashboardId="d", tiles=[markdown("a")], changeMessage="nothing")
    done(one_api, "Update", id="d", name="A", changeMessage="nothing")
    assert stored_rows(server, project_id) == before
