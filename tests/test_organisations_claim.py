"""The claim `organisations`: whose registrations are there for a caller, and whose it may write."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.api import Api
from tests.database import stored_rows
from tests.registrations import HOME, NEW, client, content, done, get, listed, register, show
from tests.server import make_token
from tests.tiles import Json, ids

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.server import RunningServer

# A request to every RPC that names a registration.
BY_ID: dict[str, Json] = {
    "Get": {},
    "GetContent": {},
    "ListContents": {},
    "Update": {"title": "B"},
    "Delete": {},
    "Undelete": {},
    "UpdateContent": {"content": content("2")},
    "RestoreContent": {"contentId": "CONTENT"},
}
READS = ("Get", "GetContent", "ListContents")
NOT_ALLOWED = ("permission_denied", "ORGANISATION_NOT_ALLOWED")
NONE = ("not_found", "REGISTRATION_NOT_FOUND")


class Organisations:
    """A project with three organisations of a community and two of another, each with a registration."""

    COMMUNITIES: ClassVar = {
        "mine": "community",
        "sister": "community",
        "community": "community",
        "stranger": "other",
        "other": "other",
    }

    def __init__(self, server: RunningServer, project_id: str, api: Api) -> None:
        self.server = server
        self.project_id = project_id
        self.all = api
        self.of = {
            name: register(api, organisationId=name, communityId=community, title=f"of {name}")
            for name, community in self.COMMUNITIES.items()
        }
        self.contents = {name: show(api, it["id"], name)["id"] for name, it in self.of.items()}

    def request(self, method: str, name: str, **more: Any) -> Json:
        """Return a request about the registration of an organisation."""
        content_id = self.contents[name]
        fields = {key: content_id if it == "CONTENT" else it for key, it in BY_ID[method].items()}
        return {"id": self.of[name]["id"], **fields, **more}

    @contextlib.contextmanager
    def limited(self, *organisations: Any, transport: str = "grpc", **claims: Any) -> Generator[Api]:
        """Give a client whose token is limited to these organisations."""
        claims = {"organisations": list(organisations)} | claims
        with contextlib.closing(client(self.server, self.project_id, transport, **claims)) as api:
            yield api


@pytest.fixture
def known(server: RunningServer, project_id: str, one_registrations: Api) -> Organisations:
    return Organisations(server, project_id, one_registrations)


def told(api: Api, method: str, request: Json) -> tuple[str, str, str, str]:
    """Return all that an error tells, the id aside."""
    reply = api.call(method, request)
    text = json.dumps([reply.message, reply.metadata, reply.violations, reply.body])
    return reply.code, reply.reason, text.replace(request["id"], "ID"), ""


@pytest.mark.parametrize("transport", ["grpc", "connect-json"])
def test_own_registrations_may_be_read_and_written(known: Organisations, transport: str) -> None:
    with known.limited("mine", transport=transport) as api:
        mine = known.of["mine"]["id"]
        assert ids(listed(api, organisationId="mine")) == [mine]
        for method in BY_ID:
            done(api, method, **known.request(method, "mine"))
        made = register(api, organisationId="mine", title="C")
        assert ids(listed(api, organisationId="mine")) == [mine, made["id"]]
        show(api, made["id"])


@pytest.mark.parametrize("transport", ["grpc", "connect-json"])
@pytest.mark.parametrize("name", ["sister", "stranger", "other"])
def test_registrations_of_others_are_answered_like_none(
    known: Organisations, project_id: str, name: str, transport: str
) -> None:
    rows = stored_rows(known.server, project_id)
    with known.limited("mine", transport=transport) as api:
        for more in ({}, {"validateOnly": True}, {"etag": known.of[name]["etag"]}):
            for method in BY_ID:
                extra = {} if method in READS else more
                reply = told(api, method, known.request(method, name, **extra))
                missing = told(api, method, known.request(method, name, **extra) | {"id": "reg_missing"})
                assert reply == missing, method
                assert reply[:2] == NONE, method
        for organisation in (name, "nobody"):
            calls = (
                ("List", {"organisationId": organisation}),
                (
                    "List",
                    {"organisationId": organisation, "communityId": "community", "includeCommunity": True},
                ),
                ("Create", NEW | {"organisationId": organisation}),
                ("Create", NEW | {"organisationId": organisation, "communityId": "x", "validateOnly": True}),
            )
            for method, request in calls:
                refused = api.call(method, request)
                assert (refused.code, refused.reason) == NOT_ALLOWED, request
                expected = f'the token does not allow this with organisation "{organisation}"'
                assert refused.message == expected
    assert stored_rows(known.server, project_id) == rows


def test_registrations_of_the_own_community_may_be_read_and_never_written(
    known: Organisations, project_id: str
) -> None:
    theirs = known.of["community"]
    rows = stored_rows(known.server, project_id)
    with known.limited("mine") as api:
        assert get(api, theirs["id"]) == get(known.all, theirs["id"])
        found = listed(api, organisationId="mine", includeCommunity=True)
        assert ids(found) == [theirs["id"], known.of["mine"]["id"]]
        assert ids(listed(api, organisationId="community")) == [theirs["id"]]
        for method in READS:
            done(api, method, **known.request(method, "community"))
        for method in BY_ID:
            if method not in READS:
                for more in ({}, {"validateOnly": True}, {"etag": "stale"}):
                    reply = api.call(method, known.request(method, "community", **more))
                    assert (reply.code, reply.reason) == NOT_ALLOWED, method
        reply = api.call("Create", NEW | {"organisationId": "community"})
        assert (reply.code, reply.reason) == NOT_ALLOWED
    assert stored_rows(known.server, project_id) == rows


def test_community_of_the_community_is_not_there(known: Organisations) -> None:
    """What the community's own organisation is on itself gives a caller nothing."""
    chain = (("leaf", "branch"), ("branch", "root"), ("root", "root"))
    made = {
        name: register(known.all, organisationId=name, communityId=community, title=name)["id"]
        for name, community in chain
    }
    with known.limited("leaf") as api:
        assert ids(listed(api, organisationId="leaf", includeCommunity=True)) == [
            made["branch"],
            made["leaf"],
        ]
        assert ids(listed(api, organisationId="branch")) == [made["branch"]]
        assert api.call("Get", {"id": made["root"]}).code == "not_found"
        for more in ({}, {"communityId": "root"}):
            reply = api.call("List", {"organisationId": "branch", "includeCommunity": True, **more})
            assert (reply.code, reply.reason) == NOT_ALLOWED


