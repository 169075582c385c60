"""The contents of registrations: each change makes a new wrapper, and none of them ever changes."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from hypothesis import given, settings

from dashkeeper.gen.registrations.v1.content_pb import DashboardContent, DashboardContentWrapper
from dashkeeper.gen.registrations.v1.contents_pb import GetContentRequest, UpdateContentRequest
from dashkeeper.gen.registrations.v1.registrations_pb import ListResponse
from dashkeeper.services.contents import compacted
from tests.attack import MIB
from tests.contents import PROFILE, contents
from tests.database import stored_rows
from tests.registrations import (
    MAX_CONTENT_BYTES,
    client,
    content,
    content_message,
    done,
    get,
    ids_of_400_kib,
    listed,
    pages,
    register,
    show,
    wrappers,
)
from tests.test_unknown_fields import field
from tests.tiles import Json, ids, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api import Api
    from tests.server import RunningServer

SERVICE = "/registrations.v1.RegistrationsService"


def test_content_before_the_first_is_not_found(registrations: Api) -> None:
    made = register(registrations)
    reply = registrations.call("GetContent", {"id": made["id"]})
    assert (reply.code, reply.reason, reply.metadata) == ("not_found", "NO_CONTENT", {"id": made["id"]})
    assert wrappers(registrations, made["id"]) == []


def test_update_content_makes_a_wrapper_and_points_the_registration_at_it(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    made = register(registrations)
    other = client(server, project_id, registrations.transport, subject="other")
    before = datetime.now(UTC)
    wrapper = show(other, made["id"], changeMessage="why")
    after = datetime.now(UTC)
    other.close()
    assert re.fullmatch("content_[0-9a-z]{24}", wrapper["id"])
    assert before <= time(wrapper["createdTs"]) <= after
    assert wrapper == {
        "id": wrapper["id"],
        "content": content(),
        "organisationId": "org",
        "createdTs": wrapper["createdTs"],
        "createdBy": "other",
        "changeMessage": "why",
    }
    assert done(registrations, "GetContent", id=made["id"]).wrapper == wrapper
    assert done(registrations, "GetContent", id=made["id"], contentId=wrapper["id"]).wrapper == wrapper
    shown = get(registrations, made["id"])
    # The registration itself isn't modified: the content has its own created_ts and created_by.
    assert shown == made | {"dashboardContentId": wrapper["id"], "etag": shown["etag"]}
    assert shown["etag"] != made["etag"]


def test_equal_contents_are_new_wrappers_each_time_and_stored_once(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    made = register(registrations)
    kept = [show(registrations, made["id"], title) for title in ("A", "A", "B", "A")]
    assert len({it["id"] for it in kept}) == 4
    assert len({get(registrations, made["id"])["etag"], made["etag"]}) == 2
    rows = stored_rows(server, project_id)
    assert [(row[2], row[3]) for row in rows["contents"]] == [(n + 1, it["id"]) for n, it in enumerate(kept)]
    bodies = {row[2]: row[3] for row in rows["bodies"]}
    expected = [
        DashboardContentWrapper(content=content_message(title)).to_binary() for title in ("A", "A", "B", "A")
    ]
    assert [bodies[row[5]] for row in rows["contents"]] == expected
    assert set(bodies) == {hashlib.sha256(body).digest() for body in expected}
    for wrapper in kept:
        assert done(registrations, "GetContent", id=made["id"], contentId=wrapper["id"]).wrapper == wrapper


def test_empty_content_is_a_content(registrations: Api) -> None:
    made = register(registrations)
    wrapper = done(registrations, "UpdateContent", id=made["id"], content={}).wrapper
    assert wrapper["content"] == {}
    assert done(registrations, "GetContent", id=made["id"]).wrapper == wrapper
    assert ids(listed(registrations, includeContent=True)) == [made["id"]]
    reply = registrations.call("UpdateContent", {"id": made["id"]})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["content"])


def test_content_of_another_registration_is_not_found(registrations: Api) -> None:
    mine, other = register(registrations), register(registrations)
    show(registrations, mine["id"])
    alien = show(registrations, other["id"])["id"]
    for content_id in (alien, "content_x", mine["id"], "x" * 128):
        for method in ("GetContent", "RestoreContent"):
            reply = registrations.call(method, {"id": mine["id"], "contentId": content_id})
            assert (reply.code, reply.reason) == ("not_found", "CONTENT_NOT_FOUND")
            assert reply.metadata == {"id": mine["id"], "content_id": content_id}
    assert len(wrappers(registrations, mine["id"])) == 1


def test_restore_makes_a_new_wrapper_with_an_old_content(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    made = register(registrations)
    old, new = (
        show(registrations, made["id"], "old", changeMessage="m"),
        show(registrations, made["id"], "new"),
    )
    before = get(registrations, made["id"])
    other = client(server, project_id, registrations.transport, subject="other")
    restored = done(other, "RestoreContent", id=made["id"], contentId=old["id"]).wrapper
    other.close()
    assert restored == {
        "id": restored["id"],
        "content": content("old"),
        "organisationId": "org",
        "createdTs": restored["createdTs"],
        "createdBy": "other",
    }
    assert done(registrations, "GetContent", id=made["id"]).wrapper == restored
    assert ids(wrappers(registrations, made["id"])) == [restored["id"], new["id"], old["id"]]
    after = get(registrations, made["id"])
    assert after == before | {"dashboardContentId": restored["id"], "etag": after["etag"]}
    assert after["etag"] != before["etag"]
    assert len(stored_rows(server, project_id)["bodies"]) == 2
    # The current one may be restored too, and is a new one as well.
    again = done(registrations, "RestoreContent", id=made["id"], contentId=restored["id"]).wrapper
    assert again["id"] != restored["id"]


def test_must_be_first_is_taken_once(registrations: Api) -> None:
    made = register(registrations)
    first = show(registrations, made["id"], mustBeFirst=True)
    etag = get(registrations, made["id"])["etag"]
    for more in ({}, {"etag": first["id"]}, {"validateOnly": True}):
        request = {"id": made["id"], "content": content("2"), "mustBeFirst": True, **more}
        reply = registrations.call("UpdateContent", request)
        assert (reply.code, reply.reason) == ("already_exists", "CONTENT_EXISTS")
        assert reply.metadata == {"id": made["id"], "current_etag": first["id"]}
    assert get(registrations, made["id"])["etag"] == etag


def test_contents_are_listed_newest_first_without_what_they_show(registrations: Api) -> None:
    made, other = register(registrations), register(registrations)
    kept = [show(registrations, made["id"], str(n), changeMessage=f"m{n}") for n in range(5)]
    alien = show(registrations, other["id"])
    expected = [{name: it[name] for name in it if name != "content"} for it in kept[::-1]]
    for page_size, lengths in ((0, [5]), (1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (6, [5])):
        found = list(
            pages(registrations, "ListContents", "contentWrappers", id=made["id"], pageSize=page_size)
        )
        assert [len(page) for page in found] == lengths
        assert [it for page in found for it in page] == expected
    done(registrations, "Delete", id=made["id"])
    assert wrappers(registrations, made["id"]) == expected
    assert ids(wrappers(registrations, other["id"])) == [alien["id"]]


def test_contents_token_goes_on_while_others_are_made_and_only_for_its_registration(
    one_registrations: Api,
) -> None:
    made, other = register(one_registrations), register(one_registrations)
    kept = [show(one_registrations, made["id"], str(n)) for n in range(4)]
    first = done(one_registrations, "ListContents", id=made["id"], pageSize=2).body
    show(one_registrations, made["id"], "new")
    token = first["nextPageToken"]
    second = done(one_registrations, "ListContents", id=made["id"], pageToken=token).body
    assert ids(first["contentWrappers"] + second["contentWrappers"]) == ids(kept[::-1])
    show(one_registrations, other["id"])
    for method, request in {
        "ListContents": {"id": other["id"]},
        "List": {"organisationId": "org"},
    }.items():
        reply = one_registrations.call(method, {**request, "pageToken": token})
        assert (reply.code, reply.reason) == ("invalid_argument", "INVALID_PAGE_TOKEN")
    reply = one_registrations.call("ListContents", {"id": made["id"], "pageSize": -1})
    assert (reply.code, list(reply.violations)) == ("invalid_argument", ["page_size"])


def test_contents_page_holds_a_hundred(one_registrations: Api) -> None:
    made = register(one_registrations)
    for number in range(100):
        show(one_registrations, made["id"], str(number))
    for page_size in (0, 100, 101, 2_147_483_647):
        found = done(one_registrations, "ListContents", id=made["id"], pageSize=page_size).body
        assert len(found["contentWrappers"]) == 100
        assert "nextPageToken" not in found


# What a content may hold


@pytest.fixture(scope="module")
def shared(sqlite_server: RunningServer) -> Iterator[tuple[Api, str]]:
    """A registration that many contents are given to."""
    api = client(sqlite_server, "any-content")
    yield api, register(api)["id"]
    api.close()


@settings(PROFILE, max_examples=50)
@given(message=contents)
def test_any_valid_content_comes_back_as_it_was(shared: tuple[Api, str], message: DashboardContent) -> None:
    api, registration_id = shared
    request = UpdateContentRequest(id=registration_id, content=message)
    reply = api.send("UpdateContent", request.to_binary())
    assert reply.code == "ok", reply
    assert reply.wrapper["content"] == json.loads(compacted(message).to_json())
    assert done(api, "GetContent", id=registration_id).wrapper == reply.wrapper


NEW = field(1000, "of a newer client")


def a_content(*places: str) -> bytes:
    """Encode a content that says something new at these places."""
    new = dict.fromkeys(places, NEW)
    request = field(2, field(1, "users") + new.get("metric", b"")) + new.get("request", b"")
    source = field(1, request) + new.get("source", b"")
    dataset = field(3, source) + new.get("dataset", b"")
    chart = field(2, 4) + field(4, dataset) + new.get("chart", b"")
    card = field(3, 4) + field(4, 2) + field(6, chart) + new.get("card", b"")
    section = field(1, "A") + field(2, card) + new.get("section", b"")
    return field(2, section) + new.get("content", b"")


def call(server: RunningServer, api: Api, method: str, body: bytes) -> bytes:
    """Call a method with bytes and return the bytes of its answer."""
    if api.transport == "grpc":
        with grpc.insecure_channel(server.grpc) as channel:
            rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}/{method}")
            return rpc(body, metadata=tuple(api.headers.items()), timeout=60)
    headers = {"content-type": "application/proto", **api.headers}
    answer = httpx.post(f"{server.http}{SERVICE}/{method}", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


PLACES = ["content", "section", "card", "chart", "dataset", "source", "request", "metric"]


@pytest.mark.parametrize("transport", ["grpc", "connect-proto"])
@pytest.mark.parametrize("places", [*([place] for place in PLACES), PLACES], ids=",".join)
def test_unknown_fields_of_a_content_are_kept_and_given_back(
    sqlite_server: RunningServer, project_id: str, transport: str, places: list[str]
) -> None:
    api = client(sqlite_server, project_id, transport)
    made = register(api)
    encoded = a_content(*places)
    assert DashboardContent.from_binary(a_content()).sections[0].cards[0].charts[0].dataset is not None
    answer = call(sqlite_server, api, "UpdateContent", field(1, made["id"]) + field(2, encoded))
    assert field(2, encoded) in answer
    assert call(sqlite_server, api, "GetContent", GetContentRequest(id=made["id"]).to_binary()) == answer
    old = done(api, "GetContent", id=made["id"]).wrapper["id"]
    show(api, made["id"])
    restore = field(1, made["id"]) + field(2, old)
    assert field(2, encoded) in call(sqlite_server, api, "RestoreContent", restore)
    api.close()


def large(size: int) -> Json:
    """Return a content of as many bytes, a few more or less, in texts of at most 100,000 characters."""
    sections: list[Json] = []
    while size > 0:
        text = "x" * min(size, 100_000)
        chart = {"type": "CHART_TYPE_METRIC", "dataset": {"otql": {"queryText": text}}}
        sections.append({"cards": [{"w": 1, "h": 1, "charts": [chart]}]})
        size -= 100_000
    return {"sections": sections}


def as_large_as(size: int) -> Json:
    """Return a content of exactly so many bytes."""
    made = large(size - 2_000)
    missing = size - len(DashboardContent.from_json(json.dumps(made)).to_binary())
    made["sections"][-1]["cards"][0]["charts"][0]["dataset"]["otql"]["queryText"] += "x" * missing
    return made


def test_content_of_3_5_mib_is_kept_and_a_larger_one_is_not(server: RunningServer, project_id: str) -> None:
    api = client(server, project_id)
    made = register(api, **ids_of_400_kib())
    at_limit = as_large_as(MAX_CONTENT_BYTES)
    wrapper = done(api, "UpdateContent", id=made["id"], content=at_limit).wrapper
    assert wrapper["content"] == at_limit
    assert done(api, "GetContent", id=made["id"]).wrapper == wrapper
    page = done(api, "List", organisationId="org", includeContent=True).body
    assert page["contentWrappers"] == [wrapper]
    assert len(ListResponse.from_json(json.dumps(page)).to_binary()) < 4 * MIB - 4_096  # the longest token
    rows = stored_rows(server, project_id)
    for dry_run in (True, False):
        request = {"id": made["id"], "content": as_large_as(MAX_CONTENT_BYTES + 1), "validateOnly": dry_run}
        reply = api.call("UpdateContent", request)
        assert (reply.code, reply.reason) == ("resource_exhausted", "CONTENT_TOO_LARGE")
        assert reply.metadata == {"max_bytes": str(MAX_CONTENT_BYTES)}
    assert stored_rows(server, project_id) == rows
    api.close()


@pytest.mark.parametrize("method", ["RestoreContent", "Update"])
def test_content_of_3_5_mib_is_restored_whatever_the_change_message(
    one_registrations: Api, method: str
) -> None:
    api = one_registrations
    made = register(api)
    at_limit = as_large_as(MAX_CONTENT_BYTES)
    first = done(api, "UpdateContent", id=made["id"], content=at_limit).wrapper
    current = show(api, made["id"])
    why = "\U0001f4c8" * 500
    if method == "Update":
        etag = get(api, made["id"])["etag"]
        done(api, method, id=made["id"], etag=etag, dashboardContentId=first["id"], changeMessage=why)
    else:
        done(api, method, id=made["id"], contentId=first["id"], changeMessage=why)
    restored = done(api, "GetContent", id=made["id"]).wrapper
    assert restored["id"] not in {first["id"], current["id"]}
    assert (restored["content"], restored["changeMessage"]) == (at_limit, why)
