"""What every write of a registration may carry: an etag, a request id, a reason, the wish to only try."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.database import stored_rows
from tests.registrations import (
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
from tests.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api import Api, Reply
    from tests.server import RunningServer
    from tests.tiles import Json

# A write that changes something, and whether the registration is to be live for it. ID and OLD stand for
# the registration and its first content.
WRITES: dict[str, tuple[str, Json, bool]] = {
    "Create": ("Create", NEW | {"scopes": [SEGMENTS], "segmentIds": ["s"]}, True),
    "Update": ("Update", {"id": "ID", "title": "B"}, True),
    "Update-archived": ("Update", {"id": "ID", "archived": True}, True),
    "Delete": ("Delete", {"id": "ID"}, True),
    "Undelete": ("Undelete", {"id": "ID"}, False),
    "UpdateContent": ("UpdateContent", {"id": "ID", "content": content("new")}, True),
    "UpdateContent-same": ("UpdateContent", {"id": "ID", "content": content("2")}, True),
    "RestoreContent": ("RestoreContent", {"id": "ID", "contentId": "OLD"}, True),
}
each_write = pytest.mark.parametrize(("method", "request_", "live"), WRITES.values(), ids=WRITES)
CONTENT_WRITES = ("UpdateContent", "RestoreContent")


class Made:
    """A registration with two contents, deleted or not, and what requests are about it."""

    def __init__(self, api: Api, *, live: bool = True) -> None:
        self.id = register(api)["id"]
        self.old = show(api, self.id, "1")
        self.current = show(api, self.id, "2")
        if not live:
            done(api, "Delete", id=self.id)
        (self.state,) = listed(api, showDeleted=True)

    def filled_in(self, request: Json) -> Json:
        """Return a request with the ids that it is about."""
        ids = {"ID": self.id, "OLD": self.old["id"]}
        return {
            name: ids.get(value, value) if isinstance(value, str) else value
            for name, value in request.items()
        }

    def etag_for(self, method: str) -> str:
        """Return the current etag that a method compares: the content's is the id of its wrapper."""
        return self.current["id"] if method in CONTENT_WRITES else self.state["etag"]


@pytest.fixture
def request_id() -> str:
    return str(uuid.uuid4())


def change(api: Api, made: Made) -> None:
    """Write whatever can be written to the registration."""
    api.call("Undelete", {"id": made.id})
    done(api, "Update", id=made.id, title="later", scopes=[HOME])
    show(api, made.id, "later")


# Etags


@pytest.mark.parametrize(("method", "request_", "live"), [it for it in WRITES.values() if it[0] != "Create"])
def test_write_with_a_stale_etag_is_aborted_and_with_the_current_one_done(
    server: RunningServer, project_id: str, registrations: Api, method: str, request_: Json, *, live: bool
) -> None:
    made = Made(registrations, live=live)
    request = made.filled_in(request_)
    etag = made.etag_for(method)
    rows = stored_rows(server, project_id)
    other_kind = made.state["etag"] if method in CONTENT_WRITES else made.current["id"]
    for stale in ("stale", other_kind, made.old["id"], etag.swapcase(), etag + " "):
        for dry_run in (True, False):
            reply = registrations.call(method, request | {"etag": stale, "validateOnly": dry_run})
            assert (reply.code, reply.reason) == ("aborted", "ETAG_MISMATCH")
            assert reply.metadata == {"id": made.id, "current_etag": etag}
    assert stored_rows(server, project_id) == rows
    done(registrations, method, **request, etag=etag)
    again = registrations.call(method, request | {"etag": etag})
    assert again.code == ("not_found" if method == "Delete" else "aborted")


def test_first_content_has_no_etag_to_compare_with(registrations: Api) -> None:
    made = register(registrations)
    for etag in ("x", made["etag"]):
        reply = registrations.call("UpdateContent", {"id": made["id"], "content": content(), "etag": etag})
        assert (reply.code, reply.reason) == ("aborted", "ETAG_MISMATCH")
    show(registrations, made["id"])