def test_members_of_a_community_are_not_there_for_its_own_organisation(known: Organisations) -> None:
    with known.limited("community") as api:
        assert ids(listed(api, organisationId="community", includeCommunity=True)) == [
            known.of["community"]["id"]
        ]
        assert api.call("Get", {"id": known.of["mine"]["id"]}).code == "not_found"
        assert api.call("List", {"organisationId": "mine"}).reason == "ORGANISATION_NOT_ALLOWED"


def test_community_is_there_while_a_registration_says_so(known: Organisations) -> None:
    theirs = known.of["community"]["id"]
    with known.limited("new") as api:
        assert api.call("Get", {"id": theirs}).code == "not_found"
        named: Json = {"organisationId": "new", "communityId": "community", "includeCommunity": True}
        reply = api.call("List", named)
        assert (reply.code, reply.reason) == NOT_ALLOWED
        assert listed(api, organisationId="new") == []
        register(known.all, organisationId="new")
        assert get(api, theirs)["id"] == theirs
        assert ids(listed(api, **named))[1:] == [theirs]
    with known.limited("newer", "mine") as api:  # the community of its other organisation may be named
        assert ids(listed(api, **named | {"organisationId": "newer"})) == [theirs]


def test_several_organisations_add_up(known: Organisations) -> None:
    with known.limited("mine", "stranger", "mine") as api:
        for name in ("mine", "stranger", "community", "other"):
            assert get(api, known.of[name]["id"])["title"] == f"of {name}"
        assert api.call("Get", {"id": known.of["sister"]["id"]}).code == "not_found"
        done(api, "Delete", id=known.of["stranger"]["id"])
        assert api.call("Delete", {"id": known.of["other"]["id"]}).reason == "ORGANISATION_NOT_ALLOWED"


MALFORMED: dict[str, Any] = {
    "empty": [],
    "text": "mine",
    "star": ["*"],
    "star as text": "*",
    "object": {"mine": True},
    "nested": [["mine"]],
    "numbers": [7, None, True],
    "another case": ["MINE", " mine", "mine "],
    "true": True,
    "blank": [""],
    "zero": ["mine\0", "\0"],
    "control character": ["mine\n"],
    "lone surrogate": ["\ud800"],
    "long": ["m" * 10_000],
}


@pytest.mark.parametrize("claim", MALFORMED.values(), ids=MALFORMED)
def test_claim_that_names_none_allows_none(known: Organisations, claim: Any) -> None:
    for transport in ("grpc", "connect-json"):
        with known.limited(transport=transport, organisations=claim) as api:
            for method in BY_ID:
                reply = api.call(method, known.request(method, "mine"))
                assert (reply.code, reply.reason) == NONE, method
            for method, request in (
                ("List", {"organisationId": "mine"}),
                ("Create", NEW | {"scopes": [HOME]}),
            ):
                reply = api.call(method, request)
                assert (reply.code, reply.reason) == NOT_ALLOWED, method
    assert get(known.all, known.of["mine"]["id"])["title"] == "of mine"


def test_claim_with_odd_items_allows_the_others(known: Organisations) -> None:
    with known.limited(None, "\0", "\ud800", 7, "mine", ["sister"]) as api:
        assert get(api, known.of["mine"]["id"])["title"] == "of mine"
        assert api.call("Get", {"id": known.of["sister"]["id"]}).code == "not_found"


def test_claim_does_not_limit_dashboards(known: Organisations) -> None:
    token = make_token(known.project_id, organisations=[])
    api = Api(known.server, "grpc", token, known.project_id)
    assert api.call("Create", {"name": "A"}).code == "ok"
    api.close()


def test_request_id_answers_only_what_the_token_allows_now(known: Organisations) -> None:
    """The very same caller, whose token doesn't name the organisation any more."""
    request_id = "550e8400-e29b-41d4-a716-446655440000"
    methods = [method for method in BY_ID if method not in (*READS, "Delete", "Undelete")]
    requests = {method: known.request(method, "sister", requestId=request_id) for method in methods}
    requests["Create"] = NEW | {"organisationId": "sister", "requestId": request_id}
    for method, request in requests.items():
        done(known.all, method, **request)
    with known.limited("mine") as api:
        for method, request in requests.items():
            reply = api.call(method, request)
            assert (reply.code, reply.reason) == (NOT_ALLOWED if method == "Create" else NONE), method
            assert reply.body == {}
