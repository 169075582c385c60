"""Create, Get, List, Delete and Undelete of registrations, over every protocol."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.database import stored_rows
from tests.registrations import (
    BUILDERS,
    HOME,
    NEW,
    SEGMENTS,
    client,
    content,
    done,
    get,
    listed,
    register,
    show,
    wrappers,
)
from tests.tiles import Json, ids, time

if TYPE_CHECKING:
    from tests.api import Api
    from tests.server import RunningServer

FULL: Json = NEW | {
    "title": "Growth",
    "scopes": [SEGMENTS, HOME, BUILDERS],
    "segmentIds": ["s2", "s1"],
    "builderIds": ["b"],
    "archived": True,
}
ODD_TEXTS = [
    "İstanbul ß ŉ",
    "👩\u200d👩\u200d👧 e\u0301 é",
    "עִבְרִית \u202eabc",
    "\"'\\/\\u0000 <b>&amp;</b> %s %_ {} ${x} `",
    "\uffff\U0010ffff",
    "  a  ",
    "\u2028\u2029\u200bx",
]


def test_create_answers_what_it_was_given_and_what_the_server_adds(registrations: Api) -> None:
    before = datetime.now(UTC)
    created = register(registrations, **FULL)
    after = datetime.now(UTC)
    assert re.fullmatch("reg_[0-9a-z]{24}", created["id"])
    assert created["etag"]
    assert before <= time(created["createdTs"]) <= after
    assert created == FULL | {
        "id": created["id"],
        "etag": created["etag"],
        "createdTs": created["createdTs"],
        "createdBy": "tester",
        "lastModifiedTs": created["createdTs"],
        "lastModifiedBy": "tester",
    }
    assert get(registrations, created["id"]) == created
    assert listed(registrations) == [created]


def test_create_of_the_same_twice_makes_two(registrations: Api) -> None:
    first, second = register(registrations), register(registrations)
    assert first["id"] < second["id"], "ids sort by the time of creation"
    assert first["etag"] != second["etag"]
    assert ids(listed(registrations)) == [first["id"], second["id"]]


def test_create_times_have_microseconds(one_registrations: Api) -> None:
    times = [register(one_registrations)["createdTs"] for _ in range(5)]
    assert {time(it).microsecond % 1_000 for it in times} != {0}
    assert all(re.search(r":\d\d(\.\d{3}|\.\d{6})?Z$", it) for it in times), "and no nanoseconds"


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_characters_stay_as_they_are(registrations: Api, text: str) -> None:
    fields: Json = {
        "title": text,
        "scopes": [SEGMENTS, BUILDERS],
        "segmentIds": [text, text + "2"],
        "builderIds": [text],
        "organisationId": text,
        "communityId": text + "c",
    }
    created = register(registrations, **fields)
    assert {name: created[name] for name in fields} == fields
    wrapper = show(registrations, created["id"], text, changeMessage=text)
    assert wrapper["content"] == content(text)
    assert (wrapper["changeMessage"], wrapper["organisationId"]) == (text, text)
    place = {"organisationId": text, "scope": SEGMENTS, "segmentId": text, "titleContains": text}
    (found,) = listed(registrations, **place)
    assert found == get(registrations, created["id"])
    assert listed(registrations, **place | {"scope": BUILDERS, "segmentId": "", "builderId": text}) == [found]


def test_create_with_a_content_id_is_refused(registrations: Api) -> None:
    reply = registrations.call("Create", NEW | {"dashboardContentId": "content_x"})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["dashboard_content_id"])
    assert listed(registrations) == []


def test_registration_that_is_missing_is_not_found(registrations: Api) -> None:
    for method, request in {
        "Get": {},
        "Update": {"title": "B"},
        "Delete": {},
        "Undelete": {},
        "GetContent": {},
        "UpdateContent": {"content": content()},
        "ListContents": {},
        "RestoreContent": {"contentId": "content_x"},
    }.items():
        reply = registrations.call(method, {"id": "reg_x", **request})
        assert (reply.code, reply.reason) == ("not_found", "REGISTRATION_NOT_FOUND"), method
        assert reply.metadata == {"id": "reg_x"}


def test_delete_takes_it_out_of_sight_until_undelete(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    created = register(registrations, **FULL)
    first, second = show(registrations, created["id"], "1"), show(registrations, created["id"], "2")
    before = get(registrations, created["id"])
    other = client(server, project_id, subject="other")
    assert done(other, "Delete", id=created["id"]).body == {}

    for method, request in {
        "Get": {},
        "Update": {"title": "B"},
        "Delete": {},
        "GetContent": {},
        "UpdateContent": {"content": content()},
        "RestoreContent": {"contentId": first["id"]},
    }.items():
        reply = registrations.call(method, {"id": created["id"], **request})
        assert (reply.code, reply.reason) == ("not_found", "REGISTRATION_NOT_FOUND"), method
    assert listed(registrations) == []
    (deleted,) = listed(registrations, showDeleted=True)
    assert deleted == before | {
        "etag": deleted["etag"],
        "lastModifiedTs": deleted["deletedAt"],
        "lastModifiedBy": "other",
        "deletedAt": deleted["deletedAt"],
        "purgeAt": deleted["purgeAt"],
    }
    assert deleted["etag"] != before["etag"]
    assert time(deleted["purgeAt"]) - time(deleted["deletedAt"]) == timedelta(days=30)
    assert ids(wrappers(registrations, created["id"])) == [second["id"], first["id"]]

    restored = done(other, "Undelete", id=created["id"]).registration
    other.close()
    assert restored == before | {
        "etag": restored["etag"],
        "lastModifiedTs": restored["lastModifiedTs"],
        "lastModifiedBy": "other",
    }
    assert restored["etag"] not in (before["etag"], deleted["etag"])
    assert time(restored["lastModifiedTs"]) > time(deleted["deletedAt"])
    assert listed(registrations) == [restored] == [get(registrations, created["id"])]
    assert done(registrations, "GetContent", id=created["id"]).wrapper == second


def test_undelete_of_a_live_one_is_refused(registrations: Api) -> None:
    created = register(registrations)
    reply = registrations.call("Undelete", {"id": created["id"]})
    assert (reply.code, reply.reason) == ("already_exists", "REGISTRATION_EXISTS")
    assert get(registrations, created["id"]) == created


def test_registration_is_kept_with_its_places_and_its_organisation(
    server: RunningServer, project_id: str, one_registrations: Api
) -> None:
    created = register(one_registrations, **FULL)
    rows = stored_rows(server, project_id)
    key = (project_id, created["id"])
    assert rows["registration_places"] == [(*key, 1, ""), (*key, 2, "s1"), (*key, 2, "s2"), (*key, 3, "b")]
    assert rows["organisations"] == [(project_id, "org", "community")]
    assert (len(rows["registrations"]), rows["contents"], rows["bodies"]) == (1, [], [])