def test_update_that_changes_nothing_compares_the_etag_too(one_registrations: Api) -> None:
    made = register(one_registrations)
    reply = one_registrations.call("Update", {"id": made["id"], "title": "A", "etag": "stale"})
    assert reply.code == "aborted"
    after = done(one_registrations, "Update", id=made["id"], title="A", etag=made["etag"])
    assert after.registration == made


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants an etag with every write of something that exists."""
    with running_server(tmp_path_factory.mktemp("strict"), REQUIRE_ETAG="true") as running:
        yield running


def test_require_etag_demands_one_of_every_write_of_what_exists(
    strict_server: RunningServer, project_id: str
) -> None:
    api = client(strict_server, project_id)
    registration_id = register(api)["id"]
    old = show(api, registration_id, "1")  # nothing is there that could have an etag
    made_before = ("Update", {"title": "B"}), ("UpdateContent", {"content": content("2")})
    rows = stored_rows(strict_server, project_id)
    writes: list[tuple[str, Json]] = [
        *made_before,
        ("Update", {"title": "B"}),
        ("Update", {"dashboardContentId": old["id"]}),
        ("RestoreContent", {"contentId": old["id"]}),
        ("Delete", {}),
        ("Undelete", {}),
    ]
    for method, fields in writes[:-1]:
        for dry_run in (True, False):
            reply = api.call(method, {"id": registration_id, **fields, "validateOnly": dry_run})
            assert (reply.code, reply.reason) == ("failed_precondition", "ETAG_REQUIRED"), method
    assert stored_rows(strict_server, project_id) == rows
    for method, fields in writes:
        (state,) = listed(api, showDeleted=True)
        etag = state["dashboardContentId"] if method in CONTENT_WRITES else state["etag"]
        if method == "Undelete":
            assert api.call(method, {"id": registration_id}).reason == "ETAG_REQUIRED"
        done(api, method, id=registration_id, **fields, etag=etag)
    for method in ("Update", "Delete", "Undelete"):
        assert api.call(method, {"id": "reg_x"}).code == "not_found"
    api.close()


# Request ids


@each_write
def test_same_call_again_answers_the_first_answer_whatever_happened_since(
    server: RunningServer, registrations: Api, request_id: str, method: str, request_: Json, *, live: bool
) -> None:
    made = Made(registrations, live=live)
    request = made.filled_in(request_) | {"requestId": request_id}
    first = done(registrations, method, **request)
    change(registrations, made)
    project_id = registrations.headers["x-project-id"]
    rows = stored_rows(server, project_id)
    for spelling in (request_id, request_id.upper()):
        assert done(registrations, method, **request | {"requestId": spelling}).body == first.body
    assert stored_rows(server, project_id) == rows


def test_same_calls_after_a_crash_on_another_server_answer_the_first_answers(
    tmp_path: Path, request_id: str
) -> None:
    first: dict[str, tuple[Json, Reply]] = {}
    with running_server(tmp_path) as server:
        for name, (method, request, live) in WRITES.items():
            api = client(server, f"p-{name}")
            made = Made(api, live=live)
            asked = made.filled_in(request) | {"requestId": request_id}
            first[name] = asked, done(api, method, **asked)
            change(api, made)
            api.close()
        server.kill()
    with running_server(tmp_path) as server:
        for name, (method, _, _) in WRITES.items():
            api = client(server, f"p-{name}", "connect-json")
            asked, reply = first[name]
            assert done(api, method, **asked).body == reply.body
            api.close()


@pytest.mark.parametrize(
    ("method", "request_", "other"),
    [
        ("Create", NEW, {"title": "B"}),
        ("Create", NEW, {"organisationId": "other"}),
        ("Create", NEW, {"validateOnly": True}),
        ("Update", {"id": "ID", "title": "B"}, {"updateMask": "title"}),
        ("Update", {"id": "ID", "title": "B"}, {"archived": False}),
        ("Update", {"id": "ID", "title": "B"}, {"dashboardContentId": "x"}),
        ("Delete", {"id": "ID"}, {"etag": "x"}),
        ("UpdateContent", {"id": "ID", "content": content()}, {"content": content("2")}),
        ("UpdateContent", {"id": "ID", "content": content()}, {"changeMessage": "why"}),
        ("UpdateContent", {"id": "ID", "content": content()}, {"mustBeFirst": True}),
        ("RestoreContent", {"id": "ID", "contentId": "OLD"}, {"contentId": "content_x"}),
    ],
)
def test_different_call_under_a_used_id_is_refused(
    server: RunningServer,
    project_id: str,
    one_registrations: Api,
    request_id: str,
    method: str,
    request_: Json,
    other: Json,
) -> None:
    request = Made(one_registrations).filled_in(request_) | {"requestId": request_id}
    done(one_registrations, method, **request)
    rows = stored_rows(server, project_id)
    reply = one_registrations.call(method, request | other)
    assert (reply.code, reply.reason) == ("invalid_argument", "REQUEST_ID_REUSED")
    assert list(reply.violations) == ["request_id"]
    assert stored_rows(server, project_id) == rows


def test_same_id_for_another_service_subject_or_method_is_another_call(
    server: RunningServer, project_id: str, one_registrations: Api, one_api: Api, request_id: str
) -> None:
    made = done(one_registrations, "Create", **NEW, requestId=request_id).registration
    assert one_api.call("Create", {"name": "A", "requestId": request_id}).code == "ok"
    other = client(server, project_id, subject="other")
    assert done(other, "Create", **NEW, requestId=request_id).registration["id"] != made["id"]
    assert done(other, "Update", id=made["id"], title="B", requestId=request_id).registration["title"] == "B"
    other.close()
    after = done(one_registrations, "Update", id=made["id"], title="C", requestId=request_id).registration
    assert after["title"] == "C"


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Create", NEW | {"communityId": "another"}, "invalid_argument"),
        ("Update", {"id": "reg_x", "title": "B"}, "not_found"),
        ("Update", {"id": "ID", "title": "B", "etag": "stale"}, "aborted"),
        ("Update", {"id": "ID", "dashboardContentId": "OLD"}, "failed_precondition"),
        ("Update", {"id": "ID", "segmentIds": ["s"]}, "invalid_argument"),
        ("Undelete", {"id": "ID"}, "already_exists"),
        ("UpdateContent", {"id": "ID", "content": content(), "mustBeFirst": True}, "already_exists"),
        ("RestoreContent", {"id": "ID", "contentId": "content_x"}, "not_found"),
    ],
)
def test_failed_call_stores_nothing(
    server: RunningServer,
    project_id: str,
    one_registrations: Api,
    request_id: str,
    method: str,
    request_: Json,
    code: str,
) -> None:
    request = Made(one_registrations).filled_in(request_) | {"requestId": request_id}
    rows = stored_rows(server, project_id)
    tried = one_registrations.call(method, request | {"validateOnly": True})
    failed = one_registrations.call(method, request)
    assert (tried.code, tried.reason, tried.metadata) == (failed.code, failed.reason, failed.metadata)
    assert failed.code == code
    assert stored_rows(server, project_id) == rows


def test_failed_call_is_carried_out_when_it_comes_again(registrations: Api, request_id: str) -> None:
    made = Made(registrations)
    request: Json = {"id": made.id, "requestId": request_id}
    assert registrations.call("Undelete", request).code == "already_exists"
    done(registrations, "Delete", id=made.id)
    assert done(registrations, "Undelete", **request).registration["title"] == "A"


# Dry runs


@each_write
def test_dry_run_leaves_no_trace_and_answers_as_the_real_call(
    server: RunningServer, registrations: Api, request_id: str, method: str, request_: Json, *, live: bool
) -> None:
    made = Made(registrations, live=live)
    project_id = registrations.headers["x-project-id"]
    request = made.filled_in(request_) | {"requestId": request_id, "changeMessage": "why"}
    rows = stored_rows(server, project_id)
    tried = done(registrations, method, **request, validateOnly=True).body
    assert stored_rows(server, project_id) == rows
    real = done(registrations, method, **request).body
    assert stored_rows(server, project_id) != rows
    assert tried.keys() == real.keys()
    if "contentWrapper" in real:
        expected = dict(real["contentWrapper"])
        del expected["id"], expected["createdTs"]
        assert tried["contentWrapper"] == expected
    if "registration" in real:
        shown, state = tried["registration"], {} if method == "Create" else made.state
        decided = (
            {"id", "etag", "createdTs", "lastModifiedTs"}
            if method == "Create"
            else {"etag", "lastModifiedTs"}
        )
        assert {name: it for name, it in shown.items() if name not in decided} == {
            name: it for name, it in real["registration"].items() if name not in decided
        }
        for name in ("id", "etag", "lastModifiedTs"):
            assert shown.get(name) == state.get(name)


def test_dry_run_of_a_restoring_update_shows_the_present_content_id(one_registrations: Api) -> None:
    made = Made(one_registrations)
    request = {"id": made.id, "dashboardContentId": made.old["id"], "etag": made.state["etag"]}
    shown = done(one_registrations, "Update", **request, validateOnly=True).registration
    assert shown == made.state == get(one_registrations, made.id)


def test_dry_run_that_would_change_nothing_answers_the_current_state(one_registrations: Api) -> None:
    made = Made(one_registrations)
    shown = done(one_registrations, "Update", id=made.id, title="A", validateOnly=True).registration
    assert shown == made.state


@each_write
def test_dry_run_needs_the_permission_to_write(
    server: RunningServer, project_id: str, one_registrations: Api, method: str, request_: Json, *, live: bool
) -> None:
    made = Made(one_registrations, live=live)
    reader = client(server, project_id, scope="dashboards:read")
    reply = reader.call(method, made.filled_in(request_) | {"validateOnly": True})
    assert (reply.code, reply.reason) == ("permission_denied", "SCOPE_NOT_ALLOWED")
    reader.close()


def test_dry_run_shows_who_would_change_it(
    server: RunningServer, project_id: str, one_registrations: Api
) -> None:
    made = Made(one_registrations)
    other = client(server, project_id, subject="other")
    shown = done(other, "Update", id=made.id, title="B", validateOnly=True).registration
    assert (shown["createdBy"], shown["lastModifiedBy"]) == ("tester", "other")
    wrapper = done(other, "UpdateContent", id=made.id, content=content(), validateOnly=True).wrapper
    assert wrapper["createdBy"] == "other"
    other.close()


# Reasons


def test_change_message_is_kept_with_a_content_and_nowhere_else(
    server: RunningServer, project_id: str, registrations: Api
) -> None:
    message = 'because é 👩\u200d👩 "q"'
    made = register(registrations, changeMessage=message)
    first = show(registrations, made["id"], changeMessage=message)
    show(registrations, made["id"])
    done(registrations, "RestoreContent", id=made["id"], contentId=first["id"], changeMessage="x" * 500)
    done(registrations, "Update", id=made["id"], title="B", changeMessage=message)
    told = [it.get("changeMessage", "") for it in wrappers(registrations, made["id"])]
    assert told == ["x" * 500, "", message]
    rows = stored_rows(server, project_id)
    assert message not in repr(rows["registrations"])
    for bad in ("x" * 501, "a\x0bb", "\0"):
        reply = registrations.call("UpdateContent", {"id": made["id"], "content": {}, "changeMessage": bad})
        assert (reply.code, list(reply.violations)) == ("invalid_argument", ["change_message"])
