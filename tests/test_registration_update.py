"""Update of registrations: what it changes, what it leaves, and the content id that it may carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.database import stored_rows
from tests.registrations import (
    BUILDERS,
    HOME,
    MAX_IDS_BYTES,
    NEW,
    SEGMENTS,
    client,
    done,
    get,
    ids_of_400_kib,
    listed,
    register,
    show,
    wrappers,
)
from tests.tiles import Json, ids, time

if TYPE_CHECKING:
    from tests.api import Api
    from tests.server import RunningServer

OLD: Json = {
    "title": "old",
    "scopes": [SEGMENTS, BUILDERS],
    "segmentIds": ["s1", "s2"],
    "builderIds": ["b1"],
    "archived": True,
}
CHANGED: Json = {
    "title": "new",
    "scopes": [HOME, SEGMENTS, BUILDERS],
    "segmentIds": ["s3"],
    "builderIds": ["b2", "b1"],
    "archived": False,
}
EMPTY: Json = {"title": "", "scopes": [], "segmentIds": [], "builderIds": [], "archived": False}


def said(registration: Json) -> Json:
    """Return what can be changed of a registration."""
    return {name: registration.get(name, empty) for name, empty in EMPTY.items()}


@pytest.fixture
def old(one_registrations: Api) -> Json:
    """A registration with all that Update can change."""
    return register(one_registrations, **OLD)


def test_update_keeps_what_it_does_not_change(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    show(registrations, register(registrations, **OLD)["id"])
    (before,) = listed(registrations)
    other = client(server, project_id, registrations.transport, subject="other")
    after = done(other, "Update", id=before["id"], title="new").registration
    other.close()
    assert after == before | {
        "title": "new",
        "lastModifiedTs": after["lastModifiedTs"],
        "lastModifiedBy": "other",
        "etag": after["etag"],
    }
    assert time(after["lastModifiedTs"]) > time(before["lastModifiedTs"])
    assert after["etag"] != before["etag"]
    assert get(registrations, before["id"]) == after


@pytest.mark.parametrize("mask", [{}, {"updateMask": ""}])
@pytest.mark.parametrize("fields", [["title"], ["segmentIds"], ["scopes", "builderIds"], list(CHANGED)])
def test_update_without_paths_changes_the_populated_fields(
    one_registrations: Api, old: Json, fields: list[str], mask: Json
) -> None:
    wanted = {name: CHANGED[name] for name in fields}
    after = done(one_registrations, "Update", id=old["id"], **wanted, **mask).registration
    assert said(after) == OLD | wanted
    assert said(get(one_registrations, old["id"])) == OLD | wanted


def test_update_without_paths_leaves_empty_lists_alone(one_registrations: Api, old: Json) -> None:
    request = {**EMPTY, "title": "new"}
    del request["archived"]
    assert said(done(one_registrations, "Update", id=old["id"], **request).registration) == OLD | {
        "title": "new"
    }


@pytest.mark.parametrize(
    ("mask", "fields"),
    [
        *((name, [name]) for name in CHANGED),
        ("title,segmentIds", ["title", "segmentIds"]),
        ("title,title", ["title"]),
        ("*", list(CHANGED)),
        ("title,*", list(CHANGED)),
        ("dashboardContentId", []),
    ],
)
def test_update_with_paths_changes_these_and_no_others(
    one_registrations: Api, old: Json, mask: str, fields: list[str]
) -> None:
    after = done(one_registrations, "Update", id=old["id"], **CHANGED, updateMask=mask).registration
    assert said(after) == OLD | {name: CHANGED[name] for name in fields}
    assert said(get(one_registrations, old["id"])) == said(after)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"updateMask": "segmentIds"}, {"segmentIds": []}),
        ({"updateMask": "builderIds,archived"}, {"builderIds": [], "archived": False}),
        ({"updateMask": "archived"}, {"archived": False}),
        (
            {"updateMask": "scopes,segmentIds,builderIds"},
            {"scopes": [], "segmentIds": [], "builderIds": []},
        ),
        ({"updateMask": "*", "title": "new"}, {**EMPTY, "title": "new"}),
        ({"updateMask": "*", "title": "new", "archived": True}, {**EMPTY, "title": "new", "archived": True}),
        ({"archived": False}, {"archived": False}),
    ],
)
def test_update_empties_what_is_empty_and_named(registrations: Api, request_: Json, expected: Json) -> None:
    old = register(registrations, **OLD)
    after = done(registrations, "Update", id=old["id"], **request_).registration
    assert said(after) == OLD | expected
    assert get(registrations, old["id"]) == after


def test_update_of_the_places_moves_it(one_registrations: Api, old: Json) -> None:
    def shown_in(segment_id: str) -> bool:
        return bool(listed(one_registrations, scope=SEGMENTS, segmentId=segment_id))

    assert [shown_in(it) for it in ("s1", "s2", "s3")] == [True, True, False]
    done(one_registrations, "Update", id=old["id"], segmentIds=["s3", "s2"])
    assert [shown_in(it) for it in ("s1", "s2", "s3")] == [False, True, True]
    done(one_registrations, "Update", id=old["id"], updateMask="segmentIds")
    assert [shown_in(it) for it in ("s1", "s2", "s3")] == [True, True, True]
    done(one_registrations, "Update", id=old["id"], scopes=[BUILDERS])
    assert [shown_in(it) for it in ("s1", "s2", "s3")] == [False, False, False]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"scopes": [BUILDERS], "updateMask": "scopes"}, {"segment_ids"}),
        ({"scopes": [HOME]}, {"segment_ids", "builder_ids"}),
        ({"updateMask": "scopes"}, {"segment_ids", "builder_ids"}),
        ({"title": "new", "segmentIds": ["s"], "updateMask": "*"}, {"segment_ids"}),
        ({"scopes": [SEGMENTS], "segmentIds": ["s"], "updateMask": "scopes,segmentIds"}, {"builder_ids"}),
    ],
)
def test_update_that_would_leave_ids_without_their_scope_is_refused(
    registrations: Api, request_: Json, fields: set[str]
) -> None:
    old = register(registrations, **OLD)
    for dry_run in (True, False):
        reply = registrations.call("Update", {"id": old["id"], **request_, "validateOnly": dry_run})
        assert (reply.code, set(reply.violations)) == ("invalid_argument", fields)
    assert get(registrations, old["id"]) == old


def test_update_of_ids_whose_scope_is_stored_is_taken(registrations: Api) -> None:
    old = register(registrations, scopes=[SEGMENTS])
    after = done(registrations, "Update", id=old["id"], segmentIds=["s"], updateMask="segmentIds")
    assert after.registration["segmentIds"] == ["s"]


@pytest.mark.parametrize("mask", ["title", "*", "scopes,title"])
def test_update_that_would_empty_the_title_is_refused(one_registrations: Api, old: Json, mask: str) -> None:
    reply = one_registrations.call("Update", {"id": old["id"], "scopes": [HOME], "updateMask": mask})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["title"])
    assert get(one_registrations, old["id"]) == old


@pytest.mark.parametrize("mask", ["organisationId", "communityId", "etag", "title,id", "createdTs", "a.b"])
def test_update_of_another_path_is_refused(registrations: Api, mask: str) -> None:
    old = register(registrations)
    reply = registrations.call("Update", {"id": old["id"], "title": "new", "updateMask": mask})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["update_mask"])
    assert get(registrations, old["id"]) == old


@pytest.mark.parametrize(
    "request_",
    [
        {},
        OLD,
        OLD | {"updateMask": "*"},
        {"title": "old", "updateMask": "title"},
        {"archived": True},
        {"updateMask": "dashboardContentId"},
    ],
)
def test_update_that_changes_nothing_writes_nothing(
    server: RunningServer, project_id: str, one_registrations: Api, old: Json, request_: Json
) -> None:
    show(one_registrations, old["id"])
    before = get(one_registrations, old["id"])
    rows = stored_rows(server, project_id)
    current = before["dashboardContentId"]
    for content_id in ("", current):
        request = {"id": old["id"], **request_, "dashboardContentId": content_id, "changeMessage": "none"}
        assert done(one_registrations, "Update", **request).registration == before
    assert stored_rows(server, project_id) == rows


# dashboard_content_id


@pytest.fixture
def shown(one_registrations: Api) -> tuple[Json, list[Json]]:
    """A registration with three contents, and these, oldest first."""
    made = register(one_registrations)
    kept = [show(one_registrations, made["id"], title) for title in "123"]
    return get(one_registrations, made["id"]), kept


@pytest.mark.parametrize("mask", [None, "dashboardContentId", "*"])
def test_update_to_an_older_content_needs_an_etag(
    server: RunningServer,
    project_id: str,
    one_registrations: Api,
    shown: tuple[Json, list[Json]],
    mask: str | None,
) -> None:
    before, (older, *_) = shown
    request = {"id": before["id"], "title": "A", "scopes": [HOME], "dashboardContentId": older["id"]}
    request |= {"updateMask": mask} if mask else {}
    rows = stored_rows(server, project_id)
    for dry_run in (True, False):
        reply = one_registrations.call("Update", request | {"validateOnly": dry_run})
        assert (reply.code, reply.reason) == ("failed_precondition", "ETAG_REQUIRED")
        stale = one_registrations.call("Update", request | {"validateOnly": dry_run, "etag": "stale"})
        assert (stale.code, stale.reason) == ("aborted", "ETAG_MISMATCH")
    assert stored_rows(server, project_id) == rows
    after = done(one_registrations, "Update", **request, etag=before["etag"], changeMessage="back")
    current = done(one_registrations, "GetContent", id=before["id"]).wrapper
    assert after.registration == before | {
        "dashboardContentId": current["id"],
        "etag": after.registration["etag"],
    }
    assert after.registration["etag"] != before["etag"]
    assert current["id"] not in ids(shown[1])
    assert (current["content"], current["changeMessage"]) == (older["content"], "back")
    assert ids(wrappers(one_registrations, before["id"])) == [current["id"], *ids(shown[1][::-1])]
    assert get(one_registrations, before["id"]) == after.registration


def test_update_to_an_older_content_over_every_protocol(registrations: Api) -> None:
    made = register(registrations)
    older = show(registrations, made["id"], "1")
    show(registrations, made["id"], "2")
    etag = get(registrations, made["id"])["etag"]
    request = {"id": made["id"], "title": "B", "dashboardContentId": older["id"], "etag": etag}
    after = done(registrations, "Update", **request).registration
    assert after["title"] == "B"
    assert time(after["lastModifiedTs"]) > time(made["lastModifiedTs"])
    assert done(registrations, "GetContent", id=made["id"]).wrapper["content"] == older["content"]


def test_update_with_a_mask_without_the_content_id_leaves_the_content(
    one_registrations: Api, shown: tuple[Json, list[Json]]
) -> None:
    before, (older, *_) = shown
    request = {"id": before["id"], "title": "B", "dashboardContentId": older["id"], "updateMask": "title"}
    after = done(one_registrations, "Update", **request).registration
    assert after["dashboardContentId"] == before["dashboardContentId"]
    assert after["title"] == "B"
    assert len(wrappers(one_registrations, before["id"])) == 3


@pytest.mark.parametrize("with_etag", [True, False])
def test_update_to_a_content_of_another_registration_is_refused(
    server: RunningServer,
    project_id: str,
    one_registrations: Api,
    shown: tuple[Json, list[Json]],
    with_etag: bool,
) -> None:
    other = register(one_registrations, **NEW)
    alien = show(one_registrations, other["id"])
    rows = stored_rows(server, project_id)
    for content_id in (alien["id"], "content_x"):
        request = {"id": shown[0]["id"], "title": "B", "dashboardContentId": content_id}
        request |= {"etag": shown[0]["etag"]} if with_etag else {}
        reply = one_registrations.call("Update", request)
        assert (reply.code, list(reply.violations)) == ("invalid_argument", ["dashboard_content_id"])
    assert stored_rows(server, project_id) == rows


@pytest.mark.parametrize("dry_run", [True, False])
def test_ids_of_400_kib_are_kept_and_larger_ones_are_not(
    server: RunningServer, project_id: str, dry_run: bool
) -> None:
    registrations = client(server, project_id)
    at_limit = ids_of_400_kib()
    more = at_limit | {"builderIds": [*at_limit["builderIds"][:-1], at_limit["builderIds"][-1] + "x"]}
    made = register(registrations, **at_limit)
    small = register(registrations)
    done(registrations, "Update", id=small["id"], **at_limit)
    for registration in (made, get(registrations, small["id"])):
        assert {name: registration[name] for name in at_limit} == at_limit
    done(registrations, "Update", id=made["id"], title="\U0001f4c8" * 200)
    rows = stored_rows(server, project_id)
    for method, request in {"Create": NEW | more, "Update": {"id": made["id"], **more}}.items():
        reply = registrations.call(method, request | {"validateOnly": dry_run})
        assert (reply.code, reply.reason) == ("resource_exhausted", "REGISTRATION_TOO_LARGE")
        assert reply.metadata == {"max_bytes": str(MAX_IDS_BYTES)}
    assert stored_rows(server, project_id) == rows
    registrations.close()
